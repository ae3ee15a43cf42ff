#include "tls_files.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <stdexcept>

namespace skein::test {
namespace {

void require(bool holds) {
  if (!holds) throw std::runtime_error{"OpenSSL makes no certificate"};
}

struct key_deleter {
  void operator()(EVP_PKEY* what) const noexcept { EVP_PKEY_free(what); }
};
struct certificate_deleter {
  void operator()(X509* what) const noexcept { X509_free(what); }
};
using key_ptr = std::unique_ptr<EVP_PKEY, key_deleter>;
using certificate_ptr = std::unique_ptr<X509, certificate_deleter>;

key_ptr make_key(bool rsa) {
  key_ptr key{rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256")};
  require(key != nullptr);
  return key;
}

template <class Write>
std::string pem(Write write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> out{BIO_new(BIO_s_mem()), &BIO_free};
  require(out != nullptr && write(out.get()) == 1);
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(out.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

std::string pem_of(X509* certificate) {
  return pem([&](BIO* out) { return PEM_write_bio_X509(out, certificate); });
}

void add_extension(X509* to, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
  auto* const made = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  require(made != nullptr);
  X509_add_ext(to, made, -1);
  X509_EXTENSION_free(made);
}

certificate_ptr make_certificate(EVP_PKEY* key, std::string_view common_name, X509* issuer, bool expired) {
  constexpr long hour = 3600;
  constexpr long ten_years = 10 * 8766 * hour;  // the clocks of some tests begin in 2030
  certificate_ptr made{X509_new()};
  require(made != nullptr);
  auto* const what = made.get();
  X509_set_version(what, X509_VERSION_3);
  std::uint32_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(what), serial);
  X509_gmtime_adj(X509_getm_notBefore(what), -2 * hour);
  X509_gmtime_adj(X509_getm_notAfter(what), expired ? -hour : ten_years);
  X509_set_pubkey(what, key);
  auto* const subject = X509_get_subject_name(what);
  if (!common_name.empty()) {
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(common_name.data()),
                               static_cast<int>(common_name.size()), -1, 0);
  }
  X509_set_issuer_name(what, issuer == nullptr ? subject : X509_get_subject_name(issuer));
  return made;
}

}  // namespace

temporary_folder::temporary_folder() {
  static std::atomic<unsigned> next{0};
  path_ = std::filesystem::temp_directory_path() /
          ("skein-test-" + std::to_string(::getpid()) + '-' + std::to_string(next++));
  std::filesystem::create_directory(path_);
}

temporary_folder::~temporary_folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string temporary_folder::write(std::string_view name, std::string_view content) const {
  auto where = path(name);
  std::ofstream{where, std::ios::binary} << content;
  return where;
}

struct authority::parts {
  key_ptr key;
  certificate_ptr certificate;
  std::string chain;  // of what it issues, but for the root
};

authority::authority(std::string_view name) : parts_(std::make_unique<parts>()) {
  parts_->key = make_key(false);
  parts_->certificate = make_certificate(parts_->key.get(), name, nullptr, false);
  auto* const own = parts_->certificate.get();
  add_extension(own, own, NID_basic_constraints, "critical,CA:TRUE");
  require(X509_sign(own, parts_->key.get(), EVP_sha256()) > 0);
}

authority::authority(std::unique_ptr<parts> made) : parts_(std::move(made)) {}
authority::authority(authority&&) noexcept = default;
authority::~authority() = default;

std::string authority::certificate() const {
  return pem_of(parts_->certificate.get());
}

authority authority::vouch_for(std::string_view name) const {
  auto made = std::make_unique<parts>();
  auto* const issuer = parts_->certificate.get();
  made->key = make_key(false);
  made->certificate = make_certificate(made->key.get(), name, issuer, false);
  add_extension(made->certificate.get(), issuer, NID_basic_constraints, "critical,CA:TRUE");
  require(X509_sign(made->certificate.get(), parts_->key.get(), EVP_sha256()) > 0);
  made->chain = pem_of(made->certificate.get()) + parts_->chain;
  return authority{std::move(made)};
}

certified authority::issue(const certificate_wish& wish) const {
  const auto key = make_key(wish.rsa);
  auto* const issuer = parts_->certificate.get();
  const auto made = make_certificate(key.get(), wish.common_name, issuer, wish.expired);
  if (wish.not_after)
    ASN1_TIME_set(X509_getm_notAfter(made.get()), wish.not_after->time_since_epoch().count());
  if (!wish.alternative_names.empty()) {
    std::string names;
    for (const auto& name : wish.alternative_names) names += (names.empty() ? "" : ",") + name;
    add_extension(made.get(), issuer, NID_subject_alt_name, names);
  }
  add_extension(made.get(), issuer, NID_ext_key_usage, wish.for_client ? "clientAuth" : "serverAuth");
  require(X509_sign(made.get(), parts_->key.get(), EVP_sha256()) > 0);
  certified result;
  result.certificate = pem_of(made.get()) + parts_->chain;
  result.key = pem([&](BIO* out) {
    return PEM_write_bio_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
  return result;
}

}  // namespace skein::test
