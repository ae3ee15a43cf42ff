#include "tls.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <stdexcept>
#include <utility>

namespace skein::bench {
namespace {

bool is_address(const std::string& host) {
  in6_addr ignored{};
  return ::inet_pton(AF_INET, host.c_str(), &ignored) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
}

}  // namespace

tls_context::tls_context(const tls_settings& settings, std::string host)
    : context_(::SSL_CTX_new(::TLS_client_method())), host_(std::move(host)) {
  if (context_ == nullptr) throw std::runtime_error{"OpenSSL gives no context"};
  SSL_CTX_set_mode(context_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                 SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context_, 1);                           // one system call for many small records
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);  // each connection pays for its handshake
  if (!settings.verify) return;
  ::SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
  const bool loaded = settings.ca_file.empty()
                          ? ::SSL_CTX_set_default_verify_paths(context_) == 1
                          : ::SSL_CTX_load_verify_file(context_, settings.ca_file.c_str()) == 1;
  if (loaded) return;
  ::SSL_CTX_free(context_);
  throw std::runtime_error{"cannot read the certificates to trust: " + settings.ca_file};
}

tls_context::~tls_context() {
  ::SSL_CTX_free(context_);
}

ssl_st* tls_context::session(int fd) const {
  auto* tls = ::SSL_new(context_);
  if (tls == nullptr) return nullptr;
  ::SSL_set_fd(tls, fd);
  if (is_address(host_)) {
    ::X509_VERIFY_PARAM_set1_ip_asc(::SSL_get0_param(tls), host_.c_str());
  } else {
    ::SSL_set1_host(tls, host_.c_str());
    SSL_set_tlsext_host_name(tls, host_.c_str());
  }
  ::SSL_set_connect_state(tls);
  return tls;
}

std::string tls_problem(ssl_st* session, const std::string& fallback) {
  if (const auto verdict = ::SSL_get_verify_result(session); verdict != X509_V_OK)
    return std::string{"certificate: "} + ::X509_verify_cert_error_string(verdict);
  const auto code = ::ERR_peek_error();
  const char* reason = code != 0 ? ::ERR_reason_error_string(code) : nullptr;
  return reason != nullptr ? reason : fallback;
}

}  // namespace skein::bench
