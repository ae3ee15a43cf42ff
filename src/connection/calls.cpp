// What handlers, and others who hold a connection, call.

#include "connection/connection_impl.hpp"
#include "connection/remote.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include <cassert>
#include <utility>

namespace skein::detail {
namespace {

[[noreturn]] void throw_cancelled() {
  throw boost::system::system_error{asio::error::operation_aborted};
}

}  // namespace

std::optional<message> connection_impl::next_message() {
  auto next = inbox_.pop();
  if (paused_ && inbox_.half_empty(host_->limits())) go_on_reading();
  return next;
}

asio::awaitable<std::optional<message>> connection_impl::read() {
  while (inbox_.empty() && !over()) {
    const bool cancelled = co_await reader_.wait();
    if (cancelled) throw_cancelled();
  }
  co_return next_message();
}

/// A send that somebody waits for: for room, or for its outcome. Owns itself while the channel knows it.
struct connection_impl::awaited_send final : outcome_sink,
                                             deadline_entry,
                                             std::enable_shared_from_this<awaited_send> {
  awaited_send(std::shared_ptr<connection_impl> to, prepared_message message, delivery options)
      : owner(std::move(to)), what(std::move(message)), how(std::move(options)) {}

  /// Offers the message; false if it has to wait for room.
  bool try_offer() {
    const bool follows = how.waits_until_written();
    if (follows) {  // before the offer, which may write the message and settle it
      self = shared_from_this();
      in_channel = true;
    }
    const auto verdict = owner->offer(what.block(), how.policy(), how.key().get(), follows ? this : nullptr);
    if (follows && verdict.what == outcome::queued) return true;
    self.reset();
    in_channel = false;
    if (verdict.what == outcome::pending) return false;
    finish(verdict.what);
    return true;
  }
  void settle(outcome outcome, bool) noexcept override {
    const auto keep = std::move(self);
    in_channel = false;
    if (!result) finish(outcome);
  }
  void on_deadline(time_point) override {
    if (result) {
      const auto keep = shared_from_this();
      slot.wake();
      return;
    }
    if (in_channel) {
      finish(outcome::pending);
      return;
    }
    if (owner->waiting_) std::erase(*owner->waiting_, shared_from_this());
    owner->count_overflow();
    finish(outcome::dropped);
  }
  void finish(outcome outcome) {
    result = outcome;
    if (is_set()) owner->host_->remove_deadline(*this);
    if (!slot.waiting()) return;
    try {
      asio::post(resume_on, [keep = shared_from_this()] { keep->slot.wake(); });
    } catch (...) {  // for want of memory: with the next deadline
      owner->host_->set_deadline(*this, owner->host_->now());
    }
  }

  std::shared_ptr<connection_impl> owner;
  prepared_message what;
  delivery how;
  asio::any_io_executor resume_on;
  wake_slot slot;
  std::optional<outcome> result;
  std::shared_ptr<awaited_send> self;
  bool in_channel = false;
};

asio::awaitable<outcome> connection_impl::send_slowly(prepared_message what, delivery how) {
  const auto waiting = std::make_shared<awaited_send>(self(), std::move(what), std::move(how));
  waiting->resume_on = co_await asio::this_coro::executor;
  const auto limit = waiting->how.deadline();
  if (limit.count() > 0) {
    host_->set_deadline(*waiting, deadline_after(host_->now(), limit));
  }
  const bool queue_first = waiting->how.policy() == overflow::wait && waiting_ && !waiting_->empty();
  if (queue_first || !waiting->try_offer()) {
    if (!waiting_) waiting_ = std::make_unique<std::deque<std::shared_ptr<awaited_send>>>();
    waiting_->push_back(waiting);
  }
  while (!waiting->result) {
    const bool cancelled = co_await waiting->slot.wait();
    if (cancelled && !waiting->result) {
      if (waiting_) std::erase(*waiting_, waiting);
      throw_cancelled();
    }
  }
  co_return *waiting->result;
}

void connection_impl::admit_waiting() {
  if (admitting_) return;  // an offer may write, and what was written makes room: this loop goes on
  admitting_ = true;
  while (!waiting_->empty()) {
    auto next = std::move(waiting_->front());
    waiting_->pop_front();
    if (next->try_offer()) continue;
    waiting_->push_front(std::move(next));
    break;
  }
  admitting_ = false;
  if (waiting_->empty()) waiting_.reset();
}

asio::awaitable<outcome> connection_impl::send(prepared_message what, delivery how) {
  assert(what);
  if (over()) co_return outcome::closed;
  if (!host_->running_here()) {
    const auto keep = self();
    co_return co_await run_on(*host_, send_slowly(std::move(what), std::move(how)), outcome::closed);
  }
  const bool fast = !how.waits_until_written() && (how.policy() != overflow::wait || !waiting_);
  if (fast) {
    const auto answer = offer(what, how.policy(), how.key().get());
    if (answer.what != outcome::pending) co_return answer.what;
  }
  co_return co_await send_slowly(std::move(what), std::move(how));
}

asio::awaitable<outcome> connection_impl::write(prepared_message what) {
  assert(what);
  if (host_->running_here() && !waiting_) {
    const auto answer = offer(what, overflow::wait, nullptr);
    if (answer.what != outcome::pending) co_return answer.what;
  }
  delivery how;
  how.wait();
  co_return co_await send(std::move(what), std::move(how));
}

void connection_impl::post_send(prepared_message what, delivery how) {
  assert(what);
  const auto policy = how.policy() == overflow::wait ? overflow::evict : how.policy();
  if (host_->running_here()) {
    offer(what.block(), policy, how.key().get(), nullptr);
    return;
  }
  if (over()) return;
  host_->post([self = self(), what = std::move(what), policy, key = how.key()] {
    self->offer(what.block(), policy, key.get(), nullptr);
  });
}

void connection_impl::post_close(close_code code, std::string text) {
  if (code != close_code::none && !is_sendable(code))
    throw std::invalid_argument{"close code may not be sent"};
  if (over()) return;
  if (host_->running_here()) {
    begin_close(closed_by::local, code, text);
    return;
  }
  host_->post(
      [self = self(), code, text = std::move(text)] { self->begin_close(closed_by::local, code, text); });
}

asio::awaitable<bool> connection_impl::close_here(close_code code, std::string text) {
  begin_close(closed_by::local, code, text);
  const auto resume_on = co_await asio::this_coro::executor;
  if (over()) co_return true;
  co_await suspend<void()>([this, &resume_on](auto handler) {
    ending_->waiters.emplace_back(resume_on, std::make_shared<resumption<void()>>(std::move(handler)));
  });
  co_return true;
}

asio::awaitable<void> connection_impl::close(close_code code, std::string text) {
  if (code != close_code::none && !is_sendable(code))
    throw std::invalid_argument{"close code may not be sent"};
  if (over()) co_return;
  const auto keep = self();
  if (host_->running_here()) {
    co_await close_here(code, std::move(text));
  } else {
    co_await run_on(*host_, close_here(code, std::move(text)), false);
  }
}

const identity& connection_impl::user() const noexcept {
  static const identity anonymous;
  return particulars_ ? particulars_->user : anonymous;
}

void connection_impl::set_user(identity who) {
  constexpr std::chrono::seconds century = std::chrono::years{100};
  auto& mine = *particulars_;
  mine.due = time_point::max();
  if (who.expires) {
    const auto wall = host_->wall();
    const auto latest =
        std::chrono::floor<std::chrono::seconds>(wall) + century;  // a count of ns must hold it
    if (*who.expires < latest) {
      const std::chrono::nanoseconds left =
          *who.expires > latest - 2 * century ? *who.expires - wall : -century;
      mine.due = left.count() > 0 ? deadline_after(host_->now(), left) : host_->now();
    }
  }
  mine.user = std::move(who);
}

bool connection_impl::renew(skein::identity who) {
  if (!is_open() || who.user.empty() || who.user != user().user) return false;
  set_user(std::move(who));
  if (user_due() != time_point::max()) host_->set_deadline_no_later(*this, user_due());
  return true;
}

void connection_impl::admit(identity who) {
  if (!particulars_) particulars_ = std::make_unique<particulars>(identity{}, std::string{});
  set_user(std::move(who));
  admitted_ = true;
  host_->on_admitted(*this);
  if (paused_) go_on_reading();
  if (is_open() && user_due() != time_point::max()) host_->set_deadline_no_later(*this, user_due());
}

connection_stats connection_impl::stats() const {
  connection_stats now;
  now.messages_in = messages_in_;
  now.bytes_in = bytes_in_;
  now.messages_out = messages_out_;
  now.bytes_out = bytes_out_;
  now.dropped = dropped_;
  now.queued_messages = channel_.size();
  now.queued_bytes = channel_.bytes();
  now.rtt = rtt_;
  return now;
}

}  // namespace skein::detail
