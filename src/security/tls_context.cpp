#include "security/tls_context.hpp"

#include "security/tls_tickets.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <string_view>

namespace skein::detail {
namespace {

// Forward secrecy and authenticated encryption only; AES-128 first, because it is the cheapest and no less
// safe. Clients without instructions for AES get ChaCha20 in spite of the order.
constexpr auto ciphers_of_tls_1_3 =
    "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
constexpr auto ciphers_of_tls_1_2 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
constexpr auto groups = "X25519:P-256:P-384";
constexpr std::string_view protocol = "http/1.1";  // RFC 7301, as the registry names it
constexpr long session_seconds = 3600;

[[noreturn]] void fail(const std::string& file, std::string_view what) {
  std::string reason;
  // The last one is what the caller asked for; the first says why it could not be had.
  if (const auto code = ::ERR_peek_error(); code != 0) {
    const char* const text =
        ERR_SYSTEM_ERROR(code) ? std::strerror(ERR_GET_REASON(code)) : ::ERR_reason_error_string(code);
    if (text != nullptr) reason = std::string{": "} + text;
  }
  ::ERR_clear_error();
  throw tls_error{file + ": " + std::string{what} + reason};
}

void require_readable(const std::string& file) {
  std::FILE* const opened = std::fopen(file.c_str(), "re");
  if (opened == nullptr) throw tls_error{file + ": cannot be read: " + std::strerror(errno)};
  const int first = std::fgetc(opened);
  const int error = std::ferror(opened) != 0 ? errno : 0;
  std::fclose(opened);
  if (error != 0) throw tls_error{file + ": cannot be read: " + std::strerror(error)};
  if (first == EOF) throw tls_error{file + ": is empty"};
}

/// Instead of asking whoever sits at the terminal.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                    unsigned offered_size, void*) {
  for (unsigned i = 0; i < offered_size; i += 1U + offered[i]) {
    const std::string_view one{reinterpret_cast<const char*>(offered + i + 1), offered[i]};
    if (one != protocol) continue;
    *chosen = offered + i + 1;
    *size = offered[i];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;  // no_application_protocol, as RFC 7301 section 3.2 wants it
}

void ask_for_certificates(SSL_CTX* context, const tls_options& options) {
  const auto& file = options.client_ca_file;
  require_readable(file);
  ::ERR_clear_error();
  if (::SSL_CTX_load_verify_file(context, file.c_str()) != 1) fail(file, "cannot be used to check clients");
  auto* const names = ::SSL_load_client_CA_file(file.c_str());
  if (names == nullptr) fail(file, "cannot be used to check clients");
  ::SSL_CTX_set_client_CA_list(context, names);
  bound_tickets(context);
  ::SSL_CTX_set_verify(
      context, SSL_VERIFY_PEER | (options.client_certificate_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
      nullptr);
}

}  // namespace

void tls_context::context_deleter::operator()(ssl_ctx_st* what) const noexcept {
  ::SSL_CTX_free(what);
}

tls_context::context_handle tls_context::load(const tls_options& options, std::size_t index) {
  context_handle made{::SSL_CTX_new(::TLS_server_method())};
  if (!made) throw std::bad_alloc{};
  auto* const context = made.get();
  ::SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  ::SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  ::SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  ::SSL_CTX_set_read_ahead(context, 1);  // one system call for a record's header and what follows
  if (::SSL_CTX_set_ciphersuites(context, ciphers_of_tls_1_3) != 1 ||
      ::SSL_CTX_set_cipher_list(context, ciphers_of_tls_1_2) != 1 ||
      ::SSL_CTX_set1_groups_list(context, groups) != 1) {
    fail("TLS", "OpenSSL has not got the ciphers");
  }
  // Tickets only: nothing is kept here for sessions that may never come back.
  ::SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  ::SSL_CTX_set_num_tickets(context, 1);
  ::SSL_CTX_set_timeout(context, options.client_ca_file.empty()
                                     ? session_seconds
                                     : static_cast<long>(ticket_age_with_certificates.count()));
  constexpr std::string_view session_context = "skein";
  ::SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>(session_context.data()),
                                   session_context.size());
  ::SSL_CTX_set_alpn_select_cb(context, &choose_protocol, nullptr);
  ::SSL_CTX_set_default_passwd_cb(context, &no_passphrase);

  const auto& certificate = options.certificate_files[index];
  const auto& key = options.key_files[index];
  require_readable(certificate);
  ::ERR_clear_error();
  if (::SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
    fail(certificate, "is not a certificate");
  }
  require_readable(key);
  // Also says whether the two belong together.
  if (::SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      ::SSL_CTX_check_private_key(context) != 1) {
    fail(key, "is not the private key of " + certificate);
  }
  if (!options.client_ca_file.empty()) ask_for_certificates(context, options);
  return made;
}

tls_context::tls_context(const tls_options& options) {
  for (std::size_t i = 0; i < options.certificate_files.size(); ++i) {
    contexts_.push_back(load(options, i));
  }
  auto* const first = contexts_.front().get();
  ::SSL_CTX_set_tlsext_servername_callback(first, &on_server_name);
  ::SSL_CTX_set_tlsext_servername_arg(first, this);
}

tls_context::~tls_context() = default;

std::unique_ptr<tls_session> tls_context::make_session(wall_time now) const {
  ssl_handle made{::SSL_new(contexts_.front().get())};
  if (made) set_ticket_time(made.get(), now);
  return std::make_unique<tls_session>(std::move(made));
}

std::size_t tls_context::choose(const std::string& server_name) const noexcept {
  if (server_name.empty()) return 0;
  for (std::size_t i = 0; i < contexts_.size(); ++i) {
    auto* const certificate = ::SSL_CTX_get0_certificate(contexts_[i].get());
    if (::X509_check_host(certificate, server_name.c_str(), server_name.size(), 0, nullptr) == 1) return i;
  }
  return 0;
}

int tls_context::on_server_name(SSL* session, int*, void* self) noexcept {
  const char* const name = ::SSL_get_servername(session, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_NOACK;
  const auto& known = *static_cast<const tls_context*>(self);
  try {
    const auto chosen = known.choose(name);
    if (chosen != 0) ::SSL_set_SSL_CTX(session, known.contexts_[chosen].get());
  } catch (const std::bad_alloc&) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace skein::detail
