// JWK sets: RFC 7517 for their form, RFC 7518 section 6 and RFC 8037 section 2 for what is in a key.

#include "security/base64url.hpp"
#include "security/jwt_json.hpp"
#include "security/jwt_key.hpp"

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/param_build.h>

#include <algorithm>
#include <new>
#include <utility>

namespace skein {
namespace {

namespace json = boost::json;
using namespace detail;

[[noreturn]] void refuse(jwt_key_fault why) {
  throw jwt_key_error{why};
}

/// A member that may be missing, but not of another type.
const json::string* optional_string(const json::object& of, std::string_view name) {
  const auto* member = of.if_contains(name);
  if (member != nullptr && !member->is_string()) refuse(jwt_key_fault::member_type);
  return member == nullptr ? nullptr : &member->get_string();
}

std::string_view text_of(const json::object& of, std::string_view name) {
  const auto* text = optional_string(of, name);
  if (text == nullptr) refuse(jwt_key_fault::member_missing);
  return *text;
}

/// `size` is in bytes; zero: any.
std::string bytes_of(const json::object& of, std::string_view name, std::size_t size = 0) {
  std::string bytes;
  if (decode_base64url(text_of(of, name), bytes) != base64_fault::none || bytes.empty() ||
      (size != 0 && bytes.size() != size))
    refuse(jwt_key_fault::member_type);
  return bytes;
}

struct builder_free {
  void operator()(OSSL_PARAM_BLD* p) const noexcept { OSSL_PARAM_BLD_free(p); }
  void operator()(OSSL_PARAM* p) const noexcept { OSSL_PARAM_free(p); }
  void operator()(BIGNUM* p) const noexcept { BN_free(p); }
};
using builder = std::unique_ptr<OSSL_PARAM_BLD, builder_free>;

builder new_builder() {
  builder made{OSSL_PARAM_BLD_new()};
  if (!made) throw std::bad_alloc{};
  return made;
}

openssl_ptr<EVP_PKEY> build(const char* type, const builder& from) {
  const std::unique_ptr<OSSL_PARAM, builder_free> parameters{OSSL_PARAM_BLD_to_param(from.get())};
  const openssl_ptr<EVP_PKEY_CTX> context{EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr)};
  if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) != 1) throw std::bad_alloc{};
  EVP_PKEY* key = nullptr;
  if (EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1)
    refuse(jwt_key_fault::invalid_key);
  return openssl_ptr<EVP_PKEY>{key};
}

openssl_ptr<EVP_PKEY> build_rsa(const json::object& from) {
  const auto number = [&](std::string_view name) {
    const auto bytes = bytes_of(from, name);
    // Larger than any that is taken: refused before there is a key of it.
    if (bytes.size() > 2048) refuse(jwt_key_fault::rsa_size);
    std::unique_ptr<BIGNUM, builder_free> made{BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                                                         static_cast<int>(bytes.size()), nullptr)};
    if (!made) throw std::bad_alloc{};
    return made;
  };
  const auto modulus = number("n");
  const auto exponent = number("e");
  const auto parts = new_builder();
  if (OSSL_PARAM_BLD_push_BN(parts.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(parts.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()) != 1)
    throw std::bad_alloc{};
  return build("RSA", parts);
}

openssl_ptr<EVP_PKEY> build_ec(const json::object& from, const algorithm_traits& traits) {
  // An uncompressed point (SEC 1 section 2.3.3).
  const auto point = "\x04" + bytes_of(from, "x", traits.part_size) + bytes_of(from, "y", traits.part_size);
  const auto parts = new_builder();
  if (OSSL_PARAM_BLD_push_utf8_string(parts.get(), OSSL_PKEY_PARAM_GROUP_NAME, traits.group, 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(parts.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1)
    throw std::bad_alloc{};
  return build("EC", parts);
}

openssl_ptr<EVP_PKEY> build_ed25519(const json::object& from) {
  const auto bytes = bytes_of(from, "x", 32);
  openssl_ptr<EVP_PKEY> key{EVP_PKEY_new_raw_public_key(
      EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size())};
  if (!key) refuse(jwt_key_fault::invalid_key);
  return key;
}

void check_use(const json::object& from) {
  const auto* use = optional_string(from, "use");
  if (use != nullptr && *use != "sig") refuse(jwt_key_fault::not_for_signatures);
  const auto* operations = from.if_contains("key_ops");
  if (operations == nullptr) return;
  const auto* list = operations->if_array();
  if (list == nullptr) refuse(jwt_key_fault::member_type);
  bool verifies = false;
  for (const auto& one : *list) {
    if (!one.is_string()) refuse(jwt_key_fault::member_type);
    verifies = verifies || one.get_string() == "verify";
  }
  if (!verifies) refuse(jwt_key_fault::not_for_signatures);
}

/// The key's one algorithm: what it names, or what is left to choose.
jwt_algorithm algorithm_of(const json::object& from, std::string_view kty, const jwks_options& options) {
  const auto* name = optional_string(from, "alg");
  if (name != nullptr) {
    const auto algorithm = parse_jwt_algorithm(*name);
    if (!algorithm) refuse(jwt_key_fault::algorithm_unknown);
    return *algorithm;
  }
  if (kty == "RSA") return options.rsa_algorithm;
  if (kty == "oct") refuse(jwt_key_fault::algorithm_missing);
  const auto curve = text_of(from, "crv");
  if (kty == "EC" && curve == "P-256") return jwt_algorithm::es256;
  if (kty == "EC" && curve == "P-384") return jwt_algorithm::es384;
  if (kty == "OKP" && curve == "Ed25519") return jwt_algorithm::eddsa;
  refuse(jwt_key_fault::curve);
}

std::string_view curve_of(jwt_algorithm algorithm) noexcept {
  switch (algorithm) {
    case jwt_algorithm::es256:
      return "P-256";
    case jwt_algorithm::es384:
      return "P-384";
    default:
      return "Ed25519";
  }
}

struct wiped {
  std::string bytes;
  explicit wiped(std::string of) noexcept : bytes(std::move(of)) {}
  wiped(const wiped&) = delete;
  wiped& operator=(const wiped&) = delete;
  ~wiped() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
};

jwt_key read_key(const json::value& value, const jwks_options& options) {
  const auto* from = value.if_object();
  if (from == nullptr) refuse(jwt_key_fault::member_type);
  const auto kty = text_of(*from, "kty");
  if (kty != "RSA" && kty != "EC" && kty != "OKP" && kty != "oct") refuse(jwt_key_fault::kty_unknown);
  if (kty != "oct" && from->contains("d")) refuse(jwt_key_fault::private_key);
  check_use(*from);
  const auto algorithm = algorithm_of(*from, kty, options);
  const auto& traits = traits_of(algorithm);
  const auto* name = optional_string(*from, "kid");
  std::string kid{name == nullptr ? std::string_view{} : std::string_view{*name}};
  if (kty == "oct") {
    if (!options.allow_secrets) refuse(jwt_key_fault::secret_not_allowed);
    const wiped secret{bytes_of(*from, "k")};
    return jwt_key::from_secret(algorithm, secret.bytes, std::move(kid));
  }
  const auto family = kty == "RSA" ? key_family::rsa : kty == "EC" ? key_family::ec : key_family::ed25519;
  if (traits.family != family) refuse(jwt_key_fault::key_type);
  if (family == key_family::rsa) return make_public_key(algorithm, build_rsa(*from), std::move(kid));
  if (text_of(*from, "crv") != curve_of(algorithm)) refuse(jwt_key_fault::curve);
  auto key = family == key_family::ec ? build_ec(*from, traits) : build_ed25519(*from);
  return make_public_key(algorithm, std::move(key), std::move(kid));
}

json::object read_document(std::string_view document, const jwks_options& options) {
  if (document.size() > options.max_bytes) refuse(jwt_key_fault::jwks_too_large);
  // Every element takes two bytes at least, so that the bound on bytes is one on elements.
  auto parsed = parse_object(document, {.depth = 16, .elements = options.max_bytes});
  if (auto* object = std::get_if<json::object>(&parsed)) return std::move(*object);
  refuse(std::get<json_fault>(parsed) == json_fault::duplicate_member ? jwt_key_fault::duplicate_member
                                                                      : jwt_key_fault::not_jwks);
}

}  // namespace

jwks parse_jwks(std::string_view document, const jwks_options& options) {
  const quiet_errors quiet;
  if (traits_of(options.rsa_algorithm).family != key_family::rsa)
    throw std::invalid_argument{"rsa_algorithm must be RS256, RS384, RS512 or PS256"};
  const auto object = read_document(document, options);
  const auto* member = object.if_contains("keys");
  const auto* list = member == nullptr ? nullptr : member->if_array();
  if (list == nullptr) refuse(jwt_key_fault::not_jwks);
  if (list->size() > options.max_keys) refuse(jwt_key_fault::jwks_too_large);
  jwks result;
  for (std::size_t i = 0; i < list->size(); ++i) {
    try {
      result.keys.push_back(read_key((*list)[i], options).for_issuer(options.issuer));
    } catch (const jwt_key_error& error) {
      result.skipped.push_back({i, error.fault()});
    }
  }
  return result;
}

}  // namespace skein
