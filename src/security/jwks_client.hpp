#pragma once

// Fetching a JWK set from the one address that is configured.

#include <skein/authentication.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skein::detail {

struct http_address {
  bool tls = true;
  std::string host;  ///< IPv6 without brackets
  std::string port;
  std::string target;    ///< path and query
  bool literal = false;  ///< the host is an address
  [[nodiscard]] std::string authority() const;
};

/// Reads `https://host[:port][/path]`, and `http://` with a loopback host. Nothing if it is written in any
/// other way: with a user, a fragment, a space.
[[nodiscard]] std::optional<http_address> parse_http_address(std::string_view url);

/// The body of the answer to a GET, if that is 200. Throws `std::exception` whose `what` says why there is
/// none: no answer in time, a certificate that is not good, another status, a body past
/// `format.max_bytes`. The certificate is verified, and must be the host's.
[[nodiscard]] asio::awaitable<std::string> fetch_jwks(const http_address& from, const jwks_endpoint& how,
                                                      clock& time);

}  // namespace skein::detail
