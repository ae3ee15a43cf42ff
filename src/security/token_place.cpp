#include "security/token_place.hpp"

#include "wire/http_text.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace skein::detail {
namespace {

template <class Visit>
void each_element(std::string_view list, char separator, Visit&& visit) {
  for (;;) {
    const auto end = list.find(separator);
    visit(trim(list.substr(0, end)));
    if (end == std::string_view::npos) return;
    list.remove_prefix(end + 1);
  }
}

/// The credentials of `Bearer` (RFC 9110 section 11.4; schemes have no case); nothing for another scheme.
std::optional<std::string_view> bearer(std::string_view authorization) noexcept {
  constexpr std::string_view scheme = "bearer";
  if (!same_name(authorization.substr(0, scheme.size()), scheme)) return std::nullopt;
  if (authorization.size() > scheme.size() && authorization[scheme.size()] != ' ') return std::nullopt;
  return trim(authorization.substr(scheme.size()));
}

class collector {
 public:
  void take(std::string_view token) {
    found_.ambiguous = found_.ambiguous || found_.token;
    found_.token = std::string{token};
  }
  [[nodiscard]] bool any() const noexcept { return found_.token.has_value(); }
  [[nodiscard]] found_token result() && { return std::move(found_); }

 private:
  found_token found_;
};

/// `name=value` of a Cookie header or of a query.
std::pair<std::string_view, std::string_view> split(std::string_view pair) noexcept {
  const auto equals = pair.find('=');
  if (equals == std::string_view::npos) return {pair, {}};
  return {pair.substr(0, equals), pair.substr(equals + 1)};
}

std::string without_elements(std::string_view list, char separator, auto&& drop) {
  std::string kept;
  each_element(list, separator, [&](std::string_view element) {
    if (drop(element)) return;
    if (!kept.empty()) kept += std::string{separator} + ' ';
    kept += element;
  });
  return kept;
}

/// The name of a parameter as `request::query` reads it, percent encoding undone.
bool is_parameter(std::string_view pair, const std::string& name) {
  const std::string target = "/?" + std::string{split(pair).first};
  return request{"GET", target, {}, {}}.query(name).has_value();
}

std::string redact_query(std::string_view target, const std::string& name) {
  const auto mark = target.find('?');
  if (mark == std::string_view::npos) return std::string{target};
  std::string result{target.substr(0, mark)};
  char separator = '?';
  for (auto rest = target.substr(mark + 1);;) {
    const auto end = rest.find('&');
    const auto pair = rest.substr(0, end);
    result += std::exchange(separator, '&');
    if (is_parameter(pair, name)) {
      result.append(split(pair).first).append("=-");
    } else {
      result += pair;
    }
    if (end == std::string_view::npos) return result;
    rest.remove_prefix(end + 1);
  }
}

}  // namespace

bool origin_listed(const origin_policy& policy, const request& what) {
  if (what.count("Origin") != 1) return false;
  if (policy.accept) return origin_allowed(policy, what);
  origin_policy named;
  std::copy_if(policy.allowed.begin(), policy.allowed.end(), std::back_inserter(named.allowed),
               [](const std::string& one) { return one != "*"; });
  return !named.allowed.empty() && origin_allowed(named, what);
}

found_token find_token(const request& what, const token_places& places, const origin_policy& origins) {
  collector found;
  std::vector<std::string_view> cookies;
  for (const auto& [name, value] : what.headers()) {
    if (places.header && same_name(name, "Authorization")) {
      if (const auto token = bearer(trim(value))) found.take(*token);
    } else if (places.subprotocol && same_name(name, "Sec-WebSocket-Protocol")) {
      each_element(value, ',', [&](std::string_view element) {
        if (element.starts_with(token_protocol_prefix))
          found.take(element.substr(token_protocol_prefix.size()));
      });
    } else if (!places.cookie.empty() && same_name(name, "Cookie")) {
      each_element(value, ';', [&](std::string_view element) {
        const auto [cookie, token] = split(element);
        if (cookie == places.cookie) cookies.push_back(token);
      });
    }
  }
  if (!places.query.empty()) {
    const auto target = what.target();
    const auto mark = target.find('?');
    each_element(mark == std::string_view::npos ? "" : target.substr(mark + 1), '&',
                 [&](std::string_view pair) {
                   if (is_parameter(pair, places.query)) found.take(*what.query(places.query));
                 });
  }
  if (!found.any() && !cookies.empty() && origin_listed(origins, what)) {
    for (const auto token : cookies) found.take(token);
  }
  return std::move(found).result();
}

request without_token(const request& what, const token_places& places) {
  std::vector<std::pair<std::string_view, std::string>> kept;
  for (const auto& [name, value] : what.headers()) {
    if (places.header && same_name(name, "Authorization")) continue;
    std::string rest{value};
    if (places.subprotocol && same_name(name, "Sec-WebSocket-Protocol")) {
      rest = without_elements(
          value, ',', [](std::string_view element) { return element.starts_with(token_protocol_prefix); });
      if (rest.empty()) continue;
    } else if (!places.cookie.empty() && same_name(name, "Cookie")) {
      rest = without_elements(
          value, ';', [&](std::string_view element) { return split(element).first == places.cookie; });
      if (rest.empty()) continue;
    }
    kept.emplace_back(name, std::move(rest));
  }
  const auto target =
      places.query.empty() ? std::string{what.target()} : redact_query(what.target(), places.query);
  request result{what.method(), target, {kept.begin(), kept.end()}, what.remote_address(), what.body()};
  result.set_client_certificate(what.share_client_certificate());
  return result;
}

}  // namespace skein::detail
