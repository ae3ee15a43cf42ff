#pragma once

// Authentication by the first message: for clients that cannot send a token with the handshake.

#include "http/refusal_log.hpp"

#include <skein/authentication.hpp>
#include <skein/server.hpp>

#include <memory>

namespace skein::detail {

/// A handler that waits for `{"type":"auth","token":"…"}`, and then runs `then`. Until then the connection is
/// sent nothing, and is told of to nobody. It is closed with 4001 if no good token comes within
/// `first_message_timeout`, with 1008 if anything else comes, with 1013 if there are no keys to verify it.
/// For one connection, which holds `place` until then.
[[nodiscard]] handler after_token(std::shared_ptr<token_authenticator> tokens,
                                  std::shared_ptr<refusal_log> refusals, std::shared_ptr<const handler> then,
                                  std::shared_ptr<void> place);

}  // namespace skein::detail
