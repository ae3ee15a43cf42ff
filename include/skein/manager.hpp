#pragma once

// The manager owns the connections' life: registration, the limit, heartbeat, broadcast, statistics, health
// and graceful shutdown. Business modules take a `manager&`; the server's own is made by `make_manager`, a
// mock for tests by testing.hpp.
//
// Every member is legal from any thread. Coroutines complete on the executor of the coroutine that awaits
// them. The context of that executor must outlive the manager: the thread that completes a coroutine may
// still be about it when the coroutine already goes on, and a context that is destroyed in that moment is
// used after its end.

#include <skein/clock.hpp>
#include <skein/connection.hpp>
#include <skein/delivery.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace skein {

/// What one connection may cost and how long it may take. Every limit: zero means none, unless it says
/// otherwise.
struct connection_limits {
  /// Of a received message, after decompression; past it 1009. At most 2 GiB; zero: no limit.
  std::size_t max_message_bytes = 64 * 1024;
  std::size_t max_message_frames = 1024;  ///< frames of a received message; past it 1008
  std::chrono::nanoseconds message_timeout =
      std::chrono::seconds{30};             ///< to receive a whole message; past it 1008
  std::uint32_t max_pings_per_second = 10;  ///< pings received, sustained; past the burst 1008
  std::uint32_t ping_burst = 50;            ///< pings received at once; at least 1 if a rate is set
  std::size_t send_queue_messages = 1024;   ///< of the send channel; at least 1
  std::size_t send_queue_bytes =
      1024 * 1024;  ///< of the send channel; an empty channel takes one message of any size
  std::size_t receive_queue_messages =
      64;  ///< read ahead of the handler, then the socket is not read; at least 1
  std::size_t receive_queue_bytes = 256 * 1024;  ///< read ahead of the handler; at least 1
  std::chrono::nanoseconds ping_interval =
      std::chrono::seconds{25};  ///< zero: no pings, dead peers are not found
  std::chrono::nanoseconds pong_timeout = std::chrono::seconds{8};  ///< after a ping; past it 4000. Not zero
  std::chrono::nanoseconds write_timeout =
      std::chrono::seconds{10};  ///< without progress; past it 4008, then reset
  std::chrono::nanoseconds close_timeout =
      std::chrono::seconds{5};  ///< for the closing handshake; then reset. Not zero
};

/// permessage-deflate (RFC 7692).
struct compression_options {
  bool enabled = false;
  int level = 6;                ///< zlib's, 1 to 9
  std::size_t threshold = 256;  ///< bytes; smaller messages are sent as they are
};

/// What reads the protocol. Both do the same; docs/explanation/engines.md says where they differ.
enum class engine : std::uint8_t {
  native,  ///< Skein's own
  beast,   ///< Boost.Beast's
};

struct manager_options {
  unsigned shards = 0;                   ///< threads, or strands when embedded; 0: one for each core
  std::size_t max_connections = 10'000;  ///< at least 1; past it the handshake is refused with 503
  connection_limits limits;
  compression_options compression;
  skein::engine engine = skein::engine::native;  ///< what reads the protocol
  /// Connections closed each second while draining; 0: all at once.
  std::size_t drain_rate = 5'000;
  /// A shard that has not run for this long makes the process not live. Not zero.
  std::chrono::nanoseconds stall_threshold = std::chrono::seconds{5};
  std::shared_ptr<skein::clock> time;  ///< empty: the machine's steady clock
  /// Called for each connection once it is registered, before its handler, on its executor.
  std::function<void(connection&)> on_open;
  /// Called exactly once for each connection that was opened, after both of its loops have ended, on its
  /// executor; for one that a blocked shard could not end, by whoever destroys the manager, once the shard's
  /// thread has ended. Not if somebody's context is destroyed under an embedded manager.
  std::function<void(connection&, const close_reason&)> on_closed;
  /// Called for every problem worth a line in a log: a handler that threw, an accept that failed. Any thread.
  std::function<void(std::string_view)> on_problem;
};

/// Why a handshake was not answered with 101. The enumerators index `manager_stats::refused`.
enum class refusal_reason : std::uint8_t {
  connection_limit,  ///< 503
  draining,          ///< 503
  origin,            ///< 403
  authentication,    ///< what the authenticator said; 4001 or 1008 after the upgrade
  malformed,         ///< 400, 426: not a WebSocket handshake though sent to a WebSocket route
  too_large,         ///< 431
  timeout,           ///< 408
  internal,          ///< 500
  rate,              ///< 429 for one address, 503 for all together: too many handshakes
  address_limit,     ///< 429: too many connections from one address
  descriptors,       ///< nothing, closed at once: the process may open no more files
  proxy,             ///< 400, or nothing: a proxy did not say who its client is, or is not one of ours
  count_
};
[[nodiscard]] std::string_view name(refusal_reason reason) noexcept;

/// What became of TLS handshakes (RFC 8446 section 4, RFC 5246 section 7.3), and of loading certificates.
struct tls_stats {
  std::uint64_t handshakes = 0;      ///< completed
  std::uint64_t resumed = 0;         ///< of them, those that took an earlier session up again
  std::uint64_t failed = 0;          ///< refused by either side, or the peer went away
  std::uint64_t timed_out = 0;       ///< not completed within the handshake timeout
  std::uint64_t reloads = 0;         ///< after which new connections got what was loaded
  std::uint64_t failed_reloads = 0;  ///< after which nothing had changed
};

/// Counted since the start, but for the first group, which is now.
struct manager_stats {
  std::size_t active = 0;   ///< registered connections
  std::size_t open = 0;     ///< of them, those that can be sent to
  std::size_t closing = 0;  ///< of them, those in the closing handshake
  std::size_t handshaking = 0;
  std::size_t queued_messages = 0;  ///< in all send channels
  std::size_t queued_bytes = 0;
  std::size_t max_connections = 0;

  std::uint64_t total = 0;  ///< connections opened
  std::uint64_t closed = 0;
  std::uint64_t messages_in = 0, bytes_in = 0;    ///< payload
  std::uint64_t messages_out = 0, bytes_out = 0;  ///< payload, written
  std::uint64_t wire_bytes_in = 0, wire_bytes_out = 0;
  std::uint64_t writes = 0;             ///< system calls that wrote
  std::uint64_t dropped_overflow = 0;   ///< by `drop` or `conflate` in a full channel, or `wait` in vain
  std::uint64_t dropped_conflated = 0;  ///< replaced by a newer message of the same key
  std::uint64_t discarded = 0;          ///< still queued when their connection ended
  std::uint64_t evictions = 0;          ///< slow consumers closed
  std::uint64_t pings_sent = 0, pongs_received = 0, pong_timeouts = 0;
  std::uint64_t pings_received = 0;
  std::uint64_t write_timeouts = 0;
  std::uint64_t close_timeouts = 0;
  std::uint64_t protocol_failures = 0;  ///< connections that this side closed with 1002, 1007, 1008 or 1009
  std::uint64_t handler_exceptions = 0;
  std::uint64_t rate_limited = 0;    ///< messages that came too fast, which no handler has seen
  std::uint64_t invalid = 0;         ///< messages that a validator refused, which no handler has seen
  std::uint64_t token_expiries = 0;  ///< connections closed because their identity had expired
  std::uint64_t broadcasts = 0;
  std::array<std::uint64_t, static_cast<std::size_t>(refusal_reason::count_)> refused{};
  tls_stats tls;

  std::chrono::nanoseconds uptime{0};
};

/// `live`: the process does its work; if not, restart it. `ready`: it should be given new connections.
struct health_report {
  bool live = true;
  bool ready = true;
  std::vector<std::string> reasons;  ///< why not
};

/// How a shutdown went. `clean + forced` is the number of connections there were.
struct drain_report {
  std::size_t clean = 0;        ///< connections whose closing handshake was completed
  std::size_t forced = 0;       ///< connections that were reset, or whose handler did not end in time
  std::size_t undelivered = 0;  ///< messages that were queued and not written
  std::chrono::nanoseconds elapsed{0};
};

class manager {
 public:
  manager() = default;
  manager(const manager&) = delete;
  manager& operator=(const manager&) = delete;
  virtual ~manager() = default;

  /// Sends a message to every open connection that matches, and waits for what becomes of each copy.
  ///
  /// Completes when every outcome is known, or at `how.deadline()`; the report's sum always holds. A
  /// connection that is registered while the call is under way may or may not be matched. Throws
  /// `std::invalid_argument` if the policy is `wait`, or `what` is empty. Cancellation: the message goes on,
  /// the report does not come.
  [[nodiscard]] virtual asio::awaitable<delivery_report> broadcast(prepared_message what,
                                                                   delivery how = {}) = 0;

  /// As `broadcast`, without waiting and without a report.
  virtual void post_broadcast(prepared_message what, delivery how = {}) = 0;

  /// As `connection::send`, cancellation too. `closed` if there is no such connection.
  virtual asio::awaitable<outcome> send_to(connection_id id, prepared_message what, delivery how = {}) = 0;

  /// Starts closing a connection; completes with whether there was one, without waiting for its end.
  virtual asio::awaitable<bool> close(connection_id id, close_code code = close_code::normal,
                                      std::string text = {}) = 0;

  /// Calls `visit` for every registered connection on its own executor, one shard after another; completes
  /// when all have been visited. The first exception of `visit` is thrown here, after the visits have ended.
  virtual asio::awaitable<void> for_each(std::function<void(connection&)> visit) = 0;

  [[nodiscard]] virtual manager_stats stats() const = 0;
  [[nodiscard]] virtual health_report health() const = 0;

  /// Graceful shutdown: no new connections; every connection is closed with 1001 after what is queued for it,
  /// at the pace of `drain_rate`; what has not ended at the deadline is reset. Completes when every coroutine
  /// of every connection has ended, or one second after the deadline. A second call waits for the same
  /// shutdown. Cancellation has no effect.
  [[nodiscard]] virtual asio::awaitable<drain_report> drain(std::chrono::nanoseconds deadline) = 0;
};

/// A manager with threads of its own, one for each shard, ended by its destructor, which resets what is open
/// and waits for the threads. (If the last owner lets go on one of them, a thread of its own does that.)
/// Throws `std::invalid_argument` naming the option that is not allowed, and `std::system_error` or
/// `boost::system::system_error` if the system has no thread or descriptor left.
[[nodiscard]] std::shared_ptr<manager> make_manager(manager_options options = {});

/// A manager embedded in somebody's own context: its shards are strands over `executor`. The context must be
/// run until `drain` has completed; the manager, and the connections that somebody keeps, must be let go of
/// before the context is destroyed.
[[nodiscard]] std::shared_ptr<manager> make_manager(asio::any_io_executor executor,
                                                    manager_options options = {});

}  // namespace skein
