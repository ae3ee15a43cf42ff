#pragma once

// RFC 6455 frames as a client sees them: it sends masked ones and receives unmasked ones. The decoder is
// inline because a fan-out run decodes millions of frames a second.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace skein::bench {

enum class opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

struct frame_header {
  opcode kind{};
  bool final = false;
  bool compressed = false;  // RSV1 of permessage-deflate
  std::size_t header_bytes = 0;
  std::size_t payload_bytes = 0;
};

enum class decoded : std::uint8_t { header, incomplete, invalid };

constexpr std::size_t max_payload_bytes = 64U * 1024 * 1024;

/// Decodes the header of a frame from a server; says nothing of whether the payload is there.
inline decoded decode_header(const char* data, std::size_t size, frame_header& header) noexcept {
  if (size < 2) return decoded::incomplete;
  const auto byte = [data](std::size_t i) { return static_cast<unsigned char>(data[i]); };
  const unsigned first = byte(0);
  std::uint64_t length = byte(1);
  if ((first & 0x30U) != 0 || length > 127) return decoded::invalid;  // unknown extension, or masked
  std::size_t at = 2;
  if (length >= 126) {
    const std::size_t extended = length == 126 ? 2 : 8;
    if (size < at + extended) return decoded::incomplete;
    length = 0;
    for (std::size_t i = 0; i < extended; ++i) length = length << 8 | byte(at++);
    if (length > max_payload_bytes) return decoded::invalid;
  }
  header.kind = static_cast<opcode>(first & 0x0fU);
  header.final = (first & 0x80U) != 0;
  header.compressed = (first & 0x40U) != 0;
  header.header_bytes = at;
  header.payload_bytes = static_cast<std::size_t>(length);
  if ((first & 0x08U) != 0 && (length > 125 || !header.final)) return decoded::invalid;
  return decoded::header;
}

/// Appends a whole masked frame.
inline void append_frame(std::string& out, opcode kind, bool compressed, std::string_view payload,
                         std::uint32_t mask) {
  out.push_back(static_cast<char>(0x80U | (compressed ? 0x40U : 0U) | static_cast<unsigned>(kind)));
  const auto size = payload.size();
  if (size < 126) {
    out.push_back(static_cast<char>(0x80U | size));
  } else {
    const bool wide = size > 0xffff;
    out.push_back(static_cast<char>(0x80U | (wide ? 127U : 126U)));
    for (int shift = wide ? 56 : 8; shift >= 0; shift -= 8) out.push_back(static_cast<char>(size >> shift));
  }
  const char key[4] = {static_cast<char>(mask), static_cast<char>(mask >> 8), static_cast<char>(mask >> 16),
                       static_cast<char>(mask >> 24)};
  out.append(key, 4);
  const auto begin = out.size();
  out.append(payload);
  for (std::size_t i = 0; i < size; ++i) out[begin + i] = static_cast<char>(out[begin + i] ^ key[i & 3]);
}

}  // namespace skein::bench
