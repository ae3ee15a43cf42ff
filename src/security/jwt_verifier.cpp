#include "security/base64url.hpp"
#include "security/jwt_claims.hpp"
#include "security/jwt_json.hpp"
#include "security/jwt_key.hpp"
#include "security/jwt_once.hpp"
#include "wire/http_text.hpp"

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>

namespace skein {
namespace {

namespace json = boost::json;
using namespace detail;

/// How many keys may be tried for one token. A token costs no more than this many signatures.
constexpr std::size_t max_candidates = 4;

using key_list = std::vector<jwt_key>;

void check(bool good, const char* message) {
  if (!good) throw std::invalid_argument{message};
}

void check(const jwt_options& options) {
  using namespace std::chrono_literals;
  const auto filled = [](const std::vector<std::string>& list) {
    return std::none_of(list.begin(), list.end(), [](const std::string& one) { return one.empty(); });
  };
  check(filled(options.issuers), "issuers must not be empty strings");
  check(filled(options.audiences), "audiences must not be empty strings");
  check(!options.any_audience || options.audiences.empty(), "any_audience goes with no audiences");
  check(options.clock_skew >= 0s && options.clock_skew <= 1h, "clock_skew must be zero to one hour");
  check(options.max_lifetime >= 0s && options.max_lifetime <= 24h * 36'525,
        "max_lifetime must be zero to a hundred years");
  check(options.max_token_bytes >= 1 && options.max_token_bytes <= 1024 * 1024,
        "max_token_bytes must be 1 to 1,048,576");
  check(options.max_json_depth >= 1 && options.max_json_depth <= 32, "max_json_depth must be 1 to 32");
  check(options.max_json_elements >= 1, "max_json_elements must be at least 1");
  check(options.one_time_capacity <= std::size_t{1} << 24U, "one_time_capacity must be at most 16,777,216");
}

struct parts {
  std::string_view header, payload, signature, signed_text;
};

std::optional<parts> split(std::string_view token) noexcept {
  const auto first = token.find('.');
  if (first == std::string_view::npos) return std::nullopt;
  const auto second = token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos)
    return std::nullopt;
  return parts{token.substr(0, first), token.substr(first + 1, second - first - 1), token.substr(second + 1),
               token.substr(0, second)};
}

using outcome = std::optional<jwt_refusal>;

outcome refusal_of(base64_fault fault) noexcept {
  switch (fault) {
    case base64_fault::none:
      return std::nullopt;
    case base64_fault::character:
      return jwt_refusal::base64_character;
    case base64_fault::padding:
      return jwt_refusal::base64_padding;
    case base64_fault::length:
      return jwt_refusal::base64_length;
    case base64_fault::trailing_bits:
      return jwt_refusal::base64_trailing_bits;
  }
  return jwt_refusal::internal_error;
}

jwt_refusal refusal_of(json_fault fault, jwt_refusal not_json) noexcept {
  switch (fault) {
    case json_fault::not_an_object:
      return not_json;
    case json_fault::too_deep:
      return jwt_refusal::json_too_deep;
    case json_fault::too_large:
      return jwt_refusal::json_too_large;
    case json_fault::duplicate_member:
      return jwt_refusal::duplicate_member;
  }
  return jwt_refusal::internal_error;
}

/// RFC 7515 section 4.1.9: `application/` may be left out where no other slash is.
std::string_view media_type(std::string_view type) noexcept {
  constexpr std::string_view prefix = "application/";
  const auto rest = type.size() > prefix.size() ? type.substr(prefix.size()) : std::string_view{};
  const bool prefixed = !rest.empty() && rest.find('/') == std::string_view::npos &&
                        same_name(type.substr(0, prefix.size()), prefix);
  return prefixed ? rest : type;
}

outcome check_header(const json::object& header, const jwt_options& options, jwt_algorithm& algorithm) {
  for (const auto* name : {"jwk", "jku", "x5u", "x5c"}) {
    if (header.contains(name)) return jwt_refusal::embedded_key;
  }
  if (const auto* encoded = header.if_contains("b64")) {
    if (!encoded->is_bool()) return jwt_refusal::header_type;
    if (!encoded->get_bool()) return jwt_refusal::unencoded_payload;
  }
  if (header.contains("crit")) return jwt_refusal::critical_header;
  for (const auto* name : {"typ", "cty", "kid"}) {
    const auto* member = header.if_contains(name);
    if (member != nullptr && !member->is_string()) return jwt_refusal::header_type;
  }
  const auto* name = string_member(header, "alg");
  if (name == nullptr) return jwt_refusal::algorithm_missing;
  if (same_name(*name, "none")) return jwt_refusal::algorithm_none;
  const auto known = parse_jwt_algorithm(*name);
  if (!known) return jwt_refusal::algorithm_unknown;
  algorithm = *known;
  if (!options.type.empty()) {
    const auto* type = string_member(header, "typ");
    if (type == nullptr || !same_name(media_type(*type), media_type(options.type)))
      return jwt_refusal::token_type_wrong;
  }
  return std::nullopt;
}

/// A key that is for one issuer does not sign for another.
outcome check_signer_of(const jwt_claims& claims, const jwt_key& key) {
  if (key.issuer().empty() || key.issuer() == claims.issuer) return std::nullopt;
  return claims.issuer.empty() ? jwt_refusal::issuer_missing : jwt_refusal::issuer_wrong;
}

struct candidates {
  std::array<const jwt_key*, max_candidates> keys{};
  std::size_t count = 0;
};

outcome choose(const key_list& keys, const json::string* kid, jwt_algorithm algorithm, candidates& chosen) {
  bool named = false;
  for (const auto& key : keys) {
    if (kid != nullptr && !key.kid().empty() && key.kid() != std::string_view{*kid}) continue;
    named = true;
    if (key.algorithm() != algorithm) continue;
    if (chosen.count == max_candidates) return jwt_refusal::key_ambiguous;
    chosen.keys[chosen.count++] = &key;
  }
  if (!named) return jwt_refusal::key_unknown;
  return chosen.count == 0 ? outcome{jwt_refusal::algorithm_mismatch} : std::nullopt;
}

}  // namespace

struct jwt_verifier::impl {
  const jwt_options options;
  std::optional<one_time_set> used;
  mutable std::mutex mutex;
  std::shared_ptr<const key_list> keys;

  impl(std::shared_ptr<const key_list> first, jwt_options given)
      : options(std::move(given)), keys(std::move(first)) {
    check(options);
    if (options.one_time_capacity != 0) used.emplace(options.one_time_capacity, draw_siphash_key());
  }

  [[nodiscard]] std::shared_ptr<const key_list> current() const {
    const std::lock_guard lock{mutex};
    return keys;
  }

  [[nodiscard]] json_bounds bounds() const noexcept {
    return {.depth = options.max_json_depth, .elements = options.max_json_elements};
  }

  /// The key that signed it.
  [[nodiscard]] std::variant<jwt_key, jwt_refusal> check_signer(const parts& token, std::string_view header,
                                                                std::string_view signature) const {
    const auto parsed = parse_object(header, bounds());
    if (const auto* fault = std::get_if<json_fault>(&parsed))
      return refusal_of(*fault, jwt_refusal::header_not_json);
    const auto& object = std::get<json::object>(parsed);
    jwt_algorithm algorithm{};
    if (const auto refused = check_header(object, options, algorithm)) return *refused;
    const auto keys_now = current();
    candidates chosen;
    if (const auto refused = choose(*keys_now, string_member(object, "kid"), algorithm, chosen))
      return *refused;
    bool failed = false;
    for (std::size_t i = 0; i < chosen.count; ++i) {
      const auto answer = check_signature(*chosen.keys[i], token.signed_text, signature);
      if (answer == signature_check::right) return *chosen.keys[i];
      failed = failed || answer == signature_check::failed;
    }
    return failed ? jwt_refusal::internal_error : jwt_refusal::signature_wrong;
  }

  [[nodiscard]] outcome use_up(const jwt_claims& claims, std::chrono::sys_seconds now) {
    if (!used) return std::nullopt;
    switch (used->take(claims.issuer, claims.id, claims.expires + options.clock_skew, now)) {
      case one_time_answer::first:
        return std::nullopt;
      case one_time_answer::used:
        return jwt_refusal::already_used;
      case one_time_answer::expired:
        return jwt_refusal::expired;
      case one_time_answer::full:
        return jwt_refusal::one_time_full;
    }
    return jwt_refusal::internal_error;
  }
};

jwt_verifier::jwt_verifier(std::vector<jwt_key> keys, jwt_options options)
    : impl_(std::make_unique<impl>(std::make_shared<const key_list>(std::move(keys)), std::move(options))) {}

jwt_verifier::~jwt_verifier() = default;

jwt_verdict jwt_verifier::verify(std::string_view token, std::chrono::system_clock::time_point now) const {
  if (token.size() > impl_->options.max_token_bytes) return jwt_refusal::token_too_long;
  const auto found = split(token);
  if (!found) return jwt_refusal::not_three_parts;
  std::string header, payload, signature;
  if (const auto fault = refusal_of(decode_base64url(found->header, header))) return *fault;
  if (const auto fault = refusal_of(decode_base64url(found->payload, payload))) return *fault;
  if (const auto fault = refusal_of(decode_base64url(found->signature, signature))) return *fault;

  auto signer = impl_->check_signer(*found, header, signature);
  if (const auto* refused = std::get_if<jwt_refusal>(&signer)) return *refused;

  auto parsed = parse_object(payload, impl_->bounds());
  if (const auto* fault = std::get_if<json_fault>(&parsed))
    return refusal_of(*fault, jwt_refusal::payload_not_json);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  auto verdict = check_claims(std::move(std::get<json::object>(parsed)), impl_->options, seconds);
  if (auto* claims = std::get_if<jwt_claims>(&verdict)) {
    const auto& key = std::get<jwt_key>(signer);
    if (const auto refused = check_signer_of(*claims, key)) return *refused;
    if (const auto refused = impl_->use_up(*claims, seconds)) return *refused;
    claims->algorithm = key.algorithm();
    claims->kid = key.kid();
  }
  return verdict;
}

void jwt_verifier::replace_keys(std::vector<jwt_key> keys) {
  std::shared_ptr<const key_list> fresh = std::make_shared<const key_list>(std::move(keys));
  const std::lock_guard lock{impl_->mutex};
  impl_->keys.swap(fresh);  // what was there goes after the lock
}

std::size_t jwt_verifier::remembered() const {
  return impl_->used ? impl_->used->size() : 0;
}

}  // namespace skein
