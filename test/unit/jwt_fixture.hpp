#pragma once

// Keys that a test makes itself, and the tokens it signs with them.

#include <skein/jwt.hpp>

#include <array>
#include <memory>
#include <string>
#include <string_view>

namespace jwt_test {

using skein::jwt_algorithm;

inline constexpr std::array all_algorithms{jwt_algorithm::hs256, jwt_algorithm::hs384, jwt_algorithm::hs512,
                                           jwt_algorithm::rs256, jwt_algorithm::rs384, jwt_algorithm::rs512,
                                           jwt_algorithm::ps256, jwt_algorithm::es256, jwt_algorithm::es384,
                                           jwt_algorithm::eddsa};

[[nodiscard]] bool has_secret(jwt_algorithm algorithm);

[[nodiscard]] std::string base64url(std::string_view bytes);

/// A private key, or a secret.
class private_key {
 public:
  [[nodiscard]] static private_key secret(std::string bytes);
  [[nodiscard]] static private_key rsa(unsigned bits, unsigned exponent = 65'537);
  /// The curve as OpenSSL names it.
  [[nodiscard]] static private_key ec(const char* group);
  /// ED25519, ED448 or X25519.
  [[nodiscard]] static private_key edwards(const char* type);

  [[nodiscard]] std::string public_pem() const;
  [[nodiscard]] std::string public_der() const;
  [[nodiscard]] std::string private_pem() const;
  /// A certificate of it, signed by itself, that has expired.
  [[nodiscard]] std::string certificate_pem() const;
  /// The public members of its JWK, without braces, `kty` among them.
  [[nodiscard]] std::string jwk_members() const;
  /// What stands after the last dot, before base64url. `salt` is that of PS256, in bytes; -1: as it has to
  /// be.
  [[nodiscard]] std::string sign(jwt_algorithm algorithm, std::string_view text, int salt = -1) const;
  /// An ECDSA signature as OpenSSL writes it.
  [[nodiscard]] std::string sign_der(std::string_view text) const;

 private:
  struct state;
  std::shared_ptr<const state> state_;
};

/// Keys made once for all tests; `which` is 0 or 1.
[[nodiscard]] const private_key& key_for(jwt_algorithm algorithm, unsigned which = 0);
[[nodiscard]] skein::jwt_key public_key_for(jwt_algorithm algorithm, std::string kid = {},
                                            unsigned which = 0);

/// A token with this header and this payload, as they stand.
[[nodiscard]] std::string signed_token(jwt_algorithm algorithm, std::string_view header,
                                       std::string_view payload, unsigned which = 0);
/// With nothing but `alg` in the header.
[[nodiscard]] std::string signed_token(jwt_algorithm algorithm, std::string_view payload);

/// How many entries OpenSSL's error queue of this thread has; takes them.
[[nodiscard]] unsigned drain_errors();
void leave_an_error();

}  // namespace jwt_test
