#pragma once

// Fetching a JWK set from the one address that is configured.

#include "wire/web_address.hpp"

#include <skein/authentication.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skein::detail {

/// Reads `https://host[:port][/path]`, and `http://` with a loopback host.
[[nodiscard]] std::optional<web_address> parse_jwks_address(std::string_view url);

/// The body of the answer to a GET, if that is 200. Throws `std::exception` whose `what` says why there is
/// none: no answer in time, a certificate that is not good, another status, a body past
/// `format.max_bytes`. The certificate is verified, and must be the host's.
[[nodiscard]] asio::awaitable<std::string> fetch_jwks(const web_address& from, const jwks_endpoint& how,
                                                      clock& time);

}  // namespace skein::detail
