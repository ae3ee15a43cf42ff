#pragma once

// What all TLS connections of a run share: the certificates to trust and the name to expect. Used by every
// load thread at once; OpenSSL counts its references.

#include <memory>
#include <string>

// OpenSSL's types, so that only the files that call it include it.
struct ssl_ctx_st;
struct ssl_st;

namespace skein::bench {

struct tls_settings {
  bool verify = true;
  std::string ca_file;  // PEM; empty for the system's authorities
};

class tls_context {
 public:
  /// Throws `std::runtime_error` when the file cannot be used.
  tls_context(const tls_settings& settings, std::string host);
  ~tls_context();
  tls_context(const tls_context&) = delete;
  tls_context& operator=(const tls_context&) = delete;

  /// A client session over a connected socket; null when there is no memory. The caller frees it.
  [[nodiscard]] ssl_st* session(int fd) const;

 private:
  ssl_ctx_st* context_;
  std::string host_;
};

/// Why the last call on this session failed. `fallback` is said when OpenSSL does not know.
std::string tls_problem(ssl_st* session, const std::string& fallback);

}  // namespace skein::bench
