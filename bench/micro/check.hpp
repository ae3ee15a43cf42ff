#pragma once

// What every measurement does besides: it makes its input, and it looks at its result, so that nothing is
// fast because it was not done.

#include <skein/message.hpp>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace skein::micro {

/// Ends the program: a figure for something that does not work is of no use.
inline void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "skein-micro: not so: %s\n", what);
  std::exit(1);
}

/// Quotes of made-up instruments, as JSON.
[[nodiscard]] inline std::string json_of(std::size_t size) {
  std::string text = "[";
  for (unsigned i = 0; text.size() < size; ++i) {
    text += R"({"symbol":"S)" + std::to_string(i * 7919 % 1000) + R"(","price":)" +
            std::to_string(100 + i * 31 % 97) + "." + std::to_string(i * 53 % 90 + 10) + R"(,"size":)" +
            std::to_string(i * 100) + "},";
  }
  text.resize(size - 1);
  return text + "]";
}

/// A client's final frame, masked (RFC 6455 section 5.3).
[[nodiscard]] inline std::string client_frame(opcode op, std::string_view payload, bool rsv1 = false) {
  constexpr std::string_view key = "\x37\xfa\x21\x3d";
  std::string frame{static_cast<char>(0x80U | (rsv1 ? 0x40U : 0U) | static_cast<unsigned>(op))};
  if (payload.size() < 126) {
    frame += static_cast<char>(0x80U | payload.size());
  } else {
    check(payload.size() <= 0xffff, "the payload of a frame has at most 65,535 bytes here");
    frame += static_cast<char>(0xfe);
    frame += static_cast<char>(payload.size() >> 8U);
    frame += static_cast<char>(payload.size() & 0xffU);
  }
  frame += key;
  for (std::size_t i = 0; i < payload.size(); ++i) frame += static_cast<char>(payload[i] ^ key[i % 4]);
  return frame;
}

}  // namespace skein::micro
