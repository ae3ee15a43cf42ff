#pragma once

// Addresses of servers, as URLs: `https://host[:port]/path` (RFC 3986), and `wss://` (RFC 6455 section 3).

#include <optional>
#include <string>
#include <string_view>

namespace skein::detail {

struct web_address {
  bool tls = true;
  std::string host;  ///< IPv6 without brackets
  std::string port;
  std::string target;    ///< path and query
  bool literal = false;  ///< the host is an address
  /// The host, and the port if it is not the scheme's own.
  [[nodiscard]] std::string authority() const;
};

/// Reads `plain://host[:port][/path]` or the same with the scheme `secure`. Nothing if it is written in any
/// other way: with a user, a fragment, a space.
[[nodiscard]] std::optional<web_address> parse_web_address(std::string_view url, std::string_view plain,
                                                           std::string_view secure);

}  // namespace skein::detail
