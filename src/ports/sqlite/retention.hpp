#pragma once

// Looks, now and then, for what is over its age, expired or abandoned, in slices so small that the calls
// between them hardly notice.

#include "ports/sqlite/history.hpp"
#include "ports/sqlite/mailboxes.hpp"

#include <skein/clock.hpp>

#include <chrono>
#include <cstdint>

namespace skein::detail::sqlite {

class retention {
 public:
  retention(history& of, mailboxes& and_of, std::chrono::milliseconds interval,
            std::chrono::nanoseconds forget_idle, time_point now)
      : history_(of),
        mailboxes_(and_of),
        interval_(interval),
        forget_idle_(forget_idle),
        next_(now + interval) {}

  /// Whether there is a slice to do.
  [[nodiscard]] bool is_due(time_point now) const noexcept { return step_ != step::rest || now >= next_; }
  /// Does one slice, in the caller's transaction.
  void slice(time_point now, wall_time wall_now, store_stats& counted);
  /// Leaves this sweep, after a failure; the next one begins anew.
  void give_up(time_point now) noexcept { rest(now); }

 private:
  enum class step : std::uint8_t { rest, forgotten, topics, mailboxes };
  void rest(time_point now) noexcept {
    step_ = step::rest;
    next_ = now + interval_;
  }

  history& history_;
  mailboxes& mailboxes_;
  const std::chrono::milliseconds interval_;
  const std::chrono::nanoseconds forget_idle_;
  time_point next_;
  step step_ = step::rest;
  std::int64_t after_topic_ = 0;
};

}  // namespace skein::detail::sqlite
