#pragma once

// Who a request belongs to: by the route's own authenticator, by the server's tokens, or by the
// certificate that the client showed.

#include "http/server_core.hpp"

#include <boost/asio/awaitable.hpp>

namespace skein::detail {

/// An identity or a refusal. An anonymous identity on a route where nobody may be anonymous means that the
/// token is to come with the first message. The arguments outlive the call.
[[nodiscard]] asio::awaitable<admission> sign_in(const route_entry& route, const server_options& options,
                                                 const request& asked);

}  // namespace skein::detail
