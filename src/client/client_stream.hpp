#pragma once

// A client's bytes, with TLS or without: one type, so that what is built on it is compiled once.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/role.hpp>
#include <boost/beast/websocket/teardown.hpp>

#include <optional>
#include <utility>

namespace skein::detail {

namespace asio = boost::asio;

/// An AsyncStream of Beast's.
class client_stream {
 public:
  using executor_type = asio::any_io_executor;

  explicit client_stream(const executor_type& executor) : socket_(executor) {}
  client_stream(const client_stream&) = delete;
  client_stream& operator=(const client_stream&) = delete;

  executor_type get_executor() { return socket_.get_executor(); }
  [[nodiscard]] asio::ip::tcp::socket& socket() noexcept { return socket_; }
  /// From now on there is TLS; the handshake is the caller's affair.
  asio::ssl::stream<asio::ip::tcp::socket&>& begin_tls(asio::ssl::context& context) {
    return tls_.emplace(socket_, context);
  }

  template <class Buffers, class Token>
  auto async_read_some(const Buffers& into, Token&& token) {
    if (tls_) return tls_->async_read_some(into, std::forward<Token>(token));
    return socket_.async_read_some(into, std::forward<Token>(token));
  }
  template <class Buffers, class Token>
  auto async_write_some(const Buffers& from, Token&& token) {
    if (tls_) return tls_->async_write_some(from, std::forward<Token>(token));
    return socket_.async_write_some(from, std::forward<Token>(token));
  }

 private:
  asio::ip::tcp::socket socket_;
  std::optional<asio::ssl::stream<asio::ip::tcp::socket&>> tls_;
};

// What Beast calls when a WebSocket has been closed: both sides have said goodbye in its own frames, so TLS
// need not say it again.

inline void teardown(boost::beast::role_type role, client_stream& stream, boost::system::error_code& ec) {
  boost::beast::websocket::teardown(role, stream.socket(), ec);
}

template <class Handler>
void async_teardown(boost::beast::role_type role, client_stream& stream, Handler&& handler) {
  boost::beast::websocket::async_teardown(role, stream.socket(), std::forward<Handler>(handler));
}

inline void beast_close_socket(client_stream& stream) {
  boost::system::error_code ignored;
  stream.socket().close(ignored);
}

}  // namespace skein::detail
