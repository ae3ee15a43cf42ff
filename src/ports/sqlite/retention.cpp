#include "ports/sqlite/retention.hpp"

namespace skein::detail::sqlite {
namespace {

constexpr std::size_t topics_of_slice = 64;
constexpr std::size_t rows_of_slice = 256;
constexpr std::size_t mailboxes_of_slice = 8;  // each with as many messages as its limits allow

}  // namespace

void retention::slice(time_point now, wall_time wall_now, store_stats& counted) {
  history::sweep progress{after_topic_, topics_of_slice, rows_of_slice};
  switch (step_) {
    case step::rest:
      after_topic_ = 0;
      step_ = step::topics;
      return;
    case step::topics:
      if (history_.sweep_topics(progress, forget_idle_, wall_now, counted)) step_ = step::forgotten;
      after_topic_ = progress.after_topic;
      return;
    case step::forgotten:
      if (history_.sweep_forgotten(progress)) step_ = step::mailboxes;
      return;
    case step::mailboxes:
      if (mailboxes_.sweep(mailboxes_of_slice, wall_now, counted)) rest(now);
      return;
  }
}

}  // namespace skein::detail::sqlite
