#pragma once

// A client that speaks TLS as told to, with OpenSSL's own code; the frames are `raw_client`'s.

#include "../tls_files.hpp"
#include "raw_client.hpp"

#include <memory>
#include <string>

struct ssl_st;
struct ssl_ctx_st;
struct ssl_session_st;

namespace skein::test {

/// A session that a later client may resume.
using tls_ticket = std::shared_ptr<ssl_session_st>;

struct tls_wishes {
  std::string server_name{};  ///< asked for, and checked; empty: neither
  std::string authority{};    ///< PEM; empty: the certificate is not checked
  certified own{};            ///< what the client shows, if it has any
  int min_version = 0;        ///< of OpenSSL's constants; 0: any
  int max_version = 0;
  std::string ciphers{};    ///< of TLS 1.2
  std::string protocols{};  ///< ALPN, each behind its length
  tls_ticket ticket{};
  int receive_buffer = 0;
};

class tls_client : public raw_client {
 public:
  /// Connects and shakes hands; `established` says whether that went well.
  explicit tls_client(std::uint16_t port, const tls_wishes& wishes = {});
  tls_client(tls_client&&) = delete;
  ~tls_client() override;

  [[nodiscard]] bool established() const noexcept { return established_; }
  /// OpenSSL's reason for a failure, as its constants have it; 0 if there was none.
  [[nodiscard]] int failure() const noexcept { return failure_; }
  [[nodiscard]] int version() const;
  [[nodiscard]] std::string cipher() const;
  [[nodiscard]] std::string protocol() const;
  [[nodiscard]] std::string server_common_name() const;
  [[nodiscard]] std::size_t server_chain_length() const;
  [[nodiscard]] bool resumed() const;
  /// Of the last ticket that came; with TLS 1.3 they come behind the handshake, with the first bytes read.
  [[nodiscard]] tls_ticket ticket() const;
  /// Whether the server would have a new handshake within the session (TLS 1.2).
  [[nodiscard]] bool renegotiates();
  /// Asks for new keys of both sides (RFC 8446 section 4.6.3).
  bool update_keys();

  void finish_sending() override;  ///< close_notify; the socket stays open
  void truncate();                 ///< the end of the socket's stream, without close_notify
  void send_raw(std::string_view bytes) { raw_client::put(bytes); }

 protected:
  long put(std::string_view bytes) override;
  long get(char* into, std::size_t size) override;

 private:
  bool step(int result);
  long moved(int result, std::size_t n);

  std::shared_ptr<ssl_ctx_st> context_;
  std::shared_ptr<ssl_st> ssl_;
  tls_ticket ticket_;
  bool established_ = false;
  int failure_ = 0;
};

}  // namespace skein::test
