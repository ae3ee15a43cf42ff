#pragma once

// The rules of the opening handshake on the server's side (RFC 6455 section 4.2).

#include "hub/hub.hpp"

#include <skein/server.hpp>

#include <optional>
#include <string>
#include <utility>

namespace skein::detail {

/// Whether the request asks for an upgrade to WebSocket at all (RFC 9110 section 7.8; HTTP/1.0 cannot).
[[nodiscard]] bool asks_for_upgrade(const request& what, unsigned version) noexcept;

/// Why this request cannot be upgraded, before anybody is asked who it is from; nothing if it can.
[[nodiscard]] std::optional<std::pair<refusal, refusal_reason>> check_upgrade(const request& what,
                                                                              unsigned version,
                                                                              const route_options& route,
                                                                              const server_options& options,
                                                                              const hub_shared& hub);

/// 400: what claims to be an opening handshake is not well formed.
[[nodiscard]] refusal bad_handshake();

/// The first of the route's subprotocols that the client offers; empty if none (RFC 6455 section 4.2.2).
[[nodiscard]] std::string choose_subprotocol(const request& what, const route_options& route);

}  // namespace skein::detail
