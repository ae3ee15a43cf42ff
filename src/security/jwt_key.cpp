#include "security/jwt_key.hpp"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <array>
#include <new>
#include <utility>

namespace skein {
namespace detail {
namespace {

constexpr std::array<algorithm_traits, 10> all_traits{{
    {"HS256", key_family::secret, "SHA256", 32, nullptr, 0},
    {"HS384", key_family::secret, "SHA384", 48, nullptr, 0},
    {"HS512", key_family::secret, "SHA512", 64, nullptr, 0},
    {"RS256", key_family::rsa, "SHA256", 32, nullptr, 0},
    {"RS384", key_family::rsa, "SHA384", 48, nullptr, 0},
    {"RS512", key_family::rsa, "SHA512", 64, nullptr, 0},
    {"PS256", key_family::rsa, "SHA256", 32, nullptr, 0},
    {"ES256", key_family::ec, "SHA256", 32, "prime256v1", 32},
    {"ES384", key_family::ec, "SHA384", 48, "secp384r1", 48},
    {"EdDSA", key_family::ed25519, nullptr, 0, nullptr, 0},
}};

[[noreturn]] void refuse(jwt_key_fault why) {
  throw jwt_key_error{why};
}

struct other_free {
  void operator()(BIO* p) const noexcept { BIO_free(p); }
  void operator()(BIGNUM* p) const noexcept { BN_free(p); }
  void operator()(X509* p) const noexcept { X509_free(p); }
  void operator()(EVP_MAC* p) const noexcept { EVP_MAC_free(p); }
};
template <class T>
using other_ptr = std::unique_ptr<T, other_free>;

/// `made`, which is null only for want of memory or of an algorithm.
template <class Pointer>
Pointer there(Pointer made) {
  if (!made) throw std::bad_alloc{};
  return made;
}

void check_rsa(const EVP_PKEY* key) {
  const auto bits = EVP_PKEY_get_bits(key);
  if (bits < 2048 || bits > 8192) refuse(jwt_key_fault::rsa_size);
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &number) != 1) refuse(jwt_key_fault::invalid_key);
  const other_ptr<BIGNUM> exponent{number};
  if (BN_is_odd(number) == 0 || BN_is_one(number) != 0 || BN_num_bits(number) > 64)
    refuse(jwt_key_fault::rsa_exponent);
}

void check_curve(const EVP_PKEY* key, std::string_view group) {
  std::array<char, 64> name{};
  std::size_t size = 0;
  if (EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, name.data(), name.size(), &size) != 1 ||
      std::string_view(name.data(), size) != group)
    refuse(jwt_key_fault::curve);
}

void check_key(const algorithm_traits& traits, EVP_PKEY* key) {
  const auto type = EVP_PKEY_get_base_id(key);
  switch (traits.family) {
    case key_family::secret:
      refuse(jwt_key_fault::key_type);
    case key_family::rsa:
      if (type != EVP_PKEY_RSA) refuse(jwt_key_fault::key_type);
      check_rsa(key);
      break;
    case key_family::ec:
      if (type != EVP_PKEY_EC) refuse(jwt_key_fault::key_type);
      check_curve(key, traits.group);
      break;
    case key_family::ed25519:
      if (type == EVP_PKEY_ED448) refuse(jwt_key_fault::curve);
      if (type != EVP_PKEY_ED25519) refuse(jwt_key_fault::key_type);
      break;
  }
  const auto context = there(openssl_ptr<EVP_PKEY_CTX>{EVP_PKEY_CTX_new(key, nullptr)});
  if (EVP_PKEY_public_check(context.get()) != 1) refuse(jwt_key_fault::invalid_key);
}

/// A public key in DER, which somebody might take for a secret.
bool is_public_der(std::string_view bytes) noexcept {
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  return openssl_ptr<EVP_PKEY>{d2i_PUBKEY(nullptr, &at, static_cast<long>(bytes.size()))} != nullptr;
}

signature_check check_mac(const EVP_MAC_CTX* prepared, std::string_view text, std::string_view signature) {
  const openssl_ptr<EVP_MAC_CTX> context{EVP_MAC_CTX_dup(prepared)};
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
  std::size_t size = 0;
  if (!context ||
      EVP_MAC_update(context.get(), reinterpret_cast<const unsigned char*>(text.data()), text.size()) != 1 ||
      EVP_MAC_final(context.get(), mac.data(), &size, mac.size()) != 1)
    return signature_check::failed;
  if (signature.size() != size) return signature_check::wrong;
  return CRYPTO_memcmp(mac.data(), signature.data(), size) == 0 ? signature_check::right
                                                                : signature_check::wrong;
}

/// DER of the two halves of an ECDSA signature, as OpenSSL wants it (RFC 3279 section 2.2.3). At most 104
/// bytes.
class der_signature {
 public:
  /// Both halves of the same size, of at most 48 bytes.
  explicit der_signature(std::string_view halves) noexcept {
    bytes_[0] = 0x30;
    add(halves.substr(0, halves.size() / 2));
    add(halves.substr(halves.size() / 2));
    bytes_[1] = static_cast<unsigned char>(size_ - 2);
  }
  [[nodiscard]] const unsigned char* data() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  void add(std::string_view number) noexcept {
    while (number.size() > 1 && number.front() == '\0') number.remove_prefix(1);
    const bool high = (static_cast<unsigned char>(number.front()) & 0x80U) != 0;
    bytes_[size_++] = 0x02;
    bytes_[size_++] = static_cast<unsigned char>(number.size() + (high ? 1 : 0));
    if (high) bytes_[size_++] = 0;
    for (const char c : number) bytes_[size_++] = static_cast<unsigned char>(c);
  }

  std::array<unsigned char, 104> bytes_{};
  std::size_t size_ = 2;
};

signature_check check_public(const EVP_MD_CTX* prepared, const algorithm_traits& traits,
                             std::string_view text, std::string_view signature) {
  const openssl_ptr<EVP_MD_CTX> context{EVP_MD_CTX_new()};
  if (!context || EVP_MD_CTX_copy_ex(context.get(), prepared) != 1) return signature_check::failed;
  const auto verify = [&](const unsigned char* data, std::size_t size) {
    return EVP_DigestVerify(context.get(), data, size, reinterpret_cast<const unsigned char*>(text.data()),
                            text.size()) == 1
               ? signature_check::right
               : signature_check::wrong;
  };
  if (traits.family != key_family::ec) {
    // RFC 8017 section 8.1.2: exactly as long as the modulus. OpenSSL takes a leading zero for granted.
    const auto size = EVP_PKEY_get_size(EVP_PKEY_CTX_get0_pkey(EVP_MD_CTX_get_pkey_ctx(context.get())));
    if (size <= 0 || signature.size() != static_cast<std::size_t>(size)) return signature_check::wrong;
    return verify(reinterpret_cast<const unsigned char*>(signature.data()), signature.size());
  }
  if (signature.size() != 2 * traits.part_size) return signature_check::wrong;
  const der_signature der{signature};
  return verify(der.data(), der.size());
}

int no_passphrase(char*, int, int, void*) noexcept {
  return 0;
}

}  // namespace

const algorithm_traits& traits_of(jwt_algorithm algorithm) noexcept {
  return all_traits[static_cast<std::size_t>(algorithm) - 1];
}

jwt_key make_public_key(jwt_algorithm algorithm, openssl_ptr<EVP_PKEY> key, std::string kid) {
  const auto& traits = traits_of(algorithm);
  check_key(traits, key.get());
  auto digest = there(openssl_ptr<EVP_MD_CTX>{EVP_MD_CTX_new()});
  EVP_PKEY_CTX* context = nullptr;  // belongs to `digest`
  if (EVP_DigestVerifyInit_ex(digest.get(), &context, traits.digest, nullptr, nullptr, key.get(), nullptr) !=
      1)
    refuse(jwt_key_fault::invalid_key);
  if (algorithm == jwt_algorithm::ps256 &&
      (EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) != 1 ||
       EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) != 1))
    refuse(jwt_key_fault::invalid_key);
  return jwt_key{
      std::make_shared<const jwt_key::impl>(algorithm, std::move(kid), nullptr, std::move(digest))};
}

signature_check check_signature(const jwt_key& key, std::string_view signed_text,
                                std::string_view signature) noexcept {
  const quiet_errors quiet;
  const auto& state = key.state();
  if (state.mac) return check_mac(state.mac.get(), signed_text, signature);
  return check_public(state.digest.get(), traits_of(state.algorithm), signed_text, signature);
}

}  // namespace detail

jwt_key jwt_key::from_secret(jwt_algorithm algorithm, std::string_view secret, std::string kid) {
  const detail::quiet_errors quiet;
  const auto& traits = detail::traits_of(algorithm);
  if (traits.family != detail::key_family::secret) detail::refuse(jwt_key_fault::key_type);
  if (secret.find("-----BEGIN ") != std::string_view::npos || detail::is_public_der(secret))
    detail::refuse(jwt_key_fault::secret_is_public);
  if (secret.size() < traits.hash_size) detail::refuse(jwt_key_fault::secret_too_short);
  const auto hmac =
      detail::there(detail::other_ptr<EVP_MAC>{EVP_MAC_fetch(nullptr, OSSL_MAC_NAME_HMAC, nullptr)});
  auto mac = detail::there(detail::openssl_ptr<EVP_MAC_CTX>{EVP_MAC_CTX_new(hmac.get())});
  const std::array parameters{
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>(traits.digest), 0),
      OSSL_PARAM_construct_end()};
  if (EVP_MAC_init(mac.get(), reinterpret_cast<const unsigned char*>(secret.data()), secret.size(),
                   parameters.data()) != 1)
    throw std::bad_alloc{};
  return jwt_key{std::make_shared<const impl>(algorithm, std::move(kid), std::move(mac), nullptr)};
}

jwt_key jwt_key::from_pem(jwt_algorithm algorithm, std::string_view pem, std::string kid) {
  const detail::quiet_errors quiet;
  if (pem.find("PRIVATE KEY-----") != std::string_view::npos) detail::refuse(jwt_key_fault::private_key);
  const auto begin = pem.find("-----BEGIN ");
  if (begin == std::string_view::npos || pem.find("-----BEGIN ", begin + 1) != std::string_view::npos ||
      pem.size() > 64 * 1024)
    detail::refuse(jwt_key_fault::not_pem);
  const auto block = pem.substr(begin);
  const auto input =
      detail::there(detail::other_ptr<BIO>{BIO_new_mem_buf(block.data(), static_cast<int>(block.size()))});
  detail::openssl_ptr<EVP_PKEY> key;
  if (block.starts_with("-----BEGIN CERTIFICATE-----")) {
    const detail::other_ptr<X509> certificate{
        PEM_read_bio_X509(input.get(), nullptr, detail::no_passphrase, nullptr)};
    if (certificate) key.reset(X509_get_pubkey(certificate.get()));
  } else if (block.starts_with("-----BEGIN PUBLIC KEY-----")) {
    key.reset(PEM_read_bio_PUBKEY(input.get(), nullptr, detail::no_passphrase, nullptr));
  }
  if (!key) detail::refuse(jwt_key_fault::not_pem);
  return detail::make_public_key(algorithm, std::move(key), std::move(kid));
}

jwt_algorithm jwt_key::algorithm() const noexcept {
  return impl_->algorithm;
}

const std::string& jwt_key::kid() const noexcept {
  return impl_->kid;
}

jwt_key jwt_key::for_issuer(std::string issuer) const {
  auto bound = *this;
  bound.issuer_ = std::move(issuer);
  return bound;
}

jwt_key_error::jwt_key_error(jwt_key_fault why)
    : std::invalid_argument{std::string{to_string(why)}}, fault_{why} {}

std::string_view to_string(jwt_algorithm algorithm) noexcept {
  return detail::traits_of(algorithm).name;
}

std::optional<jwt_algorithm> parse_jwt_algorithm(std::string_view name) noexcept {
  for (std::size_t i = 0; i < detail::all_traits.size(); ++i) {
    if (detail::all_traits[i].name == name) return static_cast<jwt_algorithm>(i + 1);
  }
  return std::nullopt;
}

}  // namespace skein
