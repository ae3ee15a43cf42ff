#pragma once

// Base64url as JOSE writes it (RFC 4648 section 5, RFC 7515 section 2): without padding, and exactly one text
// for any bytes.

#include <cstdint>
#include <string>
#include <string_view>

namespace skein::detail {

enum class base64_fault : std::uint8_t {
  none,
  character,      ///< outside the alphabet
  padding,        ///< `=`
  length,         ///< no bytes encode to this length
  trailing_bits,  ///< bits after the last byte are not zero
};

/// Replaces `out` with the bytes that `text` encodes; what `out` holds after a fault is of no use. The first
/// character that is not of the alphabet decides, then the length, then the trailing bits.
[[nodiscard]] base64_fault decode_base64url(std::string_view text, std::string& out);

}  // namespace skein::detail
