#include "key_server.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <thread>

namespace skein::test {
namespace {

namespace asio = boost::asio;
namespace ssl = asio::ssl;
using asio::ip::tcp;
constexpr auto token = asio::as_tuple(asio::use_awaitable);

std::string text_of(BIO* from) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(from, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(from);
  return text;
}

struct self_signed {
  self_signed() {
    EVP_PKEY* const pair = EVP_EC_gen("P-256");
    X509* const made = X509_new();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
    X509_gmtime_adj(X509_getm_notBefore(made), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made), 3600);
    auto* const name = X509_get_subject_name(made);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("keys"), -1,
                               -1, 0);
    X509_set_issuer_name(made, name);
    X509_set_pubkey(made, pair);
    for (const auto& [kind, value] : {std::pair{NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1"},
                                      std::pair{NID_basic_constraints, "critical,CA:TRUE"}}) {
      auto* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
      X509_add_ext(made, extension, -1);
      X509_EXTENSION_free(extension);
    }
    X509_sign(made, pair, EVP_sha256());
    auto* const out = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(out, made);
    certificate = text_of(out);
    auto* const secret = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(secret, pair, nullptr, nullptr, 0, nullptr, nullptr);
    key = text_of(secret);
    X509_free(made);
    EVP_PKEY_free(pair);
  }
  std::string certificate;
  std::string key;
};

}  // namespace

struct key_server::impl {
  explicit impl(transport how) : over(how), acceptor(context, {asio::ip::address_v4::loopback(), 0}) {
    if (over == transport::clear) return;
    const self_signed made;
    tls.use_certificate_chain(asio::buffer(made.certificate));
    tls.use_private_key(asio::buffer(made.key), ssl::context::pem);
    static std::atomic<int> count{0};
    file = std::filesystem::temp_directory_path() /
           ("skein-key-server-" + std::to_string(::getpid()) + "-" + std::to_string(++count) + ".pem");
    if (auto* const out = std::fopen(file.c_str(), "w")) {
      std::fputs(made.certificate.c_str(), out);
      std::fclose(out);
    }
  }
  ~impl() {
    if (!file.empty()) std::filesystem::remove(file);
  }

  template <class Stream>
  static asio::awaitable<void> talk(impl* self, Stream& stream) {
    std::string request;
    std::array<char, 4096> buffer{};
    while (request.find("\r\n\r\n") == std::string::npos) {
      const auto [ec, n] = co_await stream.async_read_some(asio::buffer(buffer), token);
      if (ec) co_return;
      request.append(buffer.data(), n);
    }
    ++self->asked;
    std::string answer;
    {
      const std::lock_guard lock{self->mutex};
      answer = self->answer;
    }
    if (answer == silence) {
      co_await stream.async_read_some(asio::buffer(buffer), token);
      co_return;
    }
    co_await asio::async_write(stream, asio::buffer(answer), token);
  }

  static asio::awaitable<void> serve(impl* self, tcp::socket socket) {
    if (self->over == transport::clear) {
      co_await talk(self, socket);
      co_return;
    }
    ssl::stream<tcp::socket&> stream{socket, self->tls};
    const auto [ec] = co_await stream.async_handshake(ssl::stream_base::server, token);
    if (!ec) co_await talk(self, stream);
  }

  static asio::awaitable<void> accept(impl* self) {
    for (;;) {
      auto [ec, socket] = co_await self->acceptor.async_accept(token);
      if (ec) co_return;
      asio::co_spawn(self->context, serve(self, std::move(socket)), asio::detached);
    }
  }

  transport over;
  asio::io_context context{1};
  tcp::acceptor acceptor;
  ssl::context tls{ssl::context::tls_server};
  std::string file;
  std::atomic<int> asked{0};
  std::mutex mutex;  // of `answer`
  std::string answer;
  std::thread thread;
};

key_server::key_server(transport over) : impl_(std::make_unique<impl>(over)) {
  asio::co_spawn(impl_->context, impl::accept(impl_.get()), asio::detached);
  impl_->thread = std::thread{[self = impl_.get()] { self->context.run(); }};
}

key_server::~key_server() {
  impl_->context.stop();
  impl_->thread.join();
}

void key_server::answer_with(std::string bytes) {
  const std::lock_guard lock{impl_->mutex};
  impl_->answer = std::move(bytes);
}

void key_server::serve(const std::string& document) {
  answer_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
              std::to_string(document.size()) + "\r\nConnection: close\r\n\r\n" + document);
}

std::uint16_t key_server::port() const {
  return impl_->acceptor.local_endpoint().port();
}

std::string key_server::url(const std::string& host) const {
  return (impl_->over == transport::tls ? "https://" : "http://") + host + ':' + std::to_string(port()) +
         "/jwks";
}

int key_server::asked() const {
  return impl_->asked;
}

std::string key_server::certificate_file() const {
  return impl_->file;
}

}  // namespace skein::test
