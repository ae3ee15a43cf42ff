#pragma once

// HTTP responses as bytes, and the refusals of the opening handshake.

#include <skein/manager.hpp>
#include <skein/server.hpp>

#include <string>
#include <string_view>

namespace skein::detail {

struct answer_form {
  bool keep_alive = true;
  bool head_only = false;  ///< the response to HEAD: Content-Length, but no content (RFC 9110 section 9.3.2)
};

/// A response as it goes on the wire, with Date, Server, Content-Length and Connection (RFC 9110, RFC 9112).
/// Line breaks in header values become spaces.
[[nodiscard]] std::string serialize(const response& what, answer_form form);

/// A refusal as a plain-text response.
[[nodiscard]] response to_response(refusal what);

/// 503 with a Retry-After of 2 to 10 seconds, drawn at random, so that the refused do not return together.
[[nodiscard]] refusal unavailable(std::string_view why);

}  // namespace skein::detail
