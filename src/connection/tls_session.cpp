#include "connection/tls_session.hpp"

#include <boost/asio/error.hpp>
#include <boost/system/errc.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

namespace skein::detail {
namespace {

constexpr std::size_t max_record = SSL3_RT_MAX_PLAIN_LENGTH;
// A peer can make OpenSSL answer while it reads nothing (key updates): past this the session fails. A
// handshake's longest flight, its chain of certificates, stays below.
constexpr std::size_t max_unsent = std::size_t{256} * 1024;

}  // namespace

void ssl_deleter::operator()(ssl_st* what) const noexcept {
  ::SSL_free(what);
}

/// The session as OpenSSL sees it: what its records go to and come from.
struct tls_bio {
  static tls_session& session_of(BIO* bio) noexcept {
    return *static_cast<tls_session*>(::BIO_get_data(bio));
  }

  static int read(BIO* bio, char* into, int size) noexcept {
    auto& self = session_of(bio);
    BIO_clear_retry_flags(bio);
    if (size <= 0) return 0;
    const auto room = static_cast<std::size_t>(size);
    error_code ec;
    const auto n = self.below_->read_some({into, room}, ec);
    self.below_drained_ = n < room;
    if (n > 0) return static_cast<int>(n);
    if (ec == asio::error::would_block) {
      BIO_set_retry_read(bio);
      return -1;
    }
    if (ec == asio::error::eof) {
      self.below_ended_ = true;
      return 0;
    }
    self.io_error_ = ec;
    return -1;
  }

  static int write(BIO* bio, const char* bytes, int size) noexcept {
    auto& self = session_of(bio);
    BIO_clear_retry_flags(bio);
    if (size <= 0) return 0;
    const std::string_view all{bytes, static_cast<std::size_t>(size)};
    std::size_t n = 0;
    if (self.unsent_.empty()) {
      const iovec one{const_cast<char*>(all.data()), all.size()};
      error_code ec;
      n = self.below_->write_some({&one, 1}, ec);
      if (ec && ec != asio::error::would_block) {
        self.io_error_ = ec;
        return -1;
      }
    }
    if (self.unsent_.size() + all.size() - n > max_unsent) {
      self.io_error_ = asio::error::no_buffer_space;
      return -1;
    }
    try {
      self.unsent_.append(all.substr(n));
    } catch (const std::bad_alloc&) {
      self.io_error_ = asio::error::no_memory;
      return -1;
    }
    return size;
  }

  static long control(BIO* bio, int command, long, void*) noexcept {
    switch (command) {
      case BIO_CTRL_FLUSH:
        return 1;
      case BIO_CTRL_EOF:
        return session_of(bio).below_ended_ ? 1 : 0;
      default:
        return 0;
    }
  }

  static const BIO_METHOD* method() {
    static const BIO_METHOD* const made = [] {
      auto* const what = ::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "skein");
      if (what == nullptr) throw std::bad_alloc{};
      ::BIO_meth_set_read(what, &read);
      ::BIO_meth_set_write(what, &write);
      ::BIO_meth_set_ctrl(what, &control);
      return what;
    }();
    return made;
  }
};

tls_session::tls_session(ssl_handle session) : ssl_(std::move(session)) {
  auto* const bio = ssl_ ? ::BIO_new(tls_bio::method()) : nullptr;
  if (bio == nullptr) throw std::bad_alloc{};
  ::BIO_set_data(bio, this);
  ::BIO_set_init(bio, 1);
  ::SSL_set_bio(ssl_.get(), bio, bio);
  ::SSL_set_accept_state(ssl_.get());
}

tls_session::~tls_session() = default;

tls_session::progress tls_session::handshake() noexcept {
  error_code ec;
  if (broken_) return progress::failed;
  if (!flush_unsent(ec)) return ec == asio::error::would_block ? progress::wants_write : progress::failed;
  if (established_) return progress::done;
  ::ERR_clear_error();
  const int result = ::SSL_do_handshake(ssl_.get());
  if (result == 1) {
    established_ = true;
    return unsent_.empty() ? progress::done : progress::wants_write;
  }
  met_http_ = ERR_GET_REASON(::ERR_peek_last_error()) == SSL_R_HTTP_REQUEST;
  if (failure(result) != asio::error::would_block) return progress::failed;
  return unsent_.empty() ? progress::wants_read : progress::wants_write;
}

bool tls_session::resumed() const noexcept {
  return established_ && ::SSL_session_reused(ssl_.get()) == 1;
}

std::size_t tls_session::read_some(std::span<char> into, error_code& ec) noexcept {
  ec = std::exchange(ended_, {});
  if (ec) return 0;
  std::size_t total = 0;
  while (total < into.size()) {
    std::size_t n = 0;
    ::ERR_clear_error();
    const int result = ::SSL_read_ex(ssl_.get(), into.data() + total, into.size() - total, &n);
    if (result != 1) {
      const auto why = failure(result);
      starved_ = why == asio::error::would_block;
      if (total == 0) {
        ec = why;
      } else if (!starved_) {
        ended_ = why;
      }
      break;
    }
    starved_ = false;
    total += n;
    if (below_drained_ && ::SSL_has_pending(ssl_.get()) == 0) break;
  }
  return total;
}

std::size_t tls_session::write_some(std::span<const iovec> buffers, error_code& ec) noexcept {
  if (!flush_unsent(ec)) return 0;
  if (broken_ || !established_) {
    ec = asio::error::not_connected;
    return 0;
  }
  thread_local std::array<char, max_record> joined;
  std::size_t taken = 0;
  std::size_t offset = 0;  // in the first buffer
  while (!buffers.empty()) {
    // The next record: a piece of one buffer, or several copied together.
    std::span<const char> record{static_cast<const char*>(buffers.front().iov_base) + offset,
                                 std::min(buffers.front().iov_len - offset, max_record)};
    if (record.size() < max_record && buffers.size() > 1) {
      std::size_t size = 0;
      auto from = offset;
      for (const auto& buffer : buffers) {
        const auto n = std::min(buffer.iov_len - from, max_record - size);
        if (n > 0) std::memcpy(joined.data() + size, static_cast<const char*>(buffer.iov_base) + from, n);
        size += n;
        from = 0;
        if (size == max_record) break;
      }
      record = std::span{joined}.first(size);
    }
    std::size_t n = 0;
    if (!record.empty()) {
      ::ERR_clear_error();
      const int result = ::SSL_write_ex(ssl_.get(), record.data(), record.size(), &n);
      if (result != 1) {
        ec = failure(result);
        // Nothing waits for writing here, and no renegotiation for reading.
        if (ec == asio::error::would_block)
          ec = boost::system::errc::make_error_code(boost::system::errc::io_error);
        return taken;
      }
    }
    taken += n;
    for (offset += n; !buffers.empty() && offset >= buffers.front().iov_len; buffers = buffers.subspan(1)) {
      offset -= buffers.front().iov_len;
    }
    if (!unsent_.empty()) {
      ec = asio::error::would_block;
      return taken;
    }
  }
  return taken;
}

bool tls_session::readable_at_once() const noexcept {
  return ended_ || (!starved_ && ::SSL_has_pending(ssl_.get()) == 1);
}

void tls_session::send_close_notify() noexcept {
  if (!established_ || broken_ || std::exchange(said_goodbye_, true)) return;
  ::ERR_clear_error();
  ::SSL_shutdown(ssl_.get());
  ::ERR_clear_error();
}

bool tls_session::flush_unsent(error_code& ec) noexcept {
  ec = io_error_;
  if (ec) return false;
  if (unsent_.empty()) return true;
  const iovec rest{unsent_.data(), unsent_.size()};
  const auto n = below_->write_some({&rest, 1}, ec);
  if (ec && ec != asio::error::would_block) {
    io_error_ = ec;
    broken_ = true;
    return false;
  }
  if (n == unsent_.size() && !ec) {
    unsent_ = {};  // with its memory
    return true;
  }
  unsent_.erase(0, n);
  ec = asio::error::would_block;
  return false;
}

/// Why a call of OpenSSL did not succeed.
error_code tls_session::failure(int result) noexcept {
  const int why = ::SSL_get_error(ssl_.get(), result);
  ::ERR_clear_error();
  switch (why) {
    case SSL_ERROR_WANT_READ:
      return asio::error::would_block;
    case SSL_ERROR_ZERO_RETURN:
      return asio::error::eof;
    default:
      broken_ = true;
      if (io_error_) return io_error_;
      if (below_ended_) return asio::error::connection_aborted;
      return boost::system::errc::make_error_code(boost::system::errc::protocol_error);
  }
}

}  // namespace skein::detail
