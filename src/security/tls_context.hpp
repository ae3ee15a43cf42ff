#pragma once

// The server's certificates, loaded: makes the sessions of new connections. Read-only, so shards share it;
// sessions that it made live on without it, once their handshake is over.

#include "connection/tls_session.hpp"

#include <skein/clock.hpp>
#include <skein/tls.hpp>

#include <memory>
#include <string>
#include <vector>

struct ssl_ctx_st;

namespace skein::detail {

class tls_context {
 public:
  /// Throws `tls_error` if a file cannot be read or used.
  explicit tls_context(const tls_options& options);
  tls_context(const tls_context&) = delete;
  tls_context& operator=(const tls_context&) = delete;
  ~tls_context();

  /// The server's side of a new session; `now` says which tickets are too old. Throws `std::bad_alloc`.
  [[nodiscard]] std::unique_ptr<tls_session> make_session(wall_time now) const;

  /// Which certificate a client is shown that asks for this name; empty: it asks for none.
  [[nodiscard]] std::size_t choose(const std::string& server_name) const noexcept;

 private:
  struct context_deleter {
    void operator()(ssl_ctx_st* what) const noexcept;
  };
  using context_handle = std::unique_ptr<ssl_ctx_st, context_deleter>;

  static context_handle load(const tls_options& options, std::size_t index);
  static int on_server_name(struct ssl_st* session, int* alert, void* self) noexcept;

  std::vector<context_handle> contexts_;  // one for each certificate; sessions begin with the first
};

/// The certificate that the peer has proved to have; null if it has none.
[[nodiscard]] std::shared_ptr<const client_certificate> peer_certificate(const tls_session& session);

}  // namespace skein::detail
