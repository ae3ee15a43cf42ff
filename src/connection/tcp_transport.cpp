#include "connection/poller.hpp"
#include "connection/transport.hpp"
#include "wire/sanitizer.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
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

#if !SKEIN_SANITIZED && defined(SYS_recvfrom) && defined(SYS_sendto)
// The C library's functions are points at which a thread may be cancelled, and so take some locked
// instructions each time in a program with several threads.
ssize_t receive(int socket, void* into, std::size_t size, int flags) noexcept {
  return ::syscall(SYS_recvfrom, socket, into, size, flags, nullptr, nullptr);
}
ssize_t transmit(int socket, const void* what, std::size_t size, int flags) noexcept {
  return ::syscall(SYS_sendto, socket, what, size, flags, nullptr, 0);
}
#else
ssize_t receive(int socket, void* into, std::size_t size, int flags) noexcept {
  return ::recv(socket, into, size, flags);
}
ssize_t transmit(int socket, const void* what, std::size_t size, int flags) noexcept {
  return ::send(socket, what, size, flags);
}
#endif

class tcp_transport final : public transport, private poller_client {
 public:
  tcp_transport(int descriptor, poller& watched_by) noexcept : poller_(watched_by), descriptor_(descriptor) {}
  ~tcp_transport() override { close(false); }

  std::size_t read_some(std::span<char> into, error_code& ec) noexcept override {
    if (const auto came = poller_.take_arrived(*this)) return take(*came, into, ec);
    if (const int failed = std::exchange(failed_, 0)) {
      ec = {failed, boost::system::system_category()};
      return 0;
    }
    const auto n = receive_some(descriptor_, into, ec);
    small_reads_ = n > small_read ? 0 : static_cast<std::uint8_t>(std::min(small_reads_ + 1, habit));
    return n;
  }
  void allow_reading_ahead() noexcept override { may_read_ahead_ = true; }
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
  // Who sends little at a time is read from ahead. Of others it would cost a system call more.
  static constexpr std::size_t small_read = poller::max_ahead / 2;
  static constexpr int habit = 4;

  [[nodiscard]] int reads_ahead() const noexcept override {
    return may_read_ahead_ && reader_ && small_reads_ == habit ? descriptor_ : -1;
  }
  std::size_t take(const poller::arrival& what, std::span<char> into, error_code& ec) noexcept {
    std::ranges::copy(what.bytes, into.begin());
    const auto n = what.bytes.size();
    ec = what.ec;
    if (n < poller::max_ahead) return n;
    // There may be more, and more each time.
    small_reads_ = 0;
    error_code further;
    const auto rest = receive_some(descriptor_, into.subspan(n), further);
    // The end of the stream is told again, a failure is told only once.
    if (further && further != asio::error::would_block && further != asio::error::eof)
      failed_ = further.value();
    return n + rest;
  }

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
  int failed_ = 0;                // what the next read is to be told
  std::uint8_t small_reads_ = 0;  // in a row, up to `habit`
  bool may_read_ahead_ = false;
  bool watched_ = false;
  bool asks_readable_ = false;
  bool asks_writable_ = false;
};

}  // namespace

std::size_t receive_some(int socket, std::span<char> into, error_code& ec) noexcept {
  const auto n = receive(socket, into.data(), into.size(), MSG_DONTWAIT);
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
    n = transmit(socket, buffers.front().iov_base, buffers.front().iov_len, flags);
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
