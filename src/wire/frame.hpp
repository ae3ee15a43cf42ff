#pragma once

// Frames as bytes: what RFC 6455 section 5.2 draws. No I/O, no state.

#include <skein/message.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace skein::detail {

inline constexpr std::size_t max_control_payload = 125;                 // RFC 6455 section 5.5
inline constexpr std::size_t max_close_text = max_control_payload - 2;  // behind the code
inline constexpr std::size_t max_header_size = 10;                      // a server's frames carry no mask

/// The header of an unmasked, final frame.
struct frame_header {
  std::array<char, max_header_size> bytes;
  std::uint8_t size;
  [[nodiscard]] std::string_view view() const noexcept { return {bytes.data(), size}; }
};

[[nodiscard]] frame_header encode_header(opcode op, std::uint64_t payload_size, bool rsv1 = false) noexcept;

/// A whole unmasked control frame; the payload is cut to 125 bytes.
[[nodiscard]] std::string encode_control(opcode op, std::string_view payload);

/// A whole unmasked close frame. `close_code::none` gives an empty payload; the text is cut to 123 bytes at a
/// character boundary (RFC 6455 section 5.5.1).
[[nodiscard]] std::string encode_close(close_code code, std::string_view text);

/// The longest prefix of `text` that has at most `limit` bytes and does not end inside a UTF-8 character.
[[nodiscard]] std::string_view cut_utf8(std::string_view text, std::size_t limit) noexcept;

/// Whether a text, valid up to there, ends inside a UTF-8 character.
[[nodiscard]] bool cut_utf8_tail(std::string_view text) noexcept;

}  // namespace skein::detail
