// How a connection ends: the closing handshake, a reset, a deadline that has passed; and who is told.

#include "connection/connection_impl.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <utility>

namespace skein::detail {

void connection_impl::leave_open(closed_by by, close_code code, std::string_view text) {
  const auto due = deadline_after(host_->now(), host_->limits().close_timeout);
  ending_ = std::make_unique<ending>(ending{{by, code, std::string{text}}, due, {}});
  state_.store(state::closing, std::memory_order_relaxed);
  host_->counters.open.subtract(1);
  host_->counters.closing.add();
  channel_.push_close(encode_close(code, text));
  host_->set_deadline_no_later(*this, due);
  mark();
  if (paused_) go_on_reading();
}

void connection_impl::begin_close(closed_by by, close_code code, std::string_view text) {
  if (is_open()) leave_open(by, code, text);
}

void connection_impl::on_close_written() {
  if (over()) return;
  if (peer_closed_) {
    end();
  } else if (discarding_) {
    // The peer broke a rule and need not answer; what it still sends is read and thrown away, because closing
    // with unread bytes would reset the connection and could destroy the close frame on its way.
    transport_->shutdown_send();
  }
}

void connection_impl::end(bool reset) {
  const auto before = state_.load(std::memory_order_relaxed);
  if (before == state::ended) return;
  state_.store(state::ended, std::memory_order_relaxed);
  (before == state::open ? host_->counters.open : host_->counters.closing).subtract(1);
  if (reset) host_->counters.resets.add();
  transport_->close(reset);
  const auto bytes_before = channel_.bytes();
  channel_.clear([&](send_channel::item& lost) {
    host_->counters.discarded.add();
    host_->counters.queued_messages.subtract(1);
    if (lost.sink) lost.sink->settle(outcome::closed, false);
  });
  host_->counters.queued_bytes.subtract(bytes_before);
  if (const auto held = std::exchange(held_, nullptr)) {
    host_->counters.discarded.add(held->size());
    for (const auto& lost : *held) {
      if (lost.sink) lost.sink->settle(outcome::closed, false);
    }
  }
  host_->remove_deadline(*this);
  // Not at once: whoever called may be in the middle of something.
  try {
    asio::post(host_->executor(), [self = self()] { self->guarded([&] { self->tell_of_end(); }); });
  } catch (...) {
    tell_again();
  }
}

void connection_impl::tell_of_end() {
  const auto keep = self();
  try {
    tell_waiters();
  } catch (...) {
    tell_again();
  }
  room_.wake();
  reader_.wake();
}

/// There was no memory to tell somebody of the end. The place in the queue is the one that the connection
/// had.
void connection_impl::tell_again() noexcept {
  try {
    host_->set_deadline(*this, host_->now());
  } catch (...) {  // nor to ring at once: then with the next deadline of the shard
  }
}

void connection_impl::tell_waiters() {
  if (waiting_) admit_waiting();  // nobody is admitted any more
  if (!ending_) return;
  auto& waiters = ending_->waiters;
  while (!waiters.empty()) {
    const auto& [executor, waiting] = waiters.back();
    asio::post(executor, [waiter = waiting] { (*waiter)(); });
    waiters.pop_back();
  }
}

const close_reason& connection_impl::close_reason() const noexcept {
  static const skein::close_reason none;
  static const skein::close_reason lost{closed_by::transport, close_code::abnormal, {}};
  if (ending_) return ending_->reason;
  return over() ? lost : none;
}

void connection_impl::force() {
  end(true);
}

void connection_impl::lose(bool announce) noexcept {
  const auto keep = self();  // the frames that are destroyed here may be the last owners
  end(true);
  try {
    tell_waiters();
  } catch (...) {  // they go with their contexts
  }
  if (announce) announce_end();
  joined_ = true;
  release();
  reader_.abandon();
  room_.abandon();
}

void connection_impl::release() noexcept {
  transport_.reset();
  engine_.reset();
}

void connection_impl::send_ping() {
  host_->counters.pings_sent.add();
  fed_since_ping_ = false;
  channel_.push_control(encode_control(opcode::ping, heartbeat_.payload()));
  mark();
}

bool connection_impl::pong_may_be_unread(time_point now) const noexcept {
  if (!paused_since_ping_) return false;
  // Whatever had come until then has been read.
  const bool empty = !paused_ && !backlog_ && short_read_;
  const auto drained = empty ? now : drained_at_;
  const auto timeout = host_->beats().timeout;
  if (drained >= deadline_after(heartbeat_.sent_at(), timeout)) return false;
  return fed_since_ping_ || !transport_->peer_gone(timeout);
}

void connection_impl::on_deadline(time_point now) {
  if (over()) {
    guarded([this] { tell_of_end(); });
    return;
  }
  auto& counters = host_->counters;
  const auto& limits = host_->limits();
  if (!is_open()) {
    if (now >= ending_->due) {
      counters.close_timeouts.add();
      end(true);
    } else {
      host_->set_deadline(*this, ending_->due);
    }
    return;
  }
  auto next = time_point::max();
  if (stalled_ && limits.write_timeout.count() != 0) {
    const auto due = deadline_after(stalled_since_, limits.write_timeout);
    if (now >= due) {
      // The close frame would have to wait behind what cannot be written: 4008 is for our own records.
      counters.write_timeouts.add();
      leave_open(closed_by::local, close_code::slow_consumer, {});
      end(true);
      return;
    }
    next = due;
  }
  if (now >= message_due_) {
    on_failure(close_code::policy_violation);
    return;
  }
  if (now >= user_due()) {
    counters.token_expiries.add();
    leave_open(closed_by::local, close_code::unauthorized, "token expired");
    return;
  }
  switch (heartbeat_.poll(now, host_->beats())) {
    case heartbeat::action::none:
      break;
    case heartbeat::action::ping:
      paused_since_ping_ = paused_;
      drained_at_ = {};
      channel_.shrink();
      inbox_.shrink();
      send_ping();
      break;
    case heartbeat::action::dead:
      if (pong_may_be_unread(now)) {
        heartbeat_.repeat(now, host_->beats());
        send_ping();
        break;
      }
      counters.pong_timeouts.add();
      discard_waiting();
      leave_open(closed_by::local, close_code::pong_timeout, {});
      flush();  // for a peer that lives after all
      end(stalled_);
      return;
  }
  next = std::min({next, message_due_, heartbeat_.due(), user_due()});
  if (next != time_point::max()) host_->set_deadline(*this, next);
}

}  // namespace skein::detail
