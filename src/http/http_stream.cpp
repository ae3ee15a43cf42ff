#include "http/http_stream.hpp"

#include "connection/poller.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace skein::detail {

http_stream::http_stream(asio::ip::tcp::socket socket, std::unique_ptr<tls_session> tls)
    : socket_(std::move(socket)), tls_(std::move(tls)) {
  if (tls_) tls_->attach(plain_);
}

asio::awaitable<error_code> http_stream::handshake() {
  while (tls_) {
    const auto step = tls_->handshake();
    if (step == tls_session::progress::done) break;
    if (step == tls_session::progress::failed) co_return asio::error::connection_aborted;
    const bool to_write = step == tls_session::progress::wants_write;
    const auto what = to_write ? socket_.wait_write : socket_.wait_read;
    const auto ec = co_await wait(what);
    if (ec) co_return ec;
  }
  co_return error_code{};
}

asio::awaitable<std::pair<error_code, std::size_t>> http_stream::read_some(std::span<char> into) {
  for (;;) {
    error_code ec;
    const auto n = bytes().read_some(into, ec);
    if (ec != asio::error::would_block) co_return std::pair{ec, n};
    ec = co_await wait(socket_.wait_read);
    if (ec) co_return std::pair{ec, n};
  }
}

asio::awaitable<error_code> http_stream::write(std::string_view text) {
  return write_to(bytes(), text);
}

asio::awaitable<error_code> http_stream::write_plain(std::string_view text) {
  return write_to(plain_, text);
}

asio::awaitable<error_code> http_stream::write_to(byte_stream& to, std::string_view text) {
  for (;;) {
    const iovec rest{const_cast<char*>(text.data()), text.size()};
    error_code ec;
    text.remove_prefix(to.write_some({&rest, text.empty() ? 0U : 1U}, ec));
    if (!ec && text.empty()) co_return ec;
    if (!ec) continue;
    if (ec == asio::error::would_block) ec = co_await wait(socket_.wait_write);
    if (ec) co_return ec;
  }
}

asio::awaitable<error_code> http_stream::wait(asio::socket_base::wait_type what) {
  if (cancelled_) co_return asio::error::operation_aborted;
  const auto [ec] = co_await socket_.async_wait(what, asio::as_tuple(asio::use_awaitable));
  if (cancelled_) co_return asio::error::operation_aborted;
  co_return ec;
}

void http_stream::cancel() noexcept {
  cancelled_ = true;
  error_code ignored;
  socket_.cancel(ignored);
}

void http_stream::shutdown_send() noexcept {
  if (tls_) tls_->send_close_notify();
  error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_send, ignored);
}

std::unique_ptr<transport> http_stream::release(poller& watched_by) {
  auto below = make_tcp_transport(socket_.release(), watched_by);
  if (!tls_) return below;
  return make_tls_transport(std::move(tls_), std::move(below), watched_by.executor());
}

}  // namespace skein::detail
