// Which origins may connect: RFC 6454 for what an origin is, RFC 6455 section 10.2 for why it is checked.

#include "wire/http_text.hpp"

#include <skein/handshake.hpp>

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>

namespace skein {
namespace {

struct parsed_origin {
  std::string scheme;
  std::string host;
  unsigned port = 0;
  friend bool operator==(const parsed_origin&, const parsed_origin&) = default;
};

std::string lower(std::string_view text) {
  std::string out{text};
  std::ranges::transform(out, out.begin(), [](char c) { return detail::lower(c); });
  return out;
}

unsigned default_port(std::string_view scheme) noexcept {
  if (scheme == "https" || scheme == "wss") return 443;
  if (scheme == "http" || scheme == "ws") return 80;
  return 0;
}

/// A registered name or an IPv4 address: labels of 1 to 63 characters, 253 in all, a dot at the end or none.
bool is_name(std::string_view host) noexcept {
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty() || host.size() > 253) return false;
  for (;;) {
    const auto dot = std::min(host.find('.'), host.size());
    const auto label = host.substr(0, dot);
    const bool plain = std::all_of(label.begin(), label.end(), [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
             c == '_';
    });
    if (label.empty() || label.size() > 63 || !plain) return false;
    if (dot == host.size()) return true;
    host.remove_prefix(dot + 1);
  }
}

/// An IPv6 address in brackets, as browsers write it (RFC 5952), so that every way of writing one compares
/// equal.
std::optional<std::string> canonical_ipv6(std::string_view host) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const auto inside = host.substr(1, host.size() - 2);
  if (inside.size() >= text.size() ||
      inside.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos)
    return std::nullopt;
  std::copy(inside.begin(), inside.end(), text.begin());
  in6_addr address{};
  if (::inet_pton(AF_INET6, text.data(), &address) != 1) return std::nullopt;
  if (::inet_ntop(AF_INET6, &address, text.data(), text.size()) == nullptr) return std::nullopt;
  return "[" + std::string{text.data()} + "]";
}

std::optional<std::string> canonical_host(std::string_view host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') return canonical_ipv6(host);
  if (!is_name(host)) return std::nullopt;
  return lower(host);
}

/// `host[:port]`; `fallback` where no port is written.
std::optional<std::pair<std::string, unsigned>> parse_authority(std::string_view text, unsigned fallback) {
  auto host = text;
  auto port = fallback;
  const auto bracket = text.rfind(']');
  const auto colon = text.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    host = text.substr(0, colon);
    const auto digits = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc{} || end != digits.data() + digits.size() || digits.starts_with('0') ||
        port > 65535)
      return std::nullopt;
  }
  auto name = canonical_host(host);
  if (!name) return std::nullopt;
  return std::pair{std::move(*name), port};
}

std::optional<parsed_origin> parse(std::string_view origin) {
  const auto separator = origin.find("://");
  if (separator == std::string_view::npos || separator == 0) return std::nullopt;
  const auto scheme = origin.substr(0, separator);
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto scheme_char = [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
  };
  if (!letter(scheme.front()) || !std::all_of(scheme.begin(), scheme.end(), scheme_char)) return std::nullopt;
  auto name = lower(scheme);
  auto authority = parse_authority(origin.substr(separator + 3), default_port(name));
  if (!authority) return std::nullopt;
  return parsed_origin{std::move(name), std::move(authority->first), authority->second};
}

}  // namespace

bool is_origin(std::string_view origin) noexcept {
  try {
    return parse(origin).has_value();
  } catch (...) {
    return false;
  }
}

bool origin_allowed(const origin_policy& policy, const request& what) {
  const auto count = what.count("Origin");
  if (count > 1) return false;
  const auto value = what.header("Origin");
  if (policy.accept) return policy.accept(value, what);
  if (count == 0) return true;
  if (!policy.allowed.empty()) {
    if (std::find(policy.allowed.begin(), policy.allowed.end(), "*") != policy.allowed.end()) return true;
    const auto origin = parse(value);
    return origin && std::any_of(policy.allowed.begin(), policy.allowed.end(),
                                 [&](const std::string& entry) { return parse(entry) == origin; });
  }
  // The same origin as far as this server can tell: host and port. The scheme may have changed at a TLS
  // proxy, and with it the default port. A scheme that is not the web's has no page of this host.
  const auto origin = parse(value);
  if (!origin || default_port(origin->scheme) == 0 || what.count("Host") != 1) return false;
  const auto host = parse_authority(what.header("Host"), default_port(origin->scheme));
  return host && host->first == origin->host && host->second == origin->port;
}

}  // namespace skein
