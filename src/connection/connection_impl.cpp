#include "connection/connection_impl.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <utility>

namespace skein::detail {
namespace {

// Pongs are bounded by the ping budget; this holds where the budget is switched off.
constexpr std::size_t max_control_bytes = 64 * 1024;
// That nobody asked for.
constexpr std::uint32_t pongs_for_a_ping = 10;

double spread_of(connection_id id) noexcept {
  // Fibonacci hashing: neighbouring ids fall far apart.
  return static_cast<double>((id * 0x9e3779b97f4a7c15ULL) >> 11U) * 0x1.0p-53;
}

}  // namespace

connection_impl::connection_impl(connection_id id, const std::string* route, connection_parts parts)
    : ticket(std::move(parts.ticket)),
      host_(std::move(parts.where)),
      route_(route),
      admitted_(parts.admitted),
      window_bits_(static_cast<std::uint8_t>(parts.engine->send_window_bits())),
      channel_(host_->channel()),
      transport_(std::move(parts.transport)),
      engine_(std::move(parts.engine)),
      guard_(std::move(parts.guard)),
      id_(id),
      runs_(std::move(parts.runs)),
      request_(std::move(parts.request)) {
  if (!parts.early.empty()) backlog_ = std::make_unique<unfed>(unfed{std::move(parts.early)});
  if (!parts.user.user.empty() || !parts.user.claims.is_null() || !parts.subprotocol.empty()) {
    particulars_ = std::make_unique<particulars>(identity{}, std::move(parts.subprotocol));
    set_user(std::move(parts.user));
  }
  if (!parts.response.empty()) channel_.push_control(parts.response);
  transport_->allow_reading_ahead();
}

connection_impl::~connection_impl() {
  // Its handler's end was lost: Asio had no memory to tell of it.
  if (announced_ && !joined_) host_->on_joined(*this);
  ticket.release();
}  // while the host is there

// --- The handler and the loops ---

/// What `co_spawn` calls when the handler has ended. It names no executor of its own, for which Asio would
/// keep two in memory beside the coroutine.
class connection_impl::handler_end {
 public:
  explicit handler_end(std::shared_ptr<connection_impl> whose) noexcept : self_(std::move(whose)) {}
  using cancellation_slot_type = asio::cancellation_slot;
  [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept {
    return self_->cancel_handler_.slot();
  }
  void operator()(const std::exception_ptr& error) const { self_->on_handler_done(error); }

 private:
  std::shared_ptr<connection_impl> self_;
};

void connection_impl::start() {
  const auto keep = self();
  guarded([&] {
    // It may be closing already.
    if (is_open()) {
      heartbeat_.start(host_->now(), host_->beats(), spread_of(id_));
      const auto first = std::min(heartbeat_.due(), user_due());
      if (first != time_point::max()) host_->set_deadline_no_later(*this, first);
    }
    if (channel_.anything_to_write()) mark();
    read_loop(keep);
  });
  on_part_done();  // if there was no memory for the loop
  try {
    asio::co_spawn(host_->executor(), (*runs_)(*this), handler_end{keep});
  } catch (...) {  // of a handler that is no coroutine, or for want of memory
    on_handler_done(std::current_exception());
  }
}

void connection_impl::on_handler_done(const std::exception_ptr& error) {
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
  guarded([&] {
    if (error && !cancelled) {
      host_->counters.handler_exceptions.add();
      host_->problem("handler of " + *route_ + " threw: " + what_of(error));
    }
    begin_close(closed_by::local, error ? close_code::internal_error : close_code::normal, {});
  });
  on_part_done();
}

/// `co_await` in the read loop: until there may be something to read and room for it, or the end.
class connection_impl::input_wait {
 public:
  explicit input_wait(connection_impl& whose) noexcept : self_(whose) {}
  [[nodiscard]] bool await_ready() const noexcept { return self_.may_feed_backlog(); }
  void await_suspend(std::coroutine_handle<> frame) {
    if (self_.must_wait_for_room()) {
      self_.paused_ = true;
      self_.paused_since_ping_ = true;
      self_.room_.keep(frame);
    } else if (self_.input_ended_) {
      self_.room_.keep(frame);  // for the end to wake
    } else {
      waited_for_transport_ = true;
      self_.transport_->wait_readable(transport::ready_handler{frame, &ready_});
    }
  }
  [[nodiscard]] input await_resume() const noexcept {
    self_.paused_ = false;
    if (!waited_for_transport_) return input::perhaps;
    return ready_ ? input::ready : input::failed;
  }

 private:
  connection_impl& self_;
  bool waited_for_transport_ = false;
  bool ready_ = false;
};

loop connection_impl::read_loop(std::shared_ptr<connection_impl> self) {
  self->reading_ = true;
  while (!self->over()) {
    const auto what = co_await input_wait(*self);
    self->go_on(what);
  }
  self->reading_ = false;
  self->on_part_done();
}

void connection_impl::go_on(input what) {
  if (over()) return;
  if (what == input::ready) {
    guarded([this] { read_once(); });
  } else if (what == input::failed) {
    end(true);
  } else if (may_feed_backlog()) {
    guarded([this] { feed_backlog(); });
  }
}

bool connection_impl::must_wait_for_room() const noexcept {
  // In the closing handshake messages are discarded, and the peer's close frame may be behind them.
  return is_open() && (inbox_.full(host_->limits()) || awaits_admission());
}

bool connection_impl::may_feed_backlog() const noexcept {
  return backlog_ && !input_ended_ && !must_wait_for_room();
}

loop connection_impl::write_loop(std::shared_ptr<connection_impl> self) {
  self->writing_ = true;
  while (self->stalled_ && !self->over()) {
    const bool ready = co_await writable(*self->transport_);
    if (self->over()) break;
    self->stalled_ = false;
    if (ready) {
      self->guarded([connection = self.get()] { connection->flush(); });
    } else {
      self->end(true);
    }
  }
  self->stalled_since_ = {};
  self->writing_ = false;
  self->on_part_done();
}

void connection_impl::on_part_done() {
  if (!over() || reading_ || writing_) return;
  announce_end();
  if (handler_done_) {
    joined_ = true;
    host_->on_joined(*this);
    release();
  }
}

void connection_impl::announce_end() {
  if (std::exchange(announced_, true)) return;
  if (guard_) guard_->leave();
  host_->on_ended(*this);
}

void connection_impl::fail(const std::exception_ptr& error) noexcept {
  try {
    host_->problem("a connection failed: " + what_of(error));
  } catch (...) {  // no memory for the line either
  }
  end(true);
}

void connection_impl::feed_backlog() {
  auto& rest = *backlog_;
  const auto used = take(std::span{rest.bytes}.subspan(rest.fed));
  rest.fed += used;
  if (used == 0 || rest.fed == rest.bytes.size() || discarding_ || peer_closed_ || over()) backlog_.reset();
}

void connection_impl::read_once() {
  const auto buffer = host_->read_buffer();
  error_code ec;
  const auto n = transport_->read_some(buffer, ec);
  if (ec == asio::error::would_block) return;
  if (ec == asio::error::eof && peer_closed_ && !close_written()) {
    // The peer has said goodbye and all that it had to say; it may still be listening for the answer.
    input_ended_ = true;
    flush();
    return;
  }
  if (ec) {
    end();
    return;
  }
  host_->counters.wire_bytes_in.add(n);
  if (discarding_ || peer_closed_) return;
  short_read_ = n < buffer.size();
  const auto used = take(buffer.first(n));
  if (paused_since_ping_ && short_read_ && used == n) drained_at_ = host_->now();
  if (used < n && !discarding_ && !peer_closed_ && !over()) {
    const auto rest = buffer.first(n).subspan(used);
    backlog_ = std::make_unique<unfed>(unfed{std::string{rest.data(), rest.size()}});
  }
}

std::size_t connection_impl::take(std::span<char> bytes) {
  std::size_t used = 0;
  try {
    used = engine_->feed(bytes, *this);
  } catch (...) {
    host_->problem("reading: " + what_of(std::current_exception()));
    end(true);
    return 0;
  }
  if (message_due_ == time_point::max() && host_->limits().message_timeout.count() != 0 &&
      engine_->in_message()) {
    message_due_ = deadline_after(host_->now(), host_->limits().message_timeout);
    if (state_.load(std::memory_order_relaxed) == state::open)
      host_->set_deadline_no_later(*this, message_due_);
  }
  // Behind the feeding, because the handler runs on within this call until it waits again.
  if (!inbox_.empty()) reader_.wake();
  return used;
}

void connection_impl::go_on_reading() {
  // Not at once: the read loop may be what this is called from.
  asio::post(host_->executor(), [self = self()] { self->room_.wake(); });
}

// --- What the engine reports ---

bool connection_impl::on_message(message what) {
  message_due_ = time_point::max();
  fed_since_ping_ = true;
  ++messages_in_;
  prepared_message frame{std::move(what)};
  const auto size = frame.block()->payload().size();
  bytes_in_ += size;
  host_->counters.messages_in.add();
  host_->counters.bytes_in.add(size);
  if (!is_open()) return true;  // RFC 6455 section 1.4: what comes behind our close frame may be discarded
  if (guard_ && !passes({frame.block()->type(), frame})) return is_open() && !awaits_admission();
  inbox_.push(std::move(frame));
  return !inbox_.full(host_->limits()) && !awaits_admission();
}

bool connection_impl::passes(const message& what) {
  auto objection = guard_->judge(what, user().user, admitted_, host_->now());
  if (!objection) return true;
  auto& counters = host_->counters;
  (objection->what == inbound_guard::offence::too_fast ? counters.rate_limited : counters.invalid).add();
  if (objection->last) {
    counters.protocol_failures.add();
    discarding_ = true;
    leave_open(closed_by::local, close_code::policy_violation, objection->answer);
  } else {
    const prepared_message answer{message::text(std::move(objection->answer))};
    offer(answer.block(), overflow::drop, nullptr, nullptr);
  }
  return false;
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
  if (!rtt) {
    // RFC 6455 section 5.5.3 allows those that nobody asked for. They need no answer, and so there may be
    // more.
    if (!ping_budget_.take(host_->now(), host_->pings(), pongs_for_a_ping))
      on_failure(close_code::policy_violation);
    return;
  }
  rtt_ = *rtt;
  host_->counters.pongs_received.add();
  if (is_open())
    host_->set_deadline_no_later(*this,
                                 heartbeat_.due());  // the next ping may come sooner than the pong had to
}

void connection_impl::on_control(std::string_view frame) {
  if (over()) return;
  channel_.push_control(frame);
  mark();
}

void connection_impl::on_close(close_code code, std::string_view text) {
  peer_closed_ = true;
  if (is_open()) {
    leave_open(closed_by::peer, code, text);
  } else if (close_written()) {
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
  } else if (close_written()) {
    on_close_written();
  }
}

}  // namespace skein::detail
