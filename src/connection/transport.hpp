#pragma once

// The bytes beneath a connection: non-blocking reads and writes, and waiting for readiness. TCP, memory,
// later TLS.

#include "connection/suspended_loop.hpp"

#include <skein/clock.hpp>

#include <boost/system/error_code.hpp>

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <span>

namespace skein::detail {

using boost::system::error_code;

/// Used on the connection's executor only.
class transport {
 public:
  using ready_handler = detail::ready_handler;

  virtual ~transport() = default;
  /// Reads what is there. `would_block` if there is nothing, `eof` at the end.
  virtual std::size_t read_some(std::span<char> into, error_code& ec) noexcept = 0;
  /// Writes what fits, in one system call. `would_block` if nothing does.
  virtual std::size_t write_some(std::span<const iovec> buffers, error_code& ec) noexcept = 0;
  /// Completes with true when `read_some` will not block, with false after `close`. One at a time.
  virtual void wait_readable(ready_handler handler) = 0;
  /// Completes with true when `write_some` will not block, with false after `close`. One at a time.
  virtual void wait_writable(ready_handler handler) = 0;
  /// Whether the connection has been reset, unread data in front of that or not, or the peer has
  /// acknowledged nothing for `quiet` although something is on its way to it.
  [[nodiscard]] virtual bool peer_gone(duration quiet) const noexcept = 0;
  /// No more will be written; the peer reads the end of the stream after what is on its way.
  virtual void shutdown_send() noexcept = 0;
  /// Ends everything. With `reset`, what the kernel still holds is discarded and the peer sees a reset.
  virtual void close(bool reset) noexcept = 0;
};

class poller;

/// Owns the socket. The poller outlives the transport.
[[nodiscard]] std::unique_ptr<transport> make_tcp_transport(int socket, poller& watched_by);

}  // namespace skein::detail
