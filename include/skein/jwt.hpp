#pragma once

// Verifying JSON Web Tokens (RFC 7519, signed as RFC 7515 in its compact form, by the advice of RFC 8725).
// What an `authenticator` needs to turn a token into an `identity`; it does not fetch keys and does not read
// requests.

#include <boost/json/object.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace skein {

/// The algorithms of RFC 7518 section 3.1 and RFC 8037 that are accepted. `none` is none of them.
enum class jwt_algorithm : std::uint8_t {
  hs256 = 1,  ///< HMAC with SHA-256
  hs384,      ///< HMAC with SHA-384
  hs512,      ///< HMAC with SHA-512
  rs256,      ///< RSASSA-PKCS1-v1_5 with SHA-256
  rs384,      ///< RSASSA-PKCS1-v1_5 with SHA-384
  rs512,      ///< RSASSA-PKCS1-v1_5 with SHA-512
  ps256,      ///< RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes
  es256,      ///< ECDSA on P-256 with SHA-256
  es384,      ///< ECDSA on P-384 with SHA-384
  eddsa,      ///< Ed25519
};

/// The name in a token's `alg`, as `RS256`.
[[nodiscard]] std::string_view to_string(jwt_algorithm algorithm) noexcept;
/// The algorithm of this name; names are case-sensitive.
[[nodiscard]] std::optional<jwt_algorithm> parse_jwt_algorithm(std::string_view name) noexcept;

/// Why a token was refused. For logs and metrics: a client should learn only that it was.
enum class jwt_refusal : std::uint8_t {
  token_too_long = 1,    ///< longer than `max_token_bytes`
  not_three_parts,       ///< not a header, a payload and a signature with a dot between them
  base64_character,      ///< a character outside the alphabet of base64url, white space for one
  base64_padding,        ///< base64url with `=`
  base64_length,         ///< base64url of a length that no bytes encode to
  base64_trailing_bits,  ///< base64url whose last character has bits that belong to no byte
  header_not_json,       ///< the header is not a JSON object
  payload_not_json,      ///< the payload is not a JSON object
  json_too_deep,         ///< nested deeper than `max_json_depth`
  json_too_large,        ///< more members and elements than `max_json_elements`
  duplicate_member,      ///< an object, at any depth, names a member twice
  header_type,           ///< `typ`, `cty`, `kid` or `b64` has a type it may not have
  algorithm_missing,     ///< no `alg`, or not a string
  algorithm_none,        ///< `alg` is `none`, in any spelling
  algorithm_unknown,     ///< `alg` names no algorithm that is accepted here
  algorithm_mismatch,    ///< `alg` is not the one algorithm of the key
  embedded_key,          ///< the header brings or points to its own key: `jwk`, `jku`, `x5u`, `x5c`
  critical_header,       ///< `crit`: extensions that have to be understood, and none is
  unencoded_payload,     ///< `b64` is false (RFC 7797)
  token_type_wrong,      ///< `typ` is not the type that is asked for
  key_unknown,           ///< no key has the token's `kid`
  key_ambiguous,         ///< more than four keys could be the token's
  signature_wrong,       ///< the signature is not that of the key
  expiry_missing,        ///< no `exp`
  expiry_type,           ///< `exp` is not a number of seconds from 1970 to 9999
  expired,               ///< `exp` has come
  lifetime_too_long,     ///< `exp` is further away than `max_lifetime`
  not_before_missing,    ///< no `nbf`, though `require_not_before`
  not_before_type,       ///< `nbf` is not a number of seconds from 1970 to 9999
  not_yet_valid,         ///< `nbf` has not come
  issued_at_type,        ///< `iat` is not a number of seconds from 1970 to 9999
  issued_in_future,      ///< `iat` has not come
  issuer_missing,        ///< no `iss`, though issuers are configured
  issuer_type,           ///< `iss` is not a string
  issuer_wrong,          ///< `iss` is none of the issuers, or not the one that the key is for
  audience_missing,      ///< no `aud`, though audiences are configured
  audience_type,         ///< `aud` is neither a string nor an array of strings
  audience_wrong,        ///< `aud` names none of the audiences
  subject_missing,       ///< no `sub`, or an empty one, though `require_subject`
  subject_type,          ///< `sub` is not a string
  id_missing,            ///< no `jti`, or an empty one, though tokens are for one use
  id_type,               ///< `jti` is not a string
  already_used,          ///< this `jti` was accepted before
  one_time_full,         ///< as many one-time tokens are remembered as may be
  internal_error,        ///< the cryptographic library failed, for want of memory perhaps
};

/// A sentence for people; it says nothing of the token and nothing of the key.
[[nodiscard]] std::string_view to_string(jwt_refusal why) noexcept;

/// Why a key was not taken.
enum class jwt_key_fault : std::uint8_t {
  secret_too_short = 1,  ///< a secret shorter than its hash: 32, 48 or 64 bytes (RFC 7518 section 3.2)
  secret_is_public,      ///< a secret that is a key or a certificate in PEM, or a public key in DER
  key_type,              ///< a key of a type that the algorithm does not use
  not_pem,               ///< not exactly one PEM block of PUBLIC KEY or CERTIFICATE
  private_key,           ///< a private key, which a verifier must not have
  rsa_size,              ///< an RSA modulus of fewer than 2048 or more than 8192 bits
  rsa_exponent,          ///< an RSA exponent that is even, 1, or longer than 64 bits
  curve,                 ///< a curve that is not the algorithm's
  invalid_key,           ///< values that are no key, as a point that is not on its curve
  not_jwks,              ///< not a JSON object with an array `keys` (RFC 7517 section 5)
  jwks_too_large,        ///< a key set of more bytes or keys than it may have
  duplicate_member,      ///< an object that names a member twice
  member_missing,        ///< a JWK without a member that its `kty` needs
  member_type,           ///< a JWK's member that has the wrong type, or is not base64url of the right length
  kty_unknown,           ///< a JWK's `kty` other than RSA, EC, OKP and oct
  algorithm_unknown,     ///< a JWK's `alg` that is not accepted here
  algorithm_missing,     ///< a JWK of `kty` oct without `alg`
  not_for_signatures,    ///< a JWK whose `use` is not `sig`, or whose `key_ops` lack `verify`
  secret_not_allowed,    ///< a JWK of `kty` oct without `jwks_options::allow_secrets`
};

[[nodiscard]] std::string_view to_string(jwt_key_fault why) noexcept;

/// What making a key throws.
class jwt_key_error : public std::invalid_argument {
 public:
  explicit jwt_key_error(jwt_key_fault why);
  [[nodiscard]] jwt_key_fault fault() const noexcept { return fault_; }

 private:
  jwt_key_fault fault_;
};

/// A key with the one algorithm it is for. A value, cheap to copy; copies share the key, which cannot change.
/// All functions are legal on any thread. A secret is wiped from memory with the last copy.
class jwt_key {
 public:
  /// For HS256, HS384 and HS512: the secret's bytes as they are, no base64. Throws `jwt_key_error`.
  [[nodiscard]] static jwt_key from_secret(jwt_algorithm algorithm, std::string_view secret,
                                           std::string kid = {});
  /// For the other algorithms: one PEM block, a public key (SubjectPublicKeyInfo) or a certificate, of which
  /// only the public key is used: neither its dates nor its issuer are looked at. Throws `jwt_key_error`.
  [[nodiscard]] static jwt_key from_pem(jwt_algorithm algorithm, std::string_view pem, std::string kid = {});

  [[nodiscard]] jwt_algorithm algorithm() const noexcept;
  /// The key's name; empty: it has none, and fits tokens of any `kid`.
  [[nodiscard]] const std::string& kid() const noexcept;
  /// The same key, good for tokens of this `iss` alone. Where there are several issuers, each could otherwise
  /// sign in the name of another.
  [[nodiscard]] jwt_key for_issuer(std::string issuer) const;
  /// Empty: it may sign for any.
  [[nodiscard]] const std::string& issuer() const noexcept { return issuer_; }

  struct impl;
  explicit jwt_key(std::shared_ptr<const impl> made) noexcept : impl_(std::move(made)) {}
  [[nodiscard]] const impl& state() const noexcept { return *impl_; }

 private:
  std::shared_ptr<const impl> impl_;
  std::string issuer_;
};

/// How a JWKS document is read.
struct jwks_options {
  std::size_t max_bytes = 256 * 1024;  ///< of the document; more throws. Zero: no document passes
  std::size_t max_keys = 64;  ///< in the document, skipped ones too; more throws. Zero: no key passes
  /// The algorithm of RSA keys that name none. EC and OKP keys without `alg` have the one of their curve.
  jwt_algorithm rsa_algorithm = jwt_algorithm::rs256;
  /// Whether keys of `kty` oct are taken. Never for a document that others can read.
  bool allow_secrets = false;
  std::string issuer{};  ///< for whom the keys may sign (`jwt_key::for_issuer`); empty: for any
};

/// A key of a document that was not taken.
struct jwks_skipped {
  std::size_t index;  ///< its place in `keys`
  jwt_key_fault why;
};

struct jwks {
  std::vector<jwt_key> keys;
  std::vector<jwks_skipped> skipped;
};

/// Reads a JWK set (RFC 7517 section 5). A key that cannot be used is skipped, whatever is wrong with it; a
/// document that is none throws `jwt_key_error`. `std::invalid_argument` if `rsa_algorithm` is not for RSA
/// keys.
[[nodiscard]] jwks parse_jwks(std::string_view document, const jwks_options& options = {});

/// What a verifier asks of a token beside its signature.
struct jwt_options {
  std::vector<std::string> issuers{};      ///< `iss` is one of them; empty: any, or none
  std::vector<std::string> audiences{};    ///< `aud` names one of them; empty: tokens with `aud` are refused
  bool any_audience = false;               ///< `aud` is not compared; `audiences` must be empty
  std::string type{};                      ///< `typ`, in any case, as `at+jwt`; empty: any, or none
  bool require_subject = true;             ///< `sub` is there and not empty
  bool require_not_before = false;         ///< `nbf` is there
  std::chrono::seconds clock_skew{30};     ///< how far clocks may be apart; zero to one hour
  std::chrono::seconds max_lifetime{0};    ///< how far `exp` may be away, beside the skew; zero: any
  std::size_t max_token_bytes = 8 * 1024;  ///< 1 to 1 MiB
  std::size_t max_json_depth = 8;          ///< objects and arrays within each other; 1 to 32
  std::size_t max_json_elements = 512;     ///< members and elements, at all depths; at least 1
  /// How many tokens are remembered to be accepted once, by `iss` and `jti`, until they expire; at most
  /// 16,777,216, about 70 bytes each. Zero: tokens may be used again, and need no `jti`.
  std::size_t one_time_capacity = 0;
};

/// A token that was accepted. The signature covers all of it.
struct jwt_claims {
  std::string subject;                                 ///< `sub`; empty: none
  std::string issuer;                                  ///< `iss`; empty: none
  std::vector<std::string> audiences;                  ///< `aud`, an array or not; empty: none
  std::string id;                                      ///< `jti`; empty: none
  std::chrono::sys_seconds expires;                    ///< `exp`, a fraction cut off
  std::optional<std::chrono::sys_seconds> not_before;  ///< `nbf`, a fraction rounded up
  std::optional<std::chrono::sys_seconds> issued_at;   ///< `iat`, a fraction rounded up
  jwt_algorithm algorithm;                             ///< of the key that verified it
  std::string kid;                                     ///< of the key that verified it; empty: it has none
  boost::json::object all;                             ///< the whole payload
};

using jwt_verdict = std::variant<jwt_claims, jwt_refusal>;

/// Verifies tokens with a set of keys. All functions are legal on any thread, at the same time; none waits
/// for another longer than it takes to copy a pointer or to look up a `jti`.
class jwt_verifier {
 public:
  /// Throws `std::invalid_argument` naming the option whose value is not allowed. Without keys it refuses
  /// every token.
  explicit jwt_verifier(std::vector<jwt_key> keys, jwt_options options = {});
  jwt_verifier(const jwt_verifier&) = delete;
  jwt_verifier& operator=(const jwt_verifier&) = delete;
  ~jwt_verifier();

  /// The claims, or why there are none. The payload is not looked into before the signature is verified. A
  /// key without `kid` fits every token, and a token without `kid` every key; of those that fit, up to four
  /// with the token's algorithm are tried. With one-time tokens, one that is accepted is used up. Leaves
  /// OpenSSL's error queue as it was. Throws nothing but `std::bad_alloc`.
  [[nodiscard]] jwt_verdict verify(std::string_view token, std::chrono::system_clock::time_point now) const;

  /// From now on these are the keys. Tokens being verified meanwhile are so with the old keys or with the new
  /// ones, never with some of both.
  void replace_keys(std::vector<jwt_key> keys);

  /// How many one-time tokens are remembered, expired ones included until the next token comes.
  [[nodiscard]] std::size_t remembered() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace skein
