#pragma once

// The bytes of an HTTP session: its socket's, or those of the TLS over it. Whoever reads and writes here sees
// no difference.

#include "connection/tls_session.hpp"
#include "connection/transport.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace skein::detail {

/// Used on the socket's executor. One operation at a time; `cancel` ends it with `operation_aborted`.
class http_stream {
 public:
  /// `tls` may be null.
  http_stream(asio::ip::tcp::socket socket, std::unique_ptr<tls_session> tls);
  http_stream(const http_stream&) = delete;
  http_stream& operator=(const http_stream&) = delete;

  [[nodiscard]] asio::ip::tcp::socket& socket() noexcept { return socket_; }
  /// Ends the operation under way, and every further one until they are allowed again: what the socket was
  /// waiting for may just have come, and an operation waits more than once.
  void cancel() noexcept;
  void allow() noexcept { cancelled_ = false; }
  /// Null without TLS.
  [[nodiscard]] const tls_session* tls() const noexcept { return tls_.get(); }

  /// Completes with the reason why TLS could not be agreed on; at once without TLS.
  asio::awaitable<error_code> handshake();
  /// Completes when there is something, with how much.
  asio::awaitable<std::pair<error_code, std::size_t>> read_some(std::span<char> into);
  /// Completes when the kernel has taken everything.
  asio::awaitable<error_code> write(std::string_view bytes);
  /// As `write`, past TLS.
  asio::awaitable<error_code> write_plain(std::string_view bytes);
  /// No more will be written. What still comes can be read from the socket, and thrown away.
  void shutdown_send() noexcept;

  /// Everything goes to a transport; this is left empty.
  [[nodiscard]] std::unique_ptr<transport> release(poller& watched_by);

 private:
  class socket_bytes final : public byte_stream {
   public:
    explicit socket_bytes(asio::ip::tcp::socket& socket) noexcept : socket_(socket) {}
    std::size_t read_some(std::span<char> into, error_code& ec) noexcept override {
      return receive_some(socket_.native_handle(), into, ec);
    }
    std::size_t write_some(std::span<const iovec> buffers, error_code& ec) noexcept override {
      return send_some(socket_.native_handle(), buffers, ec);
    }

   private:
    asio::ip::tcp::socket& socket_;
  };

  asio::awaitable<error_code> wait(asio::socket_base::wait_type what);
  asio::awaitable<error_code> write_to(byte_stream& bytes, std::string_view text);
  [[nodiscard]] byte_stream& bytes() noexcept { return tls_ ? static_cast<byte_stream&>(*tls_) : plain_; }

  asio::ip::tcp::socket socket_;
  socket_bytes plain_{socket_};
  std::unique_ptr<tls_session> tls_;
  bool cancelled_ = false;
};

}  // namespace skein::detail
