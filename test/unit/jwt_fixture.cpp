#include "unit/jwt_fixture.hpp"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <map>
#include <stdexcept>
#include <utility>

namespace jwt_test {
namespace {

const unsigned char* data_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

void need(bool good) {
  if (!good) throw std::runtime_error{"OpenSSL failed in a test"};
}

const char* digest_of(jwt_algorithm algorithm) {
  const auto name = skein::to_string(algorithm);
  if (name.ends_with("256")) return "SHA256";
  if (name.ends_with("384")) return "SHA384";
  return name.ends_with("512") ? "SHA512" : nullptr;
}

std::string take(BIO* from) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(from, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(from);
  return text;
}

std::string raw_of(const BIGNUM* number, int size) {
  std::string bytes(static_cast<std::size_t>(size), '\0');
  need(BN_bn2binpad(number, reinterpret_cast<unsigned char*>(bytes.data()), size) == size);
  return bytes;
}

std::string number_of(const EVP_PKEY* key, const char* name, int size = 0) {
  BIGNUM* number = nullptr;
  need(EVP_PKEY_get_bn_param(key, name, &number) == 1);
  auto bytes = raw_of(number, size == 0 ? BN_num_bytes(number) : size);
  BN_free(number);
  return base64url(bytes);
}

using key_pointer = std::shared_ptr<EVP_PKEY>;

key_pointer hold(EVP_PKEY* key) {
  need(key != nullptr);
  return {key, EVP_PKEY_free};
}

}  // namespace

struct private_key::state {
  std::string secret;
  key_pointer key;
};

bool has_secret(jwt_algorithm algorithm) {
  return skein::to_string(algorithm).starts_with("HS");
}

std::string base64url(std::string_view bytes) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  unsigned bits = 0, count = 0;
  for (const char c : bytes) {
    bits = (bits << 8U | static_cast<unsigned char>(c)) & 0xfffffU;
    for (count += 8; count >= 6; count -= 6) text.push_back(alphabet[bits >> (count - 6) & 63U]);
  }
  if (count > 0) text.push_back(alphabet[bits << (6 - count) & 63U]);
  return text;
}

private_key private_key::secret(std::string bytes) {
  private_key made;
  made.state_ = std::make_shared<const state>(state{std::move(bytes), nullptr});
  return made;
}

private_key private_key::rsa(unsigned bits, unsigned exponent) {
  auto* context = EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr);
  need(EVP_PKEY_keygen_init(context) == 1 &&
       EVP_PKEY_CTX_set_rsa_keygen_bits(context, static_cast<int>(bits)) == 1);
  BIGNUM* number = BN_new();
  need(BN_set_word(number, exponent) == 1 && EVP_PKEY_CTX_set1_rsa_keygen_pubexp(context, number) == 1);
  EVP_PKEY* key = nullptr;
  need(EVP_PKEY_generate(context, &key) == 1);
  BN_free(number);
  EVP_PKEY_CTX_free(context);
  private_key made;
  made.state_ = std::make_shared<const state>(state{{}, hold(key)});
  return made;
}

private_key private_key::ec(const char* group) {
  private_key made;
  made.state_ = std::make_shared<const state>(state{{}, hold(EVP_EC_gen(group))});
  return made;
}

private_key private_key::edwards(const char* type) {
  private_key made;
  made.state_ = std::make_shared<const state>(state{{}, hold(EVP_PKEY_Q_keygen(nullptr, nullptr, type))});
  return made;
}

std::string private_key::public_pem() const {
  auto* out = BIO_new(BIO_s_mem());
  need(PEM_write_bio_PUBKEY(out, state_->key.get()) == 1);
  return take(out);
}

std::string private_key::public_der() const {
  auto* out = BIO_new(BIO_s_mem());
  need(i2d_PUBKEY_bio(out, state_->key.get()) == 1);
  return take(out);
}

std::string private_key::private_pem() const {
  auto* out = BIO_new(BIO_s_mem());
  need(PEM_write_bio_PrivateKey(out, state_->key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return take(out);
}

std::string private_key::certificate_pem() const {
  auto* certificate = X509_new();
  need(X509_set_version(certificate, X509_VERSION_3) == 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -7200);
  X509_gmtime_adj(X509_getm_notAfter(certificate), -3600);
  need(X509_set_pubkey(certificate, state_->key.get()) == 1);
  const bool own_digest = EVP_PKEY_get_base_id(state_->key.get()) == EVP_PKEY_ED25519;
  need(X509_sign(certificate, state_->key.get(), own_digest ? nullptr : EVP_sha256()) > 0);
  auto* out = BIO_new(BIO_s_mem());
  need(PEM_write_bio_X509(out, certificate) == 1);
  X509_free(certificate);
  return take(out);
}

std::string private_key::jwk_members() const {
  if (!state_->key) return R"("kty":"oct","k":")" + base64url(state_->secret) + '"';
  const auto* key = state_->key.get();
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
      return R"("kty":"RSA","n":")" + number_of(key, OSSL_PKEY_PARAM_RSA_N) + R"(","e":")" +
             number_of(key, OSSL_PKEY_PARAM_RSA_E) + '"';
    case EVP_PKEY_EC: {
      const int size = (EVP_PKEY_get_bits(key) + 7) / 8;
      const std::string curve = size == 32 ? "P-256" : size == 48 ? "P-384" : "P-521";
      return R"("kty":"EC","crv":")" + curve + R"(","x":")" + number_of(key, OSSL_PKEY_PARAM_EC_PUB_X, size) +
             R"(","y":")" + number_of(key, OSSL_PKEY_PARAM_EC_PUB_Y, size) + '"';
    }
    default: {
      std::string bytes(64, '\0');
      auto size = bytes.size();
      need(EVP_PKEY_get_raw_public_key(key, reinterpret_cast<unsigned char*>(bytes.data()), &size) == 1);
      bytes.resize(size);
      return R"("kty":"OKP","crv":"Ed25519","x":")" + base64url(bytes) + '"';
    }
  }
}

std::string private_key::sign(jwt_algorithm algorithm, std::string_view text, int salt) const {
  const auto* digest = digest_of(algorithm);
  std::string out(2048, '\0');
  auto* const to = reinterpret_cast<unsigned char*>(out.data());
  auto size = out.size();
  if (has_secret(algorithm)) {
    unsigned length = 0;
    need(HMAC(EVP_get_digestbyname(digest), state_->secret.data(), static_cast<int>(state_->secret.size()),
              data_of(text), text.size(), to, &length) != nullptr);
    return out.substr(0, length);
  }
  auto* context = EVP_MD_CTX_new();
  EVP_PKEY_CTX* parameters = nullptr;
  need(EVP_DigestSignInit_ex(context, &parameters, digest, nullptr, nullptr, state_->key.get(), nullptr) ==
       1);
  if (algorithm == jwt_algorithm::ps256) {
    need(EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1);
    need(EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, salt < 0 ? RSA_PSS_SALTLEN_DIGEST : salt) == 1);
  }
  need(EVP_DigestSign(context, to, &size, data_of(text), text.size()) == 1);
  EVP_MD_CTX_free(context);
  out.resize(size);
  if (EVP_PKEY_get_base_id(state_->key.get()) != EVP_PKEY_EC) return out;
  const auto* der = data_of(out);
  auto* halves = d2i_ECDSA_SIG(nullptr, &der, static_cast<long>(out.size()));
  need(halves != nullptr);
  const int part = (EVP_PKEY_get_bits(state_->key.get()) + 7) / 8;
  auto raw = raw_of(ECDSA_SIG_get0_r(halves), part) + raw_of(ECDSA_SIG_get0_s(halves), part);
  ECDSA_SIG_free(halves);
  return raw;
}

std::string private_key::sign_der(std::string_view text) const {
  std::string out(256, '\0');
  auto size = out.size();
  auto* context = EVP_MD_CTX_new();
  need(EVP_DigestSignInit_ex(context, nullptr, "SHA256", nullptr, nullptr, state_->key.get(), nullptr) == 1);
  need(EVP_DigestSign(context, reinterpret_cast<unsigned char*>(out.data()), &size, data_of(text),
                      text.size()) == 1);
  EVP_MD_CTX_free(context);
  out.resize(size);
  return out;
}

const private_key& key_for(jwt_algorithm algorithm, unsigned which) {
  static std::map<std::pair<std::string, unsigned>, private_key> made;
  // RSA keys are slow to make, and the same ones serve for all their algorithms.
  auto name = std::string{skein::to_string(algorithm)};
  if (name.starts_with("RS") || name.starts_with("PS")) name = "RSA";
  const auto place = made.find({name, which});
  if (place != made.end()) return place->second;
  const auto make = [&] {
    if (name == "RSA") return private_key::rsa(2048);
    if (name == "ES256") return private_key::ec("P-256");
    if (name == "ES384") return private_key::ec("P-384");
    if (name == "EdDSA") return private_key::edwards("ED25519");
    return private_key::secret(std::string(64, which == 0 ? 's' : 't'));
  };
  return made.emplace(std::pair{name, which}, make()).first->second;
}

skein::jwt_key public_key_for(jwt_algorithm algorithm, std::string kid, unsigned which) {
  if (has_secret(algorithm))
    return skein::jwt_key::from_secret(algorithm, std::string(64, which == 0 ? 's' : 't'), std::move(kid));
  return skein::jwt_key::from_pem(algorithm, key_for(algorithm, which).public_pem(), std::move(kid));
}

std::string signed_token(jwt_algorithm algorithm, std::string_view header, std::string_view payload,
                         unsigned which) {
  const auto text = base64url(header) + "." + base64url(payload);
  return text + "." + base64url(key_for(algorithm, which).sign(algorithm, text));
}

std::string signed_token(jwt_algorithm algorithm, std::string_view payload) {
  return signed_token(algorithm, R"({"alg":")" + std::string{skein::to_string(algorithm)} + R"("})", payload);
}

unsigned drain_errors() {
  unsigned count = 0;
  while (ERR_get_error() != 0) ++count;
  return count;
}

void leave_an_error() {
  ERR_raise(ERR_LIB_USER, 1);
}

}  // namespace jwt_test
