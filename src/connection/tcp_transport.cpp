#include "connection/transport.hpp"

#include <boost/asio/error.hpp>

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <poll.h>

namespace skein::detail {
namespace {

error_code last_error() noexcept {
  const auto code = errno;
  if (code == EAGAIN || code == EWOULDBLOCK || code == EINTR) return asio::error::would_block;
  return {code, boost::system::system_category()};
}

/// Waits live for as long as a connection is idle. Asio's own allocation would let them keep blocks that were
/// made for larger operations, so they get theirs from the heap. (With std::allocator itself Asio uses its
/// own.)
template <class T>
struct exact_allocator {
  using value_type = T;
  exact_allocator() noexcept = default;
  template <class U>
  exact_allocator(const exact_allocator<U>&) noexcept {}  // NOLINT: allocators convert
  [[nodiscard]] T* allocate(std::size_t n) { return std::allocator<T>{}.allocate(n); }
  void deallocate(T* at, std::size_t n) noexcept { std::allocator<T>{}.deallocate(at, n); }
  friend bool operator==(const exact_allocator&, const exact_allocator&) noexcept { return true; }
};

struct ready_adapter {
  using allocator_type = exact_allocator<void>;
  [[nodiscard]] allocator_type get_allocator() const noexcept { return {}; }
  transport::ready_handler handler;
  void operator()(error_code ec) { handler(wait_result{ec}); }
};

class tcp_transport final : public transport {
 public:
  explicit tcp_transport(asio::ip::tcp::socket socket) : socket_(std::move(socket)) {
    socket_.non_blocking(true);
  }

  std::size_t read_some(std::span<char> into, error_code& ec) noexcept override {
    const auto n = ::recv(socket_.native_handle(), into.data(), into.size(), 0);
    if (n > 0) {
      ec = {};
      return static_cast<std::size_t>(n);
    }
    ec = n == 0 ? error_code{asio::error::eof} : last_error();
    return 0;
  }

  std::size_t write_some(std::span<const iovec> buffers, error_code& ec) noexcept override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(buffers.data());
    message.msg_iovlen = buffers.size();
    const auto n = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      ec = {};
      return static_cast<std::size_t>(n);
    }
    ec = last_error();
    return 0;
  }

  void wait_readable(ready_handler handler) override {
    socket_.async_wait(asio::socket_base::wait_read, ready_adapter{std::move(handler)});
  }
  void wait_writable(ready_handler handler) override {
    socket_.async_wait(asio::socket_base::wait_write, ready_adapter{std::move(handler)});
  }

  bool peer_gone(duration quiet) const noexcept override {
    auto& socket = const_cast<asio::ip::tcp::socket&>(socket_);
    pollfd probe{socket.native_handle(), POLLRDHUP, 0};
    if (::poll(&probe, 1, 0) > 0) return true;  // POLLERR and POLLHUP are always reported
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(probe.fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
    return info.tcpi_unacked > 0 && std::chrono::milliseconds{info.tcpi_last_ack_recv} >= quiet;
  }

  void shutdown_send() noexcept override {
    error_code ignored;
    socket_.shutdown(asio::socket_base::shutdown_send, ignored);
  }

  void close(bool reset) noexcept override {
    error_code ignored;
    if (reset) socket_.set_option(asio::socket_base::linger{true, 0}, ignored);
    socket_.close(ignored);
  }

 private:
  asio::ip::tcp::socket socket_;
};

}  // namespace

std::unique_ptr<transport> make_tcp_transport(asio::ip::tcp::socket socket) {
  return std::make_unique<tcp_transport>(std::move(socket));
}

}  // namespace skein::detail
