// A fuzz target: any bytes as a JWK set. Whatever it is, it is refused with an error of its own, or every key
// of it was taken or has a reason not to be; a key that was taken is for the algorithm that it says, and
// verifies nothing that it did not sign.
//
// An input: a byte of settings, and the document.

#include "fuzz_input.hpp"

#include <skein/jwt.hpp>

#include <openssl/err.h>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

const std::chrono::system_clock::time_point now{std::chrono::seconds{1'700'000'000}};
// {"sub":"x","exp":2000000000}, "signed" with zeros.
constexpr std::string_view forged_payload = "eyJzdWIiOiJ4IiwiZXhwIjoyMDAwMDAwMDAwfQ";

std::string_view forged_header(skein::jwt_algorithm algorithm) {
  switch (algorithm) {
    case skein::jwt_algorithm::rs256:
      return "eyJhbGciOiJSUzI1NiJ9";
    case skein::jwt_algorithm::es256:
      return "eyJhbGciOiJFUzI1NiJ9";
    case skein::jwt_algorithm::eddsa:
      return "eyJhbGciOiJFZERTQSJ9";
    default:
      return "eyJhbGciOiJIUzI1NiJ9";
  }
}

bool fits(const skein::jwt_key& key, const skein::jwt_options& options) {
  const skein::jwt_verifier verifier{{key}, options};
  for (const std::size_t size : {43U, 86U, 342U}) {
    const auto token = std::string{forged_header(key.algorithm())} + '.' + std::string{forged_payload} + '.' +
                       std::string(size, 'A');
    if (std::holds_alternative<skein::jwt_claims>(verifier.verify(token, now))) return true;
  }
  return false;
}

/// What there is but RSA keys. OpenSSL draws numbers to see whether a modulus is one: of a false one, with a
/// factor of a few digits, it says now this and now that.
std::vector<std::pair<std::string, skein::jwt_algorithm>> names(const skein::jwks& set) {
  std::vector<std::pair<std::string, skein::jwt_algorithm>> all;
  for (const auto& key : set.keys) {
    const auto name = to_string(key.algorithm());
    if (!name.starts_with("RS") && !name.starts_with("PS")) all.emplace_back(key.kid(), key.algorithm());
  }
  return all;
}

bool is_secret(const skein::jwt_key& key) {
  return key.algorithm() <= skein::jwt_algorithm::hs512;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  skein::jwks_options options;
  options.allow_secrets = (data[0] & 1U) != 0;
  if ((data[0] & 2U) != 0) options.rsa_algorithm = skein::jwt_algorithm::ps256;
  options.max_keys = 8;
  options.max_bytes = 8000;
  const std::string document(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const auto set = skein::parse_jwks(document, options);
    fuzz::require(document.size() <= options.max_bytes, "a document that is too large");
    fuzz::require(set.keys.size() + set.skipped.size() <= options.max_keys, "more keys than there may be");
    for (std::size_t i = 0; i < set.skipped.size(); ++i) {
      fuzz::require(set.skipped[i].index < set.keys.size() + set.skipped.size(), "skipped what is not there");
      fuzz::require(i == 0 || set.skipped[i - 1].index < set.skipped[i].index, "skipped out of order");
      fuzz::require(!to_string(set.skipped[i].why).empty(), "skipped for no reason");
    }
    skein::jwt_options how;
    how.any_audience = true;
    for (const auto& key : set.keys) {
      fuzz::require(options.allow_secrets || !is_secret(key), "a secret was taken");
      fuzz::require(!to_string(key.algorithm()).empty(), "a key for no algorithm");
      fuzz::require(!fits(key, how), "a token of zeros is accepted");
    }
    const skein::jwt_verifier all{set.keys, how};
    (void)all.verify("eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.AA", now);
    fuzz::require(names(set) == names(skein::parse_jwks(document, options)),
                  "the same document, another set");
  } catch (const skein::jwt_key_error& error) {
    fuzz::require(!to_string(error.fault()).empty(), "refused for no reason");
  }
  fuzz::require(ERR_peek_error() == 0, "something is left in OpenSSL's queue");
  return 0;
}
