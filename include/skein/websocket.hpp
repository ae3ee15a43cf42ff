#pragma once

// The one interface that a business module must know: read, write, close.
//
// A `websocket` is used by the coroutine handler that was given it, on the executor that runs the handler.
// `write` and `close` may be called from any coroutine on any thread; `read` has one caller at a time.
// Implementations: the server's connections (connection.hpp), a client's (websocket_client.hpp),
// `testing::mock_websocket` (testing.hpp).

#include <skein/delivery.hpp>
#include <skein/message.hpp>

#include <boost/asio/awaitable.hpp>

#include <optional>
#include <string>

namespace skein {

namespace asio = boost::asio;

/// Which side ended a connection.
enum class closed_by : std::uint8_t {
  nobody,     ///< the connection is open
  peer,       ///< the peer's close frame came first
  local,      ///< this side closed: a handler, a limit, a shutdown
  transport,  ///< the network went away without a close frame (code 1006)
};

/// How a connection ended.
struct close_reason {
  closed_by by = closed_by::nobody;
  close_code code = close_code::none;
  std::string text;
};

class websocket {
 public:
  websocket() = default;
  websocket(const websocket&) = delete;
  websocket& operator=(const websocket&) = delete;
  virtual ~websocket() = default;

  /// Reads the next message.
  ///
  /// Completes when a message has arrived, or with nothing once the connection has ended; then
  /// `close_reason()` says how. Messages that arrived before the end are handed out first.
  /// Cancellation: terminal cancellation of the calling coroutine ends the wait; no message is lost by it.
  [[nodiscard]] virtual asio::awaitable<std::optional<message>> read() = 0;

  /// Queues a message for sending, and waits for room in the connection's send channel while it is full.
  ///
  /// Completes with `outcome::queued` when the channel has taken the message (it is on its way, not yet
  /// written), or with `outcome::closed` when the connection has ended. Messages leave in the order in which
  /// they were taken.
  virtual asio::awaitable<outcome> write(prepared_message what) = 0;

  /// Starts the closing handshake (RFC 6455 section 7.1.2) after what is queued, and waits for the end.
  ///
  /// Completes when the connection has ended: the peer has answered, or the close timeout has passed and the
  /// connection was reset. Closing what is closed completes at once. `code` must be one that may be sent
  /// (`is_sendable`), or `none` for a close frame without a code; `text` is cut to 123 bytes at a character
  /// boundary.
  virtual asio::awaitable<void> close(close_code code = close_code::normal, std::string text = {}) = 0;

  [[nodiscard]] virtual bool is_open() const noexcept = 0;

  /// How the connection ended; `closed_by::nobody` while it is open. Legal on the connection's executor.
  [[nodiscard]] virtual const skein::close_reason& close_reason() const noexcept = 0;
};

}  // namespace skein
