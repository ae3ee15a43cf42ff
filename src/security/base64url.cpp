#include "security/base64url.hpp"

#include <array>
#include <cstddef>

namespace skein::detail {
namespace {

constexpr std::uint8_t outside = 64;

constexpr auto values = [] {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::array<std::uint8_t, 256> table{};
  table.fill(outside);
  for (std::size_t i = 0; i < alphabet.size(); ++i)
    table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
  return table;
}();

}  // namespace

base64_fault decode_base64url(std::string_view text, std::string& out) {
  out.clear();
  out.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    const auto value = values[static_cast<unsigned char>(c)];
    if (value == outside) return c == '=' ? base64_fault::padding : base64_fault::character;
    bits = (bits << 6U | value) & 0xffffU;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>(bits >> count & 0xffU));
    }
  }
  if (text.size() % 4 == 1) return base64_fault::length;
  if ((bits & ((1U << count) - 1U)) != 0) return base64_fault::trailing_bits;
  return base64_fault::none;
}

}  // namespace skein::detail
