#pragma once

// Two ends of a connection in memory. The server's end is a `transport`; the peer's end is driven by a test.

#include "connection/transport.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <memory>
#include <optional>
#include <string>

namespace skein::testing::detail {

namespace asio = boost::asio;
using boost::system::error_code;

/// What both ends share. Everything on one executor.
struct memory_pipe {
  explicit memory_pipe(asio::any_io_executor on) : executor(std::move(on)) {}

  std::string to_server;
  std::string to_peer;
  std::size_t capacity = std::size_t{1} << 20U;  // of `to_peer`
  bool peer_gone = false;                        // the server reads the end of the stream
  bool vanished = false;                         // the peer's machine answers nothing any more
  bool server_shut = false;                      // the server will write no more
  bool server_closed = false;
  asio::any_io_executor executor;
  skein::detail::transport::ready_handler readable;
  skein::detail::transport::ready_handler writable;

  /// Completes the waits whose condition holds now.
  void notify();
};

[[nodiscard]] std::unique_ptr<skein::detail::transport> make_memory_transport(
    std::shared_ptr<memory_pipe> pipe);

}  // namespace skein::testing::detail
