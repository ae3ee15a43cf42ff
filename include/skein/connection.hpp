#pragma once

// A `websocket` with identity: what a coroutine handler is given by the server.
//
// A connection lives on one executor (its shard, or its strand when embedded) and its handler runs there.
// `send`, `post_send`, `write`, `close` and `post_close` are legal from any thread; the rest only on the
// connection's executor, which is where its handler, and predicates and visitors of the manager, run. The
// reference given to a handler is valid until the handler returns; whoever needs it longer keeps
// `shared_from_this()`, and may go on calling the thread-safe members after the connection has ended.

#include <skein/handshake.hpp>
#include <skein/websocket.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <any>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace skein {

/// Counted since the connection was opened. Payload bytes, before compression.
struct connection_stats {
  std::uint64_t messages_in = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t messages_out = 0;  ///< written
  std::uint64_t bytes_out = 0;
  std::uint64_t dropped = 0;         ///< messages dropped or conflated by this connection's full channel
  std::size_t queued_messages = 0;   ///< in the send channel now
  std::size_t queued_bytes = 0;      ///< in the send channel now, as encoded
  std::chrono::nanoseconds rtt{-1};  ///< of the last ping that was answered; negative: none yet
};

class connection : public websocket, public std::enable_shared_from_this<connection> {
 public:
  [[nodiscard]] virtual connection_id id() const noexcept = 0;
  /// The path that the connection's handler was registered for.
  [[nodiscard]] virtual std::string_view route() const noexcept = 0;
  [[nodiscard]] virtual const skein::request& request() const noexcept = 0;
  [[nodiscard]] std::string_view remote_address() const noexcept { return request().remote_address(); }
  /// What the route's authenticator found; anonymous if there is none. Valid until the next `renew`.
  [[nodiscard]] virtual const skein::identity& user() const noexcept = 0;
  /// Puts newer claims, and a newer time of expiry, in the place of those that the user has. False, and
  /// nothing is changed, if this is another user or an anonymous one, or the connection is not open.
  [[nodiscard]] virtual bool renew(skein::identity who) = 0;
  /// The subprotocol that was agreed on; empty if none.
  [[nodiscard]] virtual std::string_view subprotocol() const noexcept = 0;
  [[nodiscard]] virtual asio::any_io_executor executor() const = 0;
  [[nodiscard]] virtual connection_stats stats() const = 0;

  /// Sends a message under a policy.
  ///
  /// Completes with `queued`, `dropped` or `closed` when the send channel has decided; with
  /// `delivery().until_written()` with `written`, `dropped`, `closed` or, at the deadline, `pending`. With
  /// `delivery().wait()` it waits for room, and gives up with `dropped` at the deadline. Predicate, route and
  /// exception of the delivery are not looked at. Cancellation: what waits for room is not sent; what is
  /// queued stays so.
  virtual asio::awaitable<outcome> send(prepared_message what, delivery how = {}) = 0;

  /// As `send`, without waiting and without an answer: legal from any thread, never blocks. `wait` is treated
  /// as `evict`.
  virtual void post_send(prepared_message what, delivery how = {}) = 0;

  /// As `close`, without waiting.
  virtual void post_close(close_code code = close_code::normal, std::string text = {}) = 0;

  /// A place for one value of the business module's own, kept for the connection's life.
  [[nodiscard]] virtual std::any& attributes() noexcept = 0;
  [[nodiscard]] virtual const std::any& attributes() const noexcept = 0;
};

}  // namespace skein
