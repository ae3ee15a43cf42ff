#include "connection/poller.hpp"
#include "connection/transport.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <poll.h>
#include <utility>

namespace skein::detail {
namespace {

error_code last_error() noexcept {
  const auto code = errno;
  if (code == EAGAIN || code == EWOULDBLOCK || code == EINTR) return asio::error::would_block;
  return {code, boost::system::system_category()};
}

class tcp_transport final : public transport, private poller_client {
 public:
  tcp_transport(int descriptor, poller& watched_by) noexcept : poller_(watched_by), descriptor_(descriptor) {}
  ~tcp_transport() override { close(false); }

  std::size_t read_some(std::span<char> into, error_code& ec) noexcept override {
    return receive_some(descriptor_, into, ec);
  }
  std::size_t write_some(std::span<const iovec> buffers, error_code& ec) noexcept override {
    return send_some(descriptor_, buffers, ec);
  }

  void wait_readable(ready_handler handler) override {
    reader_ = std::move(handler);
    watch(true, asks_writable_);
  }
  void wait_writable(ready_handler handler) override {
    writer_ = std::move(handler);
    watch(asks_readable_, true);
  }

  bool peer_gone(duration quiet) const noexcept override {
    if (descriptor_ < 0) return true;
    // The end of its stream alone does not mean that the peer has gone, and unread messages stand before it.
    // If it has gone, its system answers a ping with a reset.
    pollfd probe{descriptor_, 0, 0};
    if (::poll(&probe, 1, 0) > 0) return true;  // POLLERR or POLLHUP
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(descriptor_, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
    return info.tcpi_unacked > 0 && std::chrono::milliseconds{info.tcpi_last_ack_recv} >= quiet;
  }

  void shutdown_send() noexcept override { ::shutdown(descriptor_, SHUT_WR); }

  void close(bool reset) noexcept override {
    if (descriptor_ < 0) return;
    unwatch();
    if (reset) {
      const linger discard{1, 0};
      ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &discard, sizeof discard);
    }
    ::close(std::exchange(descriptor_, -1));
    abort(reader_);
    abort(writer_);
  }

 private:
  /// Asks the poller for this, if it is not what was asked for already.
  void watch(bool readable, bool writable) {
    if (watched_ && readable == asks_readable_ && writable == asks_writable_) return;
    asks_readable_ = readable;
    asks_writable_ = writable;
    if (watched_) {
      poller_.change(descriptor_, *this, readable, writable);
      return;
    }
    error_code ec;
    poller_.add(descriptor_, *this, readable, writable, ec);
    watched_ = !ec;
    if (ec) {
      abort(reader_);
      abort(writer_);
    }
  }
  void unwatch() noexcept {
    if (std::exchange(watched_, false)) poller_.remove(descriptor_, *this);
  }

  /// Who waits goes on within this call. What nobody waits for is no longer asked for, or it would be
  /// reported for ever; the question stays for the next wait otherwise, which then costs no system call.
  void on_ready(bool readable, bool writable, bool failed) override {
    const bool reading = readable && reader_;
    const bool writing = writable && writer_;
    if (failed && !reading && !writing) {
      unwatch();  // cannot be asked not to report this; the next wait asks again
      return;
    }
    if ((readable && !reading) || (writable && !writing)) {
      watch(asks_readable_ && (!readable || reading), asks_writable_ && (!writable || writing));
    }
    // The first may destroy this; what is taken out before is safe.
    auto writer = writing ? std::move(writer_) : ready_handler{};
    if (reading) {
      auto reader = std::move(reader_);
      reader(true);
    }
    if (writer) writer(true);
  }

  void abort(ready_handler& waiting) {
    if (!waiting) return;
    asio::post(poller_.executor(), [handler = std::move(waiting)]() mutable { handler(false); });
  }

  poller& poller_;
  ready_handler reader_;
  ready_handler writer_;
  int descriptor_;
  bool watched_ = false;
  bool asks_readable_ = false;
  bool asks_writable_ = false;
};

}  // namespace

std::size_t receive_some(int socket, std::span<char> into, error_code& ec) noexcept {
  const auto n = ::recv(socket, into.data(), into.size(), MSG_DONTWAIT);
  if (n > 0) {
    ec = {};
    return static_cast<std::size_t>(n);
  }
  ec = n == 0 ? error_code{asio::error::eof} : last_error();
  return 0;
}

std::size_t send_some(int socket, std::span<const iovec> buffers, error_code& ec) noexcept {
  constexpr int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
  ssize_t n = 0;
  if (buffers.size() == 1) {  // usual, and for the kernel less to fetch and to check than a vector of one
    n = ::send(socket, buffers.front().iov_base, buffers.front().iov_len, flags);
  } else {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(buffers.data());
    message.msg_iovlen = buffers.size();
    n = ::sendmsg(socket, &message, flags);
  }
  if (n >= 0) {
    ec = {};
    return static_cast<std::size_t>(n);
  }
  ec = last_error();
  return 0;
}

std::unique_ptr<transport> make_tcp_transport(int descriptor, poller& watched_by) {
  return std::make_unique<tcp_transport>(descriptor, watched_by);
}

}  // namespace skein::detail
