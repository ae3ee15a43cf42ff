#pragma once

// Keys and signatures on OpenSSL's EVP. The only place of the token code, with jwt_jwks.cpp, that sees
// OpenSSL.

#include <skein/jwt.hpp>

#include <openssl/err.h>
#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace skein::detail {

struct openssl_free {
  void operator()(EVP_PKEY* p) const noexcept { EVP_PKEY_free(p); }
  void operator()(EVP_PKEY_CTX* p) const noexcept { EVP_PKEY_CTX_free(p); }
  void operator()(EVP_MD_CTX* p) const noexcept { EVP_MD_CTX_free(p); }
  void operator()(EVP_MAC_CTX* p) const noexcept { EVP_MAC_CTX_free(p); }
};
template <class T>
using openssl_ptr = std::unique_ptr<T, openssl_free>;

/// Leaves the thread's error queue as it was found.
class quiet_errors {
 public:
  quiet_errors() noexcept { ERR_set_mark(); }
  quiet_errors(const quiet_errors&) = delete;
  quiet_errors& operator=(const quiet_errors&) = delete;
  ~quiet_errors() { ERR_pop_to_mark(); }
};

enum class key_family : std::uint8_t { secret, rsa, ec, ed25519 };

struct algorithm_traits {
  std::string_view name;
  key_family family;
  const char* digest;     ///< of OpenSSL; null: the algorithm has its own
  std::size_t hash_size;  ///< bytes
  const char* group;      ///< of OpenSSL; null: no curve to choose
  std::size_t part_size;  ///< bytes of a coordinate, and of each half of an ECDSA signature
};

[[nodiscard]] const algorithm_traits& traits_of(jwt_algorithm algorithm) noexcept;

/// A key of this algorithm, after the checks that go with it; throws `jwt_key_error`.
[[nodiscard]] jwt_key make_public_key(jwt_algorithm algorithm, openssl_ptr<EVP_PKEY> key, std::string kid);

enum class signature_check : std::uint8_t { right, wrong, failed };

[[nodiscard]] signature_check check_signature(const jwt_key& key, std::string_view signed_text,
                                              std::string_view signature) noexcept;

}  // namespace skein::detail

/// What a key starts each verification from. It is set up once, since that is half the work of an HMAC.
struct skein::jwt_key::impl {
  jwt_algorithm algorithm;
  std::string kid;
  detail::openssl_ptr<EVP_MAC_CTX> mac;    ///< of a secret
  detail::openssl_ptr<EVP_MD_CTX> digest;  ///< of a public key
};
