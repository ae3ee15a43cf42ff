#pragma once

// The compressed form of a message: permessage-deflate (RFC 7692 section 7.2.1) without context takeover, so
// that one form serves every recipient.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace skein::detail {

/// The payload deflated on its own: raw deflate, flushed, without the final 00 00 ff ff. Nothing if that
/// would not make it smaller. `level` is zlib's, 1 to 9. Keeps one compressor for each thread.
[[nodiscard]] std::optional<std::string> deflate_message(std::string_view payload, int level);

/// Whether a peer that inflates with a window of 2^`window_bits` bytes can read what was deflated with the
/// largest window: a back-reference never reaches further than the message is long.
[[nodiscard]] constexpr bool window_suffices(std::size_t payload_size, int window_bits) noexcept {
  return window_bits >= 15 || payload_size <= (std::size_t{1} << static_cast<unsigned>(window_bits));
}

}  // namespace skein::detail
