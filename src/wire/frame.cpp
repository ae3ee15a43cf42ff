#include "wire/frame.hpp"

namespace skein::detail {

std::string encode_control(opcode op, std::string_view payload) {
  payload = payload.substr(0, max_control_payload);
  std::string frame{encode_header(op, payload.size()).view()};
  frame += payload;
  return frame;
}

std::string encode_close(close_code code, std::string_view text) {
  if (code == close_code::none) return encode_control(opcode::close, {});
  text = cut_utf8(text, max_close_text);
  const auto value = static_cast<std::uint16_t>(code);
  std::string payload{static_cast<char>(value >> 8U), static_cast<char>(value & 0xffU)};
  payload += text;
  return encode_control(opcode::close, payload);
}

std::string_view cut_utf8(std::string_view text, std::size_t limit) noexcept {
  if (text.size() <= limit) return text;
  auto end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  return text.substr(0, end);
}

bool cut_utf8_tail(std::string_view text) noexcept {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80U) return false;
    if (byte < 0xc0U) continue;
    const std::size_t length = byte >= 0xf0U ? 4 : byte >= 0xe0U ? 3 : 2;
    return length > back;
  }
  return false;
}

}  // namespace skein::detail

namespace skein {

bool is_sendable(close_code code) noexcept {
  const auto value = static_cast<unsigned>(code);
  return (value >= 1000 && value <= 1003) || (value >= 1007 && value <= 1014) ||
         (value >= 3000 && value <= 4999);
}

}  // namespace skein
