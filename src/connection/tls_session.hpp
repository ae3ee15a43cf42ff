#pragma once

// One TLS session over any byte stream. What OpenSSL wants to write is always taken: what the stream beneath
// has no room for is kept here, at most about a record of data, and goes first the next time. So OpenSSL
// never waits for writing, and a write need not be repeated with the same bytes.

#include "connection/transport.hpp"

#include <memory>
#include <string>

struct ssl_st;

namespace skein::detail {

struct ssl_deleter {
  void operator()(ssl_st* what) const noexcept;
};
using ssl_handle = std::unique_ptr<ssl_st, ssl_deleter>;

/// Used on one executor at a time. Calls leave OpenSSL's error queue empty, and do not care what is in it.
class tls_session final : public byte_stream {
 public:
  /// What a handshake waits for, or how it ended.
  enum class progress : std::uint8_t { done, wants_read, wants_write, failed };

  /// The server's side of a session that has not begun. Throws `std::bad_alloc`.
  explicit tls_session(ssl_handle session);
  tls_session(const tls_session&) = delete;
  tls_session& operator=(const tls_session&) = delete;
  ~tls_session() override;

  /// Goes on over this stream, which outlives the session or the next `attach`. To be called first of all,
  /// and whenever the bytes go another way.
  void attach(byte_stream& below) noexcept { below_ = &below; }

  /// One step of the handshake. The alert of one that failed has been written as far as there was room.
  progress handshake() noexcept;
  [[nodiscard]] bool established() const noexcept { return established_; }
  /// Whether the handshake took an earlier session up again.
  [[nodiscard]] bool resumed() const noexcept;
  /// The handshake failed because the peer speaks plain HTTP.
  [[nodiscard]] bool met_http() const noexcept { return met_http_; }

  /// `eof` only behind the peer's close_notify; `connection_aborted` if the stream beneath ends without.
  std::size_t read_some(std::span<char> into, error_code& ec) noexcept override;
  /// Makes records of up to 16 KiB, over the borders of the buffers.
  std::size_t write_some(std::span<const iovec> buffers, error_code& ec) noexcept override;

  /// Whether `read_some` has something, or an end, without anything new from beneath.
  [[nodiscard]] bool readable_at_once() const noexcept;
  /// Whether there is something that the stream beneath had no room for.
  [[nodiscard]] bool holds_unsent() const noexcept { return !unsent_.empty(); }
  /// Says that nothing more will be written, once.
  void send_close_notify() noexcept;

  [[nodiscard]] ssl_st* native() const noexcept { return ssl_.get(); }

 private:
  friend struct tls_bio;

  bool flush_unsent(error_code& ec) noexcept;
  error_code failure(int result) noexcept;

  ssl_handle ssl_;
  byte_stream* below_ = nullptr;
  std::string unsent_;
  error_code io_error_;  // of the stream beneath
  error_code ended_;     // found behind bytes that were to be given first
  bool established_ = false;
  bool met_http_ = false;
  bool broken_ = false;         // OpenSSL must not be asked for anything more
  bool below_ended_ = false;    // the stream beneath has
  bool below_drained_ = false;  // the last read took everything from beneath
  bool starved_ = false;        // what OpenSSL holds is not a whole record
  bool said_goodbye_ = false;
};

/// The transport of an established session over another transport. The executor outlives it.
[[nodiscard]] std::unique_ptr<transport> make_tls_transport(std::unique_ptr<tls_session> session,
                                                            std::unique_ptr<transport> below,
                                                            const asio::any_io_executor& executor);

}  // namespace skein::detail
