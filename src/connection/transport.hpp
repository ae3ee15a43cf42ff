#pragma once

// The bytes beneath a connection: non-blocking reads and writes, and waiting for readiness. TCP, memory, and
// TLS over either.

#include "connection/suspended_loop.hpp"

#include <skein/clock.hpp>

#include <boost/system/error_code.hpp>

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <span>

namespace skein::detail {

using boost::system::error_code;

/// Bytes in both directions, without waiting.
class byte_stream {
 public:
  virtual ~byte_stream() = default;
  /// Reads what is there. `would_block` if there is nothing, `eof` at the end.
  virtual std::size_t read_some(std::span<char> into, error_code& ec) noexcept = 0;
  /// Writes what fits. `would_block` with a count of zero: nothing does. `would_block` with a count: so many
  /// bytes were taken and are not to be given again, but the last of them have not been written yet; a later
  /// call, which may be without buffers, goes on with those first.
  virtual std::size_t write_some(std::span<const iovec> buffers, error_code& ec) noexcept = 0;
};

/// Used on the connection's executor only.
class transport : public byte_stream {
 public:
  using ready_handler = detail::ready_handler;

  /// Completes with true when `read_some` will not block, with false after `close`. One at a time.
  virtual void wait_readable(ready_handler handler) = 0;
  /// Completes with true when `write_some` will not block, with false after `close`. One at a time.
  virtual void wait_writable(ready_handler handler) = 0;
  /// Whether the connection has been reset, unread data in front of that or not, or the peer has
  /// acknowledged nothing for `quiet` although something is on its way to it.
  [[nodiscard]] virtual bool peer_gone(duration quiet) const noexcept = 0;
  /// From now on whoever waits for it to be readable reads at once when it is, and has room for
  /// `poller::max_ahead` bytes: it may be read from before he is told.
  virtual void allow_reading_ahead() noexcept {}
  /// No more will be written; the peer reads the end of the stream after what is on its way.
  virtual void shutdown_send() noexcept = 0;
  /// Ends everything. With `reset`, what the kernel still holds is discarded and the peer sees a reset.
  virtual void close(bool reset) noexcept = 0;
};

class poller;

/// `read_some` and `write_some` of a socket; never raises SIGPIPE.
[[nodiscard]] std::size_t receive_some(int socket, std::span<char> into, error_code& ec) noexcept;
[[nodiscard]] std::size_t send_some(int socket, std::span<const iovec> buffers, error_code& ec) noexcept;

/// Owns the socket. The poller outlives the transport.
[[nodiscard]] std::unique_ptr<transport> make_tcp_transport(int socket, poller& watched_by);

}  // namespace skein::detail
