#pragma once

// Where tokens stand in a request: finding them, and taking them out.

#include <skein/authentication.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace skein::detail {

/// What stands in front of a token that is offered as a subprotocol.
inline constexpr std::string_view token_protocol_prefix = "skein.jwt.";
/// The subprotocol that a client may offer beside its token, where the route has none of its own: a browser
/// gives up if none of those that it offered is chosen.
inline constexpr std::string_view token_protocol = "skein.auth";

/// How many places of a request have a token, and the token of the last of them that was looked at.
struct found_token {
  std::optional<std::string> token;
  bool ambiguous = false;
};
[[nodiscard]] found_token find_token(const request& what, const token_places& places,
                                     const origin_policy& origins);

/// A copy without what `places` names: no Authorization header, no cookie of that name, no subprotocol that
/// is a token, and a query parameter's value replaced by `-`.
[[nodiscard]] request without_token(const request& what, const token_places& places);

/// Whether the origin policy names this request's origin, as opposed to letting it pass.
[[nodiscard]] bool origin_listed(const origin_policy& policy, const request& what);

}  // namespace skein::detail
