#include "tls_client.hpp"

#include <csignal>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <cerrno>
#include <ctime>
#include <poll.h>
#include <stdexcept>

namespace skein::test {
namespace {

using bio_ptr = std::unique_ptr<BIO, decltype(&BIO_free)>;

bio_ptr reader_of(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free};
}

void require(bool holds) {
  if (!holds) throw std::runtime_error{"the client cannot be set up"};
}

void trust(SSL_CTX* context, const std::string& authority) {
  const auto source = reader_of(authority);
  auto* const certificate = PEM_read_bio_X509(source.get(), nullptr, nullptr, nullptr);
  require(certificate != nullptr);
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate);
  X509_free(certificate);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
}

void show(SSL_CTX* context, const certified& own) {
  const auto certificates = reader_of(own.certificate);
  auto* const certificate = PEM_read_bio_X509(certificates.get(), nullptr, nullptr, nullptr);
  require(certificate != nullptr && SSL_CTX_use_certificate(context, certificate) == 1);
  X509_free(certificate);
  while (auto* const link = PEM_read_bio_X509(certificates.get(), nullptr, nullptr, nullptr)) {
    SSL_CTX_add_extra_chain_cert(context, link);
  }
  ERR_clear_error();
  const auto keys = reader_of(own.key);
  auto* const key = PEM_read_bio_PrivateKey(keys.get(), nullptr, nullptr, nullptr);
  require(key != nullptr && SSL_CTX_use_PrivateKey(context, key) == 1);
  EVP_PKEY_free(key);
}

/// OpenSSL's sockets raise SIGPIPE, and the server under test must not need it ignored.
class no_sigpipe {
 public:
  no_sigpipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  no_sigpipe(const no_sigpipe&) = delete;
  no_sigpipe& operator=(const no_sigpipe&) = delete;
  ~no_sigpipe() {
    const auto kept = errno;
    const std::timespec now{};
    ::sigtimedwait(&pipe_, nullptr, &now);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = kept;
  }

 private:
  sigset_t pipe_{};
  sigset_t before_{};
};

int keep_ticket(SSL* ssl, SSL_SESSION* session) {
  static_cast<tls_ticket*>(SSL_get_app_data(ssl))->reset(session, &SSL_SESSION_free);
  return 1;
}

}  // namespace

tls_client::tls_client(std::uint16_t port, const tls_wishes& wishes)
    : raw_client(port, wishes.receive_buffer), context_(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free) {
  auto* const context = context_.get();
  require(context != nullptr);
  SSL_CTX_set_security_level(context, 0);  // what is too old is the server's to refuse
  SSL_CTX_set_min_proto_version(context, wishes.min_version);
  SSL_CTX_set_max_proto_version(context, wishes.max_version);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, &keep_ticket);
  if (!wishes.ciphers.empty()) require(SSL_CTX_set_cipher_list(context, wishes.ciphers.c_str()) == 1);
  if (!wishes.authority.empty()) trust(context, wishes.authority);
  if (!wishes.own.key.empty()) show(context, wishes.own);
  if (!wishes.protocols.empty()) {
    SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(wishes.protocols.data()),
                            static_cast<unsigned>(wishes.protocols.size()));
  }
  ssl_.reset(SSL_new(context), &SSL_free);
  auto* const ssl = ssl_.get();
  require(ssl != nullptr);
  SSL_set_app_data(ssl, &ticket_);
  if (!wishes.server_name.empty()) {
    SSL_set_tlsext_host_name(ssl, wishes.server_name.c_str());
    if (!wishes.authority.empty()) SSL_set1_host(ssl, wishes.server_name.c_str());
  }
  if (wishes.ticket) SSL_set_session(ssl, wishes.ticket.get());
  ::fcntl(descriptor(), F_SETFL, O_NONBLOCK);
  SSL_set_fd(ssl, descriptor());
  SSL_set_connect_state(ssl);
  const no_sigpipe quiet;
  while (!established_ && failure_ == 0) {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl);
    established_ = result == 1;
    if (!established_ && !step(result)) break;
  }
}

tls_client::~tls_client() {
  ERR_clear_error();
}

/// Waits for what OpenSSL wants; false, with `failure_`, if that would not help.
bool tls_client::step(int result) {
  const int why = SSL_get_error(ssl_.get(), result);
  if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
    const auto code = ERR_peek_last_error();
    failure_ = code == 0 ? -1 : ERR_GET_REASON(code);
    return false;
  }
  pollfd entry{descriptor(), static_cast<short>(why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT), 0};
  if (::poll(&entry, 1, static_cast<int>(std::chrono::milliseconds{patience}.count())) == 0)
    throw timed_out{"the server does not shake hands"};
  return true;
}

/// As a system call would report it.
long tls_client::moved(int result, std::size_t n) {
  if (result == 1) return static_cast<long>(n);
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      errno = EAGAIN;
      return -1;
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    default:
      if (const auto code = ERR_peek_last_error(); code != 0) failure_ = ERR_GET_REASON(code);
      errno = ECONNRESET;
      return -1;
  }
}

long tls_client::put(std::string_view bytes) {
  const no_sigpipe quiet;
  std::size_t n = 0;
  ERR_clear_error();
  const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &n);
  return moved(result, n);
}

long tls_client::get(char* into, std::size_t size) {
  const no_sigpipe quiet;
  std::size_t n = 0;
  ERR_clear_error();
  const int result = SSL_read_ex(ssl_.get(), into, size, &n);
  return moved(result, n);
}

int tls_client::version() const {
  return SSL_version(ssl_.get());
}

std::string tls_client::cipher() const {
  return SSL_get_cipher_name(ssl_.get());
}

std::string tls_client::protocol() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string tls_client::server_common_name() const {
  const auto* const certificate = SSL_get0_peer_certificate(ssl_.get());
  if (certificate == nullptr) return {};
  char name[256]{};
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
  return name;
}

std::size_t tls_client::server_chain_length() const {
  return static_cast<std::size_t>(sk_X509_num(SSL_get_peer_cert_chain(ssl_.get())));
}

bool tls_client::resumed() const {
  return SSL_session_reused(ssl_.get()) == 1;
}

tls_ticket tls_client::ticket() const {
  return ticket_;
}

bool tls_client::renegotiates() {
  const no_sigpipe quiet;
  ERR_clear_error();
  if (SSL_renegotiate(ssl_.get()) != 1) return false;
  for (;;) {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    if (result == 1 && SSL_renegotiate_pending(ssl_.get()) == 0) return true;
    if (result == 1) {  // the request has gone; the answer comes with reading
      char ignored = 0;
      const auto n = get(&ignored, 1);
      if (n >= 0 || errno != EAGAIN) return false;
      pollfd entry{descriptor(), POLLIN, 0};
      if (::poll(&entry, 1, static_cast<int>(std::chrono::milliseconds{patience}.count())) == 0)
        throw timed_out{"the server does not answer a renegotiation"};
    } else if (!step(result)) {
      return false;
    }
  }
}

bool tls_client::update_keys() {
  const no_sigpipe quiet;
  ERR_clear_error();
  if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_REQUESTED) != 1) return false;
  for (;;) {
    const int result = SSL_do_handshake(ssl_.get());
    if (result == 1) return true;
    if (!step(result)) return false;
  }
}

void tls_client::finish_sending() {
  const no_sigpipe quiet;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
}

void tls_client::truncate() {
  ::shutdown(descriptor(), SHUT_WR);
}

}  // namespace skein::test
