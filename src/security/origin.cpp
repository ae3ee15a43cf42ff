// Which origins may connect: RFC 6454 for what an origin is, RFC 6455 section 10.2 for why it is checked.

#include <skein/handshake.hpp>

#include <algorithm>
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
  for (auto& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return out;
}

unsigned default_port(std::string_view scheme) noexcept {
  if (scheme == "https" || scheme == "wss") return 443;
  if (scheme == "http" || scheme == "ws") return 80;
  return 0;
}

bool is_host(std::string_view host) noexcept {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    const auto inside = host.substr(1, host.size() - 2);
    return std::all_of(inside.begin(), inside.end(), [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' ||
             c == '.';
    });
  }
  return !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '.' || c == '_';
  });
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
    if (error != std::errc{} || end != digits.data() + digits.size() || port == 0 || port > 65535)
      return std::nullopt;
  }
  if (!is_host(host)) return std::nullopt;
  return std::pair{lower(host), port};
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
  // proxy, and with it the default port.
  const auto origin = parse(value);
  if (!origin) return false;
  const auto host = parse_authority(what.header("Host"), default_port(origin->scheme));
  return host && host->first == origin->host && host->second == origin->port;
}

}  // namespace skein
