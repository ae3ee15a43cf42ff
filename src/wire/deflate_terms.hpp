#pragma once

// Agreeing on permessage-deflate (RFC 7692 section 7.1): the client's offers, and the server's answer.

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace skein::detail {

struct deflate_terms {
  int server_window_bits = 15;        ///< 9 to 15
  int client_window_bits = 15;        ///< 8 to 15
  bool answer_server_window = false;  ///< it was offered
  bool answer_client_window = false;  ///< it was offered with a value

  /// What the response's Sec-WebSocket-Extensions says. Neither side keeps a context between messages.
  [[nodiscard]] std::string answer() const;
};

/// The first offer that can be accepted, of all Sec-WebSocket-Extensions headers in their order. Nothing if
/// there is none, or if a header is not written as RFC 6455 section 9.1 says.
[[nodiscard]] std::optional<deflate_terms> choose_offer(std::span<const std::string_view> headers);

}  // namespace skein::detail
