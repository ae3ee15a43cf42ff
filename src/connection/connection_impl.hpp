#pragma once

// One connection, on one executor: the spawned coroutine of its handler, a read loop and a write loop.
//
// The read loop waits until the transport is readable, reads once, feeds the engine and wakes the handler.
// What is sent goes into the send channel and marks the connection; at the end of the turn `flush` writes
// everything that is waiting in one system call. Only when the transport is full is a write loop started,
// which waits for it and writes on.
//
// Ending: whoever notices that the connection is over calls `end`, once; the loops see it and return. The
// last of the loops announces the end; when the handler has returned as well, the connection is joined.

#include "connection/deadline_queue.hpp"
#include "connection/engine.hpp"
#include "connection/heartbeat.hpp"
#include "connection/host.hpp"
#include "connection/inbound_guard.hpp"
#include "connection/inbox.hpp"
#include "connection/loop.hpp"
#include "connection/pooled_frame.hpp"
#include "connection/send_channel.hpp"
#include "connection/transport.hpp"
#include "connection/wake_slot.hpp"

#include <skein/connection.hpp>
#include <skein/server.hpp>

#include <boost/asio/cancellation_signal.hpp>

#include <atomic>
#include <deque>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace skein::detail {

/// Something that holds a place among `max_connections` until it is destroyed. The count is the shards',
/// which outlive every connection and every handshake.
class admission_ticket {
 public:
  admission_ticket() = default;
  explicit admission_ticket(std::atomic<std::size_t>& taken) noexcept : taken_(&taken) {}
  admission_ticket(admission_ticket&& other) noexcept : taken_(std::exchange(other.taken_, nullptr)) {}
  admission_ticket& operator=(admission_ticket&& other) noexcept {
    std::swap(taken_, other.taken_);
    return *this;
  }
  ~admission_ticket() { release(); }
  void release() noexcept {
    if (taken_) std::exchange(taken_, nullptr)->fetch_sub(1, std::memory_order_acq_rel);
  }
  explicit operator bool() const noexcept { return taken_ != nullptr; }

 private:
  std::atomic<std::size_t>* taken_ = nullptr;
};

/// What a connection is made of.
struct connection_parts {
  std::shared_ptr<host> where;
  admission_ticket ticket;
  std::shared_ptr<const handler> runs;
  skein::request request;
  skein::identity user;
  std::string subprotocol;
  std::unique_ptr<detail::transport> transport;
  std::unique_ptr<protocol_engine> engine;
  std::string response;                  ///< bytes to write before anything else
  std::string early;                     ///< bytes that were read behind the handshake
  std::unique_ptr<inbound_guard> guard;  ///< of what arrives; may be empty
  bool admitted = true;                  ///< false: `runs` calls `admit` once it is known who this is
};

class connection_impl final : public connection, private protocol_sink, private deadline_entry {
 public:
  /// `route` outlives the connection.
  connection_impl(connection_id id, const std::string* route, connection_parts parts);
  ~connection_impl() override;

  /// Starts reading and spawns the handler, which runs at once up to its first wait.
  void start();

  /// What an `offer` came to: `pending` means that the policy is `wait` and there is no room.
  struct verdict {
    outcome what;
    bool evicted = false;
  };
  /// Gives a message to the send channel. `who` is told what becomes of it if, and only if, the verdict is
  /// `queued`.
  verdict offer(frame_block* frame, overflow policy, const std::string* key, outcome_sink* who) noexcept {
    frame_ref shared{frame};
    return offer(shared, policy, key, who);
  }
  /// As above, of a message that the caller gives away and nobody is told of: it is taken, unless the verdict
  /// is `pending`.
  verdict offer(prepared_message& what, overflow policy, const std::string* key) noexcept {
    frame_ref frame{what.take_block(), frame_ref::adopt_t{}};
    const auto answer = offer(frame, policy, key, nullptr);
    what = prepared_message{frame.take()};
    return answer;
  }
  /// Writes what is waiting.
  void flush() noexcept;
  void begin_close(closed_by by, close_code code, std::string_view text);
  /// Closes the connection as a slow consumer's.
  void evict();
  /// Counts a message that found no room.
  void count_overflow();
  /// Ends the connection now; the peer sees a reset.
  void force();
  /// Cancels the handler, which was left no time to end by itself.
  void cancel_handler() { cancel_handler_.emit(asio::cancellation_type::terminal); }
  /// Ends what is left, without the executor, whose context does not run any more and is about to go. With
  /// `announce` the host is told, as of any end.
  void lose(bool announce) noexcept;
  /// Whether it is known who this is. Until then nothing is sent but what `runs` sends, and nobody is told of
  /// the connection.
  [[nodiscard]] bool admitted() const noexcept { return admitted_; }
  void admit(identity who);
  /// When the user's identity expires; the end of time if it does not.
  [[nodiscard]] time_point user_due() const noexcept {
    return particulars_ ? particulars_->due : time_point::max();
  }
  /// What holds for what arrives; null if nothing does.
  [[nodiscard]] const inbound_rules* inbound() const noexcept { return guard_ ? guard_->rules() : nullptr; }
  [[nodiscard]] const std::string* route_name() const noexcept { return route_; }
  [[nodiscard]] host& where() const noexcept { return *host_; }

  /// Brings what the next `offer` touches into the cache.
  void prefetch() const noexcept { channel_.prefetch(); }
  [[nodiscard]] const void* hot() const noexcept { return &channel_; }

  bool marked = false;            ///< for the host: waiting for `flush`
  bool wants_envelopes = false;   ///< speaks the JSON protocol
  std::uint16_t catching_up = 0;  ///< for the host: what it is being told that it missed
  admission_ticket ticket;        ///< for the host: given back when the connection has ended

  // websocket, connection
  asio::awaitable<std::optional<message>> read() override;
  asio::awaitable<outcome> write(prepared_message what) override;
  asio::awaitable<void> close(close_code code, std::string text) override;
  [[nodiscard]] bool is_open() const noexcept override {
    return state_.load(std::memory_order_relaxed) == state::open;
  }
  [[nodiscard]] const skein::close_reason& close_reason() const noexcept override;
  [[nodiscard]] connection_id id() const noexcept override { return id_; }
  [[nodiscard]] std::string_view route() const noexcept override { return *route_; }
  [[nodiscard]] const skein::request& request() const noexcept override { return request_; }
  [[nodiscard]] const skein::identity& user() const noexcept override;
  [[nodiscard]] bool renew(skein::identity who) override;
  [[nodiscard]] std::string_view subprotocol() const noexcept override {
    return particulars_ ? std::string_view{particulars_->subprotocol} : std::string_view{};
  }
  [[nodiscard]] asio::any_io_executor executor() const override { return host_->executor(); }
  [[nodiscard]] connection_stats stats() const override;
  asio::awaitable<outcome> send(prepared_message what, delivery how) override;
  void post_send(prepared_message what, delivery how) override;
  void post_close(close_code code, std::string text) override;
  [[nodiscard]] std::any& attributes() noexcept override { return attributes_; }
  [[nodiscard]] const std::any& attributes() const noexcept override { return attributes_; }

 private:
  enum class state : std::uint8_t { open, closing, ended };
  struct awaited_send;
  struct particulars {
    particulars(identity who, std::string protocol)
        : user(std::move(who)), subprotocol(std::move(protocol)) {}
    identity user;
    std::string subprotocol;
    time_point due = time_point::max();  // when the identity has expired
  };
  /// What was read, but not yet fed to the engine.
  struct unfed {
    std::string bytes;
    std::size_t fed = 0;
  };
  /// What became of a message that went into the transport, but not through it yet.
  struct unsettled {
    outcome_sink* sink;
    std::size_t payload;
  };
  /// Of a connection that is closing, or was closed with a reason.
  struct ending {
    skein::close_reason reason;
    time_point due;  // for the closing handshake to be over
    std::vector<std::pair<asio::any_io_executor, std::shared_ptr<resumption<void()>>>> waiters;
  };
  class handler_end;
  class input_wait;

  // The loops. Each keeps the connection until it ends.
  static loop read_loop(std::shared_ptr<connection_impl> self);
  /// Runs while the transport is full.
  static loop write_loop(std::shared_ptr<connection_impl> self);
  void on_handler_done(const std::exception_ptr& error);
  /// The handler or a loop has ended: the last of the loops announces the end, the last of all joins.
  void on_part_done();
  void announce_end();
  /// Whether the handler may have this message; otherwise it has been answered.
  [[nodiscard]] bool passes(const message& what);
  void set_user(identity who);
  /// What the heartbeat asks for, or asked for and could not see answered.
  void send_ping();
  enum class input : std::uint8_t { ready, failed, perhaps };
  /// One turn of the read loop.
  void go_on(input what);
  [[nodiscard]] bool must_wait_for_room() const noexcept;
  /// Whether nothing more is read until it is known who this is: what comes behind the first message is
  /// judged by the rules for that user.
  [[nodiscard]] bool awaits_admission() const noexcept { return !admitted_ && messages_in_ > 0; }
  [[nodiscard]] bool may_feed_backlog() const noexcept;
  void read_once();
  void feed_backlog();
  /// What fails, for want of memory, ends its connection and no other.
  template <class Step>
  void guarded(Step step) noexcept {
    try {
      step();
    } catch (...) {
      fail(std::current_exception());
    }
  }
  void fail(const std::exception_ptr& error) noexcept;
  /// Whether the pong may have come unseen, because the handler does not read.
  [[nodiscard]] bool pong_may_be_unread(time_point now) const noexcept;
  /// Feeds the engine and wakes the handler; returns how many bytes were of use.
  std::size_t take(std::span<char> bytes);
  void go_on_reading();
  /// Nothing if there is none.
  [[nodiscard]] std::optional<message> next_message();

  // protocol_sink
  bool on_message(message what) override;
  bool on_ping() override;
  void on_pong(std::string_view payload) override;
  void on_control(std::string_view frame) override;
  void on_close(close_code code, std::string_view text) override;
  void on_failure(close_code code) override;

  // deadline_entry
  void on_deadline(time_point now) override;

  [[nodiscard]] bool over() const noexcept { return state_.load(std::memory_order_relaxed) == state::ended; }
  void mark();
  /// The reference is taken, unless the verdict is `pending`.
  verdict offer(frame_ref& frame, overflow policy, const std::string* key, outcome_sink* who) noexcept;
  /// `taken` once the channel has the message.
  verdict offer_to_channel(frame_ref& frame, overflow policy, const std::string* key, outcome_sink* who,
                           bool& taken);
  void write_waiting();
  void stall(bool progress);
  /// The transport has taken so many bytes of the channel, and not written all of them yet.
  void hold(std::size_t taken);
  /// Whether the transport holds nothing any more that it took and could not write.
  [[nodiscard]] bool flush_held();
  void count_written(std::uint64_t messages, std::uint64_t payload);
  [[nodiscard]] bool close_written() const noexcept { return channel_.close_written() && !held_; }
  void leave_open(closed_by by, close_code code, std::string_view text);
  void discard_waiting();
  void on_close_written();
  void end(bool reset = false);
  void tell_of_end();
  void tell_again() noexcept;
  void tell_waiters();
  void release() noexcept;
  void admit_waiting();
  send_channel::admission push_keyed(send_channel::item& what, const std::string& key);
  asio::awaitable<outcome> send_slowly(prepared_message what, delivery how);
  asio::awaitable<bool> close_here(close_code code, std::string text);
  [[nodiscard]] std::shared_ptr<connection_impl> self() {
    return std::static_pointer_cast<connection_impl>(shared_from_this());
  }

  // What a broadcast touches comes first.
  std::shared_ptr<host> host_;
  const std::string* route_;
  std::atomic<state> state_{state::open};
  bool stalled_ = false;            // the transport is full; the write loop waits for it
  bool peer_closed_ = false;        // the peer's close frame has come
  bool discarding_ = false;         // what still comes is of no interest
  bool paused_ = false;             // not reading, because the handler does not
  bool paused_since_ping_ = false;  // the pong may be waiting unread
  bool fed_since_ping_ = false;     // a message has come
  bool short_read_ = true;          // the last read took everything that there was
  bool input_ended_ = false;        // there is nothing more to read, but something to write
  bool admitting_ = false;
  bool flushing_ = false;
  bool reading_ = false;  // the read loop runs
  bool writing_ = false;  // the write loop runs
  bool handler_done_ = false;
  bool announced_ = false;  // the host knows of the end
  bool joined_ = false;     // or nobody counts it any more
  bool admitted_;
  std::uint8_t window_bits_;  // of what is sent compressed; 0: nothing is
  send_channel channel_;
  std::unique_ptr<detail::transport> transport_;
  std::uint64_t messages_out_ = 0, bytes_out_ = 0;
  // What a message that comes touches as well.
  std::unique_ptr<protocol_engine> engine_;
  std::unique_ptr<inbound_guard> guard_;  // where there are rules
  std::uint64_t messages_in_ = 0, bytes_in_ = 0;
  time_point message_due_ = time_point::max();
  inbox inbox_;
  std::unique_ptr<unfed> backlog_;
  std::unique_ptr<std::vector<unsettled>> held_;  // while the transport has taken more than it could write
  wake_slot reader_;                              // the handler, for a message
  std::unique_ptr<std::deque<std::shared_ptr<awaited_send>>> waiting_;  // for room in the channel
  std::unique_ptr<ending> ending_;
  loop_slot room_;  // the read loop, for room in the inbox

  heartbeat heartbeat_;
  ping_budget ping_budget_;
  time_point drained_at_{};  // when everything had been read, in times when the handler is slow
  time_point stalled_since_{};

  connection_id id_;
  std::shared_ptr<const handler> runs_;
  skein::request request_;
  std::unique_ptr<particulars> particulars_;  // of those who are not anonymous
  std::any attributes_;
  asio::cancellation_signal cancel_handler_;
  std::uint64_t dropped_ = 0;
  duration rtt_{-1};
};

}  // namespace skein::detail
