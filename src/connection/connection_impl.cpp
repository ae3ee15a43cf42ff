#include "connection/connection_impl.hpp"

#include "wire/deflate.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include <array>
#include <cassert>
#include <utility>

namespace skein::detail {
namespace {

// One gather write takes this much; beyond it a further system call costs little in comparison.
constexpr std::size_t max_buffers = 64;
constexpr std::size_t max_write_bytes = 256 * 1024;
// A connection that could go on writing yields to the others after this many writes.
constexpr int max_writes_at_once = 8;
// Pongs are bounded by the ping budget; this holds where the budget is switched off.
constexpr std::size_t max_control_bytes = 64 * 1024;

double spread_of(connection_id id) noexcept {
  // Fibonacci hashing: neighbouring ids fall far apart.
  return static_cast<double>((id * 0x9e3779b97f4a7c15ULL) >> 11U) * 0x1.0p-53;
}

std::string what_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "not a std::exception";
  }
}

}  // namespace

connection_impl::connection_impl(connection_id id, const std::string* route, connection_parts parts)
    : ticket(std::move(parts.ticket)),
      host_(std::move(parts.where)),
      route_(route),
      channel_(host_->channel()),
      transport_(std::move(parts.transport)),
      engine_(std::move(parts.engine)),
      window_bits_(engine_->send_window_bits()),
      id_(id),
      runs_(std::move(parts.runs)),
      request_(std::move(parts.request)) {
  if (!parts.early.empty()) backlog_ = std::make_unique<std::string>(std::move(parts.early));
  if (!parts.user.user.empty() || !parts.user.claims.is_null() || !parts.subprotocol.empty()) {
    particulars_ = std::make_unique<const particulars>(std::move(parts.user), std::move(parts.subprotocol));
  }
  if (!parts.response.empty()) channel_.push_control(parts.response);
}

connection_impl::~connection_impl() = default;

// --- The owner and its loops
// ---------------------------------------------------------------------------------------

asio::awaitable<void> connection_impl::run(std::shared_ptr<connection_impl> self) {
  self->start();
  self->start_handler();
  for (;;) {
    const auto next = self->next_step();
    if (next == step::done) break;
    if (next == step::wait) {
      co_await self->owner_.wait();
    } else if (next == step::wait_for_input) {
      co_await suspend<void(wait_result)>([connection = self.get()](auto handler) {
        connection->transport_->wait_readable(transport::ready_handler{std::move(handler)});
      });
      if (!self->over()) self->read_once();
    } else {
      self->take_step(next);
    }
  }
  self->host_->on_joined(*self);
  self->abandon();
}

void connection_impl::start() {
  host_->counters.open.add();
  heartbeat_.start(host_->now(), host_->beats(), spread_of(id_));
  if (heartbeat_.due() != time_point::max()) host_->set_deadline(*this, heartbeat_.due());
  if (channel_.anything_to_write()) mark();
}

void connection_impl::start_handler() {
  const auto done = [self = self()](const std::exception_ptr& error) { self->on_handler_done(error); };
  try {
    asio::co_spawn(host_->executor(), (*runs_)(*this),
                   asio::bind_cancellation_slot(cancel_handler_.slot(), done));
  } catch (...) {
    on_handler_done(std::current_exception());  // a handler that is not a coroutine threw at once
  }
}

void connection_impl::on_handler_done(std::exception_ptr error) {
  handler_done_ = true;

  bool cancelled = false;
  if (error && over()) {
    try {
      std::rethrow_exception(error);
    } catch (const boost::system::system_error& e) {
      cancelled = e.code() == asio::error::operation_aborted;
    } catch (...) {
      cancelled = false;
    }
  }
  if (error && !cancelled) {
    host_->counters.handler_exceptions.add();
    host_->problem("handler of " + *route_ + " threw: " + what_of(error));
  }
  begin_close(closed_by::local, error ? close_code::internal_error : close_code::normal, {});
  owner_.wake();
}

connection_impl::step connection_impl::next_step() noexcept {
  paused_ = false;
  if (over()) {
    if (writing_) return step::wait;
    if (!announced_) return step::announce_end;
    return handler_done_ ? step::done : step::wait;
  }
  if (inbox_full() && !discarding_) {
    paused_ = true;
    return step::wait;
  }
  return backlog_ ? step::feed_backlog : step::wait_for_input;
}

void connection_impl::take_step(step next) {
  if (next == step::announce_end) {
    announced_ = true;
    host_->on_ended(*this);
  } else {
    const auto rest = std::exchange(backlog_, nullptr);
    take(*rest);
  }
}

void connection_impl::read_once() {
  const auto buffer = host_->read_buffer();
  error_code ec;
  const auto n = transport_->read_some(buffer, ec);
  if (ec == asio::error::would_block) return;
  if (ec) {
    end();
    return;
  }
  host_->counters.wire_bytes_in.add(n);
  if (!discarding_ && !peer_closed_) take({buffer.data(), n});
}

void connection_impl::start_write_loop() {
  writing_ = true;
  asio::co_spawn(host_->executor(), write_loop(self()), [self = self()](const std::exception_ptr& error) {
    if (error) {
      self->host_->problem("write loop: " + what_of(error));
      self->end(true);
    }
    self->writing_ = false;
    self->owner_.wake();
  });
}

asio::awaitable<void> connection_impl::write_loop(std::shared_ptr<connection_impl> self) {
  while (self->stalled_ && !self->over()) {
    auto* const transport = self->transport_.get();
    co_await suspend<void(wait_result)>([transport](auto handler) {
      transport->wait_writable(transport::ready_handler{std::move(handler)});
    });
    self->stalled_ = false;
    self->flush();
  }
  self->stalled_since_ = {};
}

void connection_impl::take(std::string_view bytes) {
  std::size_t used = 0;
  try {
    used = engine_->feed(bytes, *this);
  } catch (...) {
    host_->problem("reading: " + what_of(std::current_exception()));
    end(true);
    return;
  }
  if (used < bytes.size() && !discarding_ && !peer_closed_)
    backlog_ = std::make_unique<std::string>(bytes.substr(used));
  if (message_due_ == time_point::max() && host_->limits().message_timeout.count() != 0 &&
      engine_->in_message()) {
    message_due_ = host_->now() + std::chrono::duration_cast<duration>(host_->limits().message_timeout);
    if (state_.load(std::memory_order_relaxed) == state::open)
      host_->set_deadline_no_later(*this, message_due_);
  }
  // Behind the feeding, because the handler runs on within this call until it waits again.
  if (inbox_head_ < inbox_.size()) reader_.wake();
}

bool connection_impl::inbox_full() const noexcept {
  return inbox_.size() - inbox_head_ >= host_->limits().receive_queue_messages ||
         inbox_bytes_ >= host_->limits().receive_queue_bytes;
}

// --- What the engine reports
// ---------------------------------------------------------------------------------------

bool connection_impl::on_message(message what) {
  message_due_ = time_point::max();
  ++messages_in_;
  bytes_in_ += what.size();
  host_->counters.messages_in.add();
  host_->counters.bytes_in.add(what.size());
  if (!is_open()) return true;  // RFC 6455 section 1.4: what comes behind our close frame may be discarded
  inbox_bytes_ += what.size();
  inbox_.push_back(std::move(what));
  return !inbox_full();
}

bool connection_impl::on_ping() {
  host_->counters.pings_received.add();
  if (ping_budget_.take(host_->now(), host_->pings()) && channel_.control_bytes() < max_control_bytes)
    return true;
  on_failure(close_code::policy_violation);
  return false;
}

void connection_impl::on_pong(std::string_view payload) {
  const auto rtt = heartbeat_.pong(payload, host_->now(), host_->beats());
  if (!rtt) return;
  rtt_ = *rtt;
  host_->counters.pongs_received.add();
  if (is_open())
    host_->set_deadline_no_later(*this,
                                 heartbeat_.due());  // the next ping may come sooner than the pong had to
}

void connection_impl::on_control(std::string_view frame) {
  if (channel_.close_written() || over()) return;
  channel_.push_control(frame);
  mark();
}

void connection_impl::on_close(close_code code, std::string_view text) {
  peer_closed_ = true;
  if (is_open()) {
    leave_open(closed_by::peer, code, text);
  } else if (channel_.close_written()) {
    end();
  }
}

void connection_impl::on_failure(close_code code) {
  if (over()) return;
  host_->counters.protocol_failures.add();
  discarding_ = true;
  discard_waiting();
  if (is_open()) {
    leave_open(closed_by::local, code, {});
  } else if (channel_.close_written()) {
    on_close_written();
  }
}

// --- Sending
// -------------------------------------------------------------------------------------------------------

connection_impl::verdict connection_impl::offer(frame_block* frame, overflow policy, const std::string* key,
                                                outcome_sink* who) {
  if (!is_open()) return {outcome::closed};
  send_channel::item item;
  item.frame = frame_ref{frame};
  item.sink = who;
  const auto& compression = host_->options().compression;
  const auto payload_size = frame->payload().size();
  if (window_bits_ != 0 && payload_size >= compression.threshold &&
      window_suffices(payload_size, window_bits_)) {
    item.wire_size = static_cast<std::uint32_t>(frame->compressed(compression.level).size());
    item.compressed = frame->has_compressed();
  } else {
    item.wire_size = static_cast<std::uint32_t>(frame->plain().size());
  }

  const auto bytes_before = channel_.bytes();
  for (bool again = true;; again = false) {
    send_channel::item replaced;
    const auto admitted = policy == overflow::conflate && key != nullptr ? channel_.push(item, *key, replaced)
                                                                         : channel_.push(item);
    if (admitted == send_channel::admission::queued) {
      host_->counters.queued_messages.add();
      break;
    }
    if (admitted == send_channel::admission::replaced) {
      account_replaced(replaced);
      break;
    }
    // What was sent in this turn may not have been written yet only because the turn has not ended.
    if (again && !stalled_ && !flushing_) {
      flush();
      if (!is_open()) return {outcome::closed};
      continue;
    }
    switch (policy) {
      case overflow::wait:
        return {outcome::pending};
      case overflow::evict:
        evict();
        return {outcome::closed, true};
      case overflow::drop:
      case overflow::conflate:
        ++dropped_;
        host_->counters.dropped_overflow.add();
        return {outcome::dropped};
    }
  }
  host_->counters.queued_bytes.add(channel_.bytes() - bytes_before);  // modulo 2^64, should it have shrunk
  if (!stalled_ && !flushing_ && (channel_.size() >= max_buffers || channel_.bytes() >= max_write_bytes)) {
    flush();  // waiting for more would not make the write any better
  } else {
    mark();
  }
  return {outcome::queued};
}

void connection_impl::account_replaced(send_channel::item& old) {
  ++dropped_;
  host_->counters.dropped_conflated.add();
  if (old.sink) old.sink->settle(outcome::dropped, true);
}

void connection_impl::mark() {
  if (!marked && !stalled_) host_->mark(*this);
}

void connection_impl::flush() {
  if (stalled_ || over()) return;
  flushing_ = true;
  std::array<iovec, max_buffers> buffers;
  auto& counters = host_->counters;
  for (int writes = 0; channel_.anything_to_write(); ++writes) {
    if (writes == max_writes_at_once) {
      mark();
      break;
    }
    const auto count = channel_.gather(buffers, max_write_bytes, host_->gather_scratch());
    std::size_t total = 0;
    for (std::size_t i = 0; i < count; ++i) total += buffers[i].iov_len;
    error_code ec;
    const auto n = transport_->write_some({buffers.data(), count}, ec);
    counters.writes.add();
    if (ec && ec != asio::error::would_block) {
      end();
      break;
    }
    counters.wire_bytes_out.add(n);
    const auto bytes_before = channel_.bytes();
    std::uint64_t messages = 0;
    std::uint64_t payload = 0;
    channel_.consume(n, [&](send_channel::item& done) {
      ++messages;
      payload += done.frame->payload().size();
      if (done.sink) done.sink->settle(outcome::written, false);
    });
    messages_out_ += messages;
    bytes_out_ += payload;
    counters.messages_out.add(messages);
    counters.bytes_out.add(payload);
    counters.queued_messages.subtract(messages);
    counters.queued_bytes.subtract(bytes_before - channel_.bytes());
    if (n < total) {
      stall(n > 0);
      break;
    }
  }
  flushing_ = false;
  if (channel_.close_written()) on_close_written();
  if (waiting_) admit_waiting();
}

void connection_impl::stall(bool progress) {
  stalled_ = true;
  const auto now = host_->now();
  if (progress || stalled_since_ == time_point{}) stalled_since_ = now;
  const auto limit = host_->limits().write_timeout;
  if (limit.count() != 0 && is_open()) {
    host_->set_deadline_no_later(*this, stalled_since_ + std::chrono::duration_cast<duration>(limit));
  }
  if (!writing_) start_write_loop();
}

void connection_impl::evict() {
  host_->counters.evictions.add();
  discard_waiting();
  leave_open(closed_by::local, close_code::slow_consumer, {});
}

void connection_impl::discard_waiting() {
  auto& counters = host_->counters;
  const auto bytes_before = channel_.bytes();
  channel_.discard_waiting([&](send_channel::item& lost) {
    counters.discarded.add();
    counters.queued_messages.subtract(1);
    if (lost.sink) lost.sink->settle(outcome::closed, false);
  });
  counters.queued_bytes.subtract(bytes_before - channel_.bytes());
}

// --- Ending
// --------------------------------------------------------------------------------------------------------

void connection_impl::leave_open(closed_by by, close_code code, std::string_view text) {
  state_.store(state::closing, std::memory_order_relaxed);
  host_->counters.open.subtract(1);
  host_->counters.closing.add();
  reason_ = {by, code, std::string{text}};
  channel_.push_close(encode_close(code, text));
  close_due_ = host_->now() + std::chrono::duration_cast<duration>(host_->limits().close_timeout);
  host_->set_deadline_no_later(*this, close_due_);
  mark();
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
  if (reason_.by == closed_by::nobody) reason_ = {closed_by::transport, close_code::abnormal, {}};
  if (reset) host_->counters.resets.add();
  transport_->close(reset);
  const auto bytes_before = channel_.bytes();
  channel_.clear([&](send_channel::item& lost) {
    host_->counters.discarded.add();
    host_->counters.queued_messages.subtract(1);
    if (lost.sink) lost.sink->settle(outcome::closed, false);
  });
  host_->counters.queued_bytes.subtract(bytes_before);
  host_->remove_deadline(*this);
  // Not at once: whoever called may be in the middle of something.
  asio::post(host_->executor(), [self = self()] {
    if (self->waiting_) self->admit_waiting();
    self->reader_.wake();
    self->owner_.wake();
    const auto waiters = std::exchange(self->end_waiters_, nullptr);
    if (!waiters) return;
    for (auto& [executor, waiting] : *waiters) {
      asio::post(executor, [waiter = std::move(waiting)]() mutable { waiter(); });
    }
  });
}

void connection_impl::force() {
  end(true);
}

void connection_impl::abandon() noexcept {
  transport_.reset();
  engine_.reset();
  reader_.abandon();
  owner_.abandon();
}

void connection_impl::on_deadline(time_point now) {
  auto& counters = host_->counters;
  const auto& limits = host_->limits();
  if (!is_open()) {
    if (now >= close_due_) {
      counters.close_timeouts.add();
      end(true);
    } else {
      host_->set_deadline(*this, close_due_);
    }
    return;
  }
  auto next = time_point::max();
  if (stalled_ && limits.write_timeout.count() != 0) {
    const auto due = stalled_since_ + std::chrono::duration_cast<duration>(limits.write_timeout);
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
  switch (heartbeat_.poll(now, host_->beats())) {
    case heartbeat::action::none:
      break;
    case heartbeat::action::ping:
      counters.pings_sent.add();
      channel_.shrink();
      if (inbox_.empty()) inbox_.shrink_to_fit();
      channel_.push_control(encode_control(opcode::ping, heartbeat_.payload()));
      mark();
      break;
    case heartbeat::action::dead:
      if (paused_) {
        heartbeat_.postpone(now, host_->beats());
        break;
      }
      counters.pong_timeouts.add();
      discard_waiting();
      leave_open(closed_by::local, close_code::pong_timeout, {});
      flush();  // for a peer that lives after all
      end(stalled_);
      return;
  }
  next = std::min({next, message_due_, heartbeat_.due()});
  if (next != time_point::max()) host_->set_deadline(*this, next);
}

// --- What handlers call
// --------------------------------------------------------------------------------------------

message connection_impl::take_message() {
  auto next = std::move(inbox_[inbox_head_++]);
  inbox_bytes_ -= next.size();
  if (inbox_head_ == inbox_.size()) {
    inbox_.clear();
    inbox_head_ = 0;
  }
  // Not at once: the read loop may be what this is called from.
  if (paused_ && !inbox_full()) asio::post(host_->executor(), [self = self()] { self->owner_.wake(); });
  return next;
}

asio::awaitable<std::optional<message>> connection_impl::read() {
  for (;;) {
    if (inbox_head_ < inbox_.size()) co_return take_message();
    if (over()) co_return std::nullopt;
    co_await reader_.wait();
    // A statement of its own: g++ 12 miscompiles an await expression in the condition.
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (cancellation.cancelled() != asio::cancellation_type::none) {
      throw boost::system::system_error{asio::error::operation_aborted};
    }
  }
}

/// A send that somebody waits for: for room, or for its outcome. Owns itself while the channel knows it.
struct connection_impl::awaited_send final : outcome_sink,
                                             deadline_entry,
                                             std::enable_shared_from_this<awaited_send> {
  awaited_send(std::shared_ptr<connection_impl> to, prepared_message message, delivery options)
      : owner(std::move(to)), what(std::move(message)), how(std::move(options)) {}

  /// Offers the message; false if it has to wait for room.
  bool try_offer() {
    const auto verdict =
        owner->offer(what.block(), how.policy(), how.key().get(), how.waits_until_written() ? this : nullptr);
    if (verdict.what == outcome::pending) return false;
    if (verdict.what == outcome::queued && how.waits_until_written()) {
      in_channel = true;
      self = shared_from_this();
    } else {
      finish(verdict.what);
    }
    return true;
  }
  void settle(outcome outcome, bool) noexcept override {
    const auto keep = std::move(self);
    in_channel = false;
    if (!result) finish(outcome);
  }
  void on_deadline(time_point) override {
    if (result) return;
    if (!in_channel && owner->waiting_) std::erase(*owner->waiting_, shared_from_this());
    finish(in_channel ? outcome::pending : outcome::dropped);
  }
  void finish(outcome outcome) {
    result = outcome;
    if (is_set()) owner->host_->remove_deadline(*this);
    if (slot.waiting()) asio::post(resume_on, [keep = shared_from_this()] { keep->slot.wake(); });
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
    host_->set_deadline(*waiting, host_->now() + std::chrono::duration_cast<duration>(limit));
  }
  const bool queue_first = waiting->how.policy() == overflow::wait && waiting_ && !waiting_->empty();
  if (queue_first || !waiting->try_offer()) {
    if (!waiting_) waiting_ = std::make_unique<std::deque<std::shared_ptr<awaited_send>>>();
    waiting_->push_back(waiting);
  }
  while (!waiting->result) {
    co_await waiting->slot.wait();
    const auto cancelled = co_await asio::this_coro::cancellation_state;
    if (!waiting->result && cancelled.cancelled() != asio::cancellation_type::none) {
      if (waiting_) std::erase(*waiting_, waiting);
      throw boost::system::system_error{asio::error::operation_aborted};
    }
  }
  co_return *waiting->result;
}

void connection_impl::admit_waiting() {
  while (!waiting_->empty()) {
    const auto next = waiting_->front();
    if (!next->try_offer()) return;
    waiting_->pop_front();
  }
  waiting_.reset();
}

asio::awaitable<outcome> connection_impl::send(prepared_message what, delivery how) {
  assert(what);
  if (over()) co_return outcome::closed;
  if (!host_->running_here()) {
    const auto keep = self();
    co_return co_await asio::co_spawn(host_->executor(), send_slowly(std::move(what), std::move(how)),
                                      asio::use_awaitable);
  }
  const bool fast = !how.waits_until_written() && (how.policy() != overflow::wait || !waiting_);
  if (fast) {
    const auto answer = offer(what.block(), how.policy(), how.key().get(), nullptr);
    if (answer.what != outcome::pending) co_return answer.what;
  }
  co_return co_await send_slowly(std::move(what), std::move(how));
}

asio::awaitable<outcome> connection_impl::write(prepared_message what) {
  assert(what);
  if (host_->running_here() && !waiting_) {
    const auto answer = offer(what.block(), overflow::wait, nullptr, nullptr);
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
  asio::post(host_->executor(), [self = self(), what = std::move(what), policy, key = how.key()] {
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
  asio::post(host_->executor(), [self = self(), code, text = std::move(text)] {
    self->begin_close(closed_by::local, code, text);
  });
}

asio::awaitable<void> connection_impl::close_here(close_code code, std::string text) {
  begin_close(closed_by::local, code, text);
  const auto resume_on = co_await asio::this_coro::executor;
  if (over()) co_return;
  co_await suspend<void()>([this, &resume_on](auto handler) {
    if (!end_waiters_) end_waiters_ = std::make_unique<end_waiters>();
    end_waiters_->emplace_back(resume_on, resumption<void()>{std::move(handler)});
  });
}

asio::awaitable<void> connection_impl::close(close_code code, std::string text) {
  if (code != close_code::none && !is_sendable(code))
    throw std::invalid_argument{"close code may not be sent"};
  if (over()) co_return;
  const auto keep = self();
  if (host_->running_here()) {
    co_await close_here(code, std::move(text));
  } else {
    co_await asio::co_spawn(host_->executor(), close_here(code, std::move(text)), asio::use_awaitable);
  }
}

const identity& connection_impl::user() const noexcept {
  static const identity anonymous;
  return particulars_ ? particulars_->user : anonymous;
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
