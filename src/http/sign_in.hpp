#pragma once

// Who a request belongs to: by the route's own authenticator, by the server's tokens, or by the
// certificate that the client showed.

#include "http/server_core.hpp"

#include <boost/asio/awaitable.hpp>

#include <string>
#include <string_view>

namespace skein::detail {

/// Whether nobody has to be asked: then `sign_in` completes without waiting, and `without_token` says the
/// same.
[[nodiscard]] inline bool nobody_to_ask(const route_entry& route, const server_options& options) noexcept {
  return !route.options.authenticator && !options.tokens;
}
/// Who says nothing may have shown a certificate (mutual TLS), or say it in the first message.
[[nodiscard]] admission without_token(const route_entry& route, const request& asked);

/// An identity or a refusal. An anonymous identity on a route where nobody may be anonymous means that the
/// token is to come with the first message. `why` says for a log what is wrong with a token. The arguments
/// outlive the call.
[[nodiscard]] asio::awaitable<admission> sign_in(const route_entry& route, const server_options& options,
                                                 const request& asked, std::string& why);

/// Why a token is not good: for a log.
[[nodiscard]] std::string_view reason_of(const token_answer& bad) noexcept;

}  // namespace skein::detail
