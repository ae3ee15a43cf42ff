#include "security/jwt_claims.hpp"

#include "security/jwt_json.hpp"

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace skein::detail {
namespace {

namespace json = boost::json;
using std::chrono::sys_seconds;

constexpr std::int64_t last_second = 253'402'300'799;  // 9999-12-31T23:59:59Z

/// A NumericDate (RFC 7519 section 2), which may have a fraction. `round` brings it to a whole second.
std::optional<sys_seconds> date_of(const json::value& value, double (*round)(double)) noexcept {
  std::int64_t seconds = -1;
  if (const auto* whole = value.if_int64()) {
    seconds = *whole;
  } else if (const auto* number = value.if_double()) {
    const auto rounded = round(*number);
    // Written so that what is not a number is refused; a large unsigned integer is too late anyway.
    if (!(*number >= 0 && rounded <= static_cast<double>(last_second))) return std::nullopt;
    seconds = static_cast<std::int64_t>(rounded);
  }
  if (seconds < 0 || seconds > last_second) return std::nullopt;
  return sys_seconds{std::chrono::seconds{seconds}};
}

double down(double seconds) {
  return std::floor(seconds);
}
double up(double seconds) {
  return std::ceil(seconds);
}

bool contains(const std::vector<std::string>& list, std::string_view one) noexcept {
  return std::find(list.begin(), list.end(), one) != list.end();
}

using outcome = std::optional<jwt_refusal>;

outcome check_times(const json::object& payload, const jwt_options& options, sys_seconds now,
                    jwt_claims& claims) {
  const auto* expiry = payload.if_contains("exp");
  if (expiry == nullptr) return jwt_refusal::expiry_missing;
  const auto expires = date_of(*expiry, down);
  if (!expires) return jwt_refusal::expiry_type;
  if (now >= *expires + options.clock_skew) return jwt_refusal::expired;
  if (options.max_lifetime.count() != 0 && *expires > now + options.max_lifetime + options.clock_skew)
    return jwt_refusal::lifetime_too_long;
  claims.expires = *expires;
  if (const auto* start = payload.if_contains("nbf")) {
    claims.not_before = date_of(*start, up);
    if (!claims.not_before) return jwt_refusal::not_before_type;
    if (now < *claims.not_before - options.clock_skew) return jwt_refusal::not_yet_valid;
  } else if (options.require_not_before) {
    return jwt_refusal::not_before_missing;
  }
  if (const auto* issued = payload.if_contains("iat")) {
    claims.issued_at = date_of(*issued, up);
    if (!claims.issued_at) return jwt_refusal::issued_at_type;
    if (now < *claims.issued_at - options.clock_skew) return jwt_refusal::issued_in_future;
  }
  return std::nullopt;
}

outcome check_issuer(const json::object& payload, const jwt_options& options, jwt_claims& claims) {
  const auto* issuer = payload.if_contains("iss");
  if (issuer == nullptr) return options.issuers.empty() ? outcome{} : jwt_refusal::issuer_missing;
  const auto* name = issuer->if_string();
  if (name == nullptr) return jwt_refusal::issuer_type;
  if (!options.issuers.empty() && !contains(options.issuers, *name)) return jwt_refusal::issuer_wrong;
  claims.issuer = *name;
  return std::nullopt;
}

outcome check_audience(const json::object& payload, const jwt_options& options, jwt_claims& claims) {
  const auto* audience = payload.if_contains("aud");
  if (audience == nullptr) return options.audiences.empty() ? outcome{} : jwt_refusal::audience_missing;
  if (const auto* one = audience->if_string()) {
    claims.audiences.emplace_back(*one);
  } else if (const auto* several = audience->if_array()) {
    for (const auto& each : *several) {
      if (!each.is_string()) return jwt_refusal::audience_type;
      claims.audiences.emplace_back(each.get_string());
    }
  } else {
    return jwt_refusal::audience_type;
  }
  const auto& named = claims.audiences;
  const bool ours = options.any_audience ||
                    std::any_of(named.begin(), named.end(),
                                [&](const std::string& each) { return contains(options.audiences, each); });
  return ours ? outcome{} : jwt_refusal::audience_wrong;
}

outcome check_names(const json::object& payload, const jwt_options& options, jwt_claims& claims) {
  if (const auto* subject = payload.if_contains("sub")) {
    if (!subject->is_string()) return jwt_refusal::subject_type;
    claims.subject = subject->get_string();
  }
  if (options.require_subject && claims.subject.empty()) return jwt_refusal::subject_missing;
  if (const auto* id = payload.if_contains("jti")) {
    if (!id->is_string()) return jwt_refusal::id_type;
    claims.id = id->get_string();
  }
  if (options.one_time_capacity != 0 && claims.id.empty()) return jwt_refusal::id_missing;
  return std::nullopt;
}

}  // namespace

jwt_verdict check_claims(json::object payload, const jwt_options& options, sys_seconds now) {
  jwt_claims claims;
  auto refused = check_times(payload, options, now, claims);
  if (!refused) refused = check_issuer(payload, options, claims);
  if (!refused) refused = check_audience(payload, options, claims);
  if (!refused) refused = check_names(payload, options, claims);
  if (refused) return *refused;
  claims.all = std::move(payload);
  return claims;
}

}  // namespace skein::detail
