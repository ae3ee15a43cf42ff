#include "hub/broadcast.hpp"

#include "hub/shard.hpp"

#include <boost/asio/post.hpp>

namespace skein::detail {

void broadcast_total::add(const delivery_report& part) {
  const std::lock_guard lock{mutex_};
  report_.matched += part.matched;
  report_.written += part.written;
  report_.dropped += part.dropped;
  report_.closed += part.closed;
  report_.pending += part.pending;
  report_.conflated += part.conflated;
  report_.evicted += part.evicted;
  if (--parts_left_ == 0) resume();
}

void broadcast_total::cancel() {
  const std::lock_guard lock{mutex_};
  resume();
}

void broadcast_total::resume() {
  if (waiter_) asio::post(resume_on_, [waiter = std::move(waiter_)]() mutable { waiter(); });
}

std::optional<delivery_report> broadcast_total::report() const {
  const std::lock_guard lock{mutex_};
  return parts_left_ == 0 ? std::optional{report_} : std::nullopt;
}

void broadcast_part::start(host& where, std::shared_ptr<broadcast_total> total, frame_block* frame,
                           const delivery& how, time_point deadline) {
  auto* part = new broadcast_part{where, std::move(total)};
  static_cast<shard&>(where).deliver(frame, how, part);
  part->started_ = true;
  if (part->outstanding_ > 0 && deadline != time_point::max()) where.set_deadline(*part, deadline);
  part->finish_if_done();
}

void broadcast_part::settle(outcome what, bool replaced) noexcept {
  --outstanding_;
  if (total_) {
    if (what == outcome::written) {
      ++report_.written;
    } else if (what == outcome::dropped) {
      ++report_.dropped;
      if (replaced) ++report_.conflated;
    } else {
      ++report_.closed;
    }
  }
  finish_if_done();
}

void broadcast_part::on_deadline(time_point) {
  report_.pending = outstanding_;
  report();
}

void broadcast_part::report() noexcept {
  std::exchange(total_, nullptr)->add(report_);
}

void broadcast_part::finish_if_done() noexcept {
  if (!started_ || outstanding_ > 0) return;
  if (total_) report();
  delete this;
}

}  // namespace skein::detail
