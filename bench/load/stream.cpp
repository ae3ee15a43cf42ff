#include "stream.hpp"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace skein::bench {

stream::status stream::connect(const route& way) {
  tls_ = way.tls;
  fd_ = ::socket(way.target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return fail("socket");
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (way.source) {
    // The port is chosen at connect, so that it needs to be free towards this server only.
    ::setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in source{};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr = htonl(*way.source);
    if (::bind(fd_, reinterpret_cast<const sockaddr*>(&source), sizeof source) != 0) return fail("bind");
  }
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&way.target), way.target_size) != 0 &&
      errno != EINPROGRESS)
    return fail("connect");
  wants_write_ = true;
  return status::again;
}

stream::status stream::establish() {
  if (!connected_) {
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length);
    errno = error;
    if (error != 0) return fail("connect");
    connected_ = true;
    wants_write_ = false;
    if (tls_ != nullptr && (session_ = tls_->session(fd_)) == nullptr) return fail("TLS");
  }
  if (session_ == nullptr) return status::done;
  ::ERR_clear_error();
  const int result = ::SSL_do_handshake(session_);
  return result == 1 ? status::done : tls_status(result, "TLS handshake");
}

stream::moved stream::read(std::span<char> room) {
  if (session_ != nullptr) return read_tls(room);
  const auto got = ::recv(fd_, room.data(), room.size(), 0);
  if (got > 0) return {status::done, static_cast<std::size_t>(got)};
  if (got == 0) return {status::ended, 0};
  return {errno == EAGAIN ? status::again : fail("recv"), 0};
}

stream::moved stream::write(std::string_view bytes) {
  if (session_ != nullptr) return write_tls(bytes);
  const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(bytes.size())) {
    wants_write_ = false;
    return {status::done, bytes.size()};
  }
  if (sent < 0 && errno != EAGAIN) return {fail("send"), 0};
  wants_write_ = true;
  return {status::again, sent > 0 ? static_cast<std::size_t>(sent) : 0};
}

stream::moved stream::read_tls(std::span<char> room) {
  ::ERR_clear_error();
  wants_read_again_ = false;
  std::size_t total = 0;
  // With read-ahead several records may be in the session's buffer, of which epoll knows nothing.
  do {
    std::size_t got = 0;
    const int result = ::SSL_read_ex(session_, room.data() + total, room.size() - total, &got);
    if (result != 1) {
      const auto what = tls_status(result, "TLS");
      if (total == 0) return {what, 0};
      // What came before an end is served first. The end shows itself again, but not to epoll.
      wants_read_again_ = what != status::again;
      return {status::done, total};
    }
    total += got;
  } while (total < room.size() && ::SSL_has_pending(session_) == 1);
  wants_read_again_ = ::SSL_has_pending(session_) == 1;
  return {status::done, total};
}

stream::moved stream::write_tls(std::string_view bytes) {
  ::ERR_clear_error();
  wants_write_ = false;
  std::size_t total = 0;
  while (total < bytes.size()) {
    std::size_t sent = 0;
    const int result = ::SSL_write_ex(session_, bytes.data() + total, bytes.size() - total, &sent);
    if (result != 1) return {tls_status(result, "TLS"), total};
    total += sent;
  }
  return {status::done, total};
}

stream::status stream::tls_status(int result, const char* what) {
  switch (::SSL_get_error(session_, result)) {
    case SSL_ERROR_WANT_READ:
      wants_write_ = false;
      return status::again;
    case SSL_ERROR_WANT_WRITE:
      wants_write_ = true;
      return status::again;
    case SSL_ERROR_ZERO_RETURN:
      return status::ended;
    default:
      // Many servers end the TCP connection without a word of TLS.
      if (ERR_GET_REASON(::ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return status::ended;
      return fail(what);
  }
}

stream::status stream::fail(const char* what) {
  const auto reason = std::system_category().message(errno);
  problem_ = std::string{what} + ": " + (session_ != nullptr ? tls_problem(session_, reason) : reason);
  return status::failed;
}

void stream::limit_receive_buffer(int bytes) noexcept {
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

void stream::close() noexcept {
  if (session_ != nullptr) ::SSL_free(std::exchange(session_, nullptr));
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  connected_ = wants_write_ = wants_read_again_ = false;
}

void stream::reset() noexcept {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  if (fd_ >= 0) ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close();
}

}  // namespace skein::bench
