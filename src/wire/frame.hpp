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

/// Writes such a header, of at most `max_header_size` bytes, to where it belongs; returns its size. Inline,
/// and without a copy: it is made for each message.
inline std::uint8_t write_header(char* place, opcode op, std::uint64_t payload_size, bool rsv1) noexcept {
  place[0] = static_cast<char>(0x80U | (rsv1 ? 0x40U : 0U) | static_cast<unsigned>(op));
  if (payload_size < 126) {
    place[1] = static_cast<char>(payload_size);
    return 2;
  }
  if (payload_size <= 0xffff) {
    place[1] = 126;
    place[2] = static_cast<char>(payload_size >> 8U);
    place[3] = static_cast<char>(payload_size & 0xffU);
    return 4;
  }
  place[1] = 127;
  for (unsigned i = 0; i < 8; ++i) place[2 + i] = static_cast<char>(payload_size >> (56U - 8U * i));
  return 10;
}

[[nodiscard]] inline frame_header encode_header(opcode op, std::uint64_t payload_size,
                                                bool rsv1 = false) noexcept {
  frame_header header{};
  header.size = write_header(header.bytes.data(), op, payload_size, rsv1);
  return header;
}

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
