#include "payload.hpp"

#include <array>
#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace skein::bench {
namespace {

constexpr std::string_view digits_of_hex = "0123456789abcdef";

std::string filler(std::size_t bytes) {
  std::string text(bytes, ' ');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>('a' + i % 26);
  return text;
}

/// Quotes with numbers that differ, so that it compresses as such feeds do: three to five times.
std::string quotes(std::size_t bytes, std::size_t& token_at) {
  constexpr std::array<const char*, 8> symbols{"AAPL", "MSFT", "GOOG", "AMZN",
                                               "NVDA", "META", "TSLA", "ORCL"};
  std::string text = R"({"seq":")";
  token_at = text.size();
  text += R"(00000000","type":"quotes","items":[)";
  constexpr std::string_view before_padding = R"(],"pad":")";
  constexpr std::string_view end = R"("})";
  std::uint32_t random = 12345;
  const auto below = [&random](std::uint32_t limit) {
    random = random * 1664525 + 1013904223;
    return (random >> 8) % limit;
  };
  for (std::size_t i = 0;; ++i) {
    std::array<char, 160> item{};
    const auto price = 5000 + below(40000);
    const int length = std::snprintf(
        item.data(), item.size(),
        R"(%s{"symbol":"%s","bid":%u.%02u,"ask":%u.%02u,"size":%u,"venue":"X%u","time":"2024-03-0%uT%02u:%02u:%02u.%03uZ"})",
        i == 0 ? "" : ",", symbols[below(symbols.size())], price / 100, price % 100, (price + 3) / 100,
        (price + 3) % 100, 100 * (1 + below(50)), below(10), 1 + below(9), 9 + below(8), below(60), below(60),
        below(1000));
    if (text.size() + static_cast<std::size_t>(length) + before_padding.size() + end.size() > bytes) break;
    text.append(item.data(), static_cast<std::size_t>(length));
  }
  text += before_padding;
  text += filler(bytes - text.size() - end.size());
  text += end;
  return text;
}

}  // namespace

token make_token(std::uint32_t sequence) noexcept {
  std::array<char, token_bytes> text;
  for (std::size_t i = 0; i < token_bytes; ++i) text[i] = digits_of_hex[sequence >> (28 - 4 * i) & 0xfU];
  token digits = 0;
  std::memcpy(&digits, text.data(), token_bytes);
  return digits;
}

std::optional<std::uint32_t> parse_token(token digits) noexcept {
  std::array<char, token_bytes> text;
  std::memcpy(text.data(), &digits, token_bytes);
  std::uint32_t sequence = 0;
  for (const char digit : text) {
    const auto value = digits_of_hex.find(digit);
    if (value == std::string_view::npos) return std::nullopt;
    sequence = sequence << 4 | static_cast<std::uint32_t>(value);
  }
  return sequence;
}

payload::payload(std::size_t bytes, bool json) {
  if (bytes < (json ? min_json_bytes : token_bytes)) throw std::runtime_error{"the size is too small"};
  text_ = json ? quotes(bytes, token_at_) : filler(bytes);
}

std::string payload::with(token digits) const {
  auto message = text_;
  std::memcpy(message.data() + token_at_, &digits, token_bytes);
  return message;
}

token payload::token_of(std::string_view message) const noexcept {
  if (message.size() != text_.size()) return 0;
  token digits = 0;
  std::memcpy(&digits, message.data() + token_at_, token_bytes);
  return digits;
}

bool payload::same_filler(std::string_view message) const noexcept {
  const auto after = token_at_ + token_bytes;
  return message.size() == text_.size() && message.substr(0, token_at_) == text().substr(0, token_at_) &&
         message.substr(after) == text().substr(after);
}

premade_frame::premade_frame(const payload& body, opcode kind, std::uint32_t mask) {
  // A token of zero bytes leaves the mask itself in the frame.
  append_frame(bytes_, kind, false, body.with(0), mask);
  token_at_ = bytes_.size() - body.size() + body.token_at();
  std::memcpy(&token_mask_, bytes_.data() + token_at_, token_bytes);
}

void premade_frame::append_to(std::string& out, token digits) const {
  const auto begin = out.size();
  out.append(bytes_);
  digits ^= token_mask_;
  std::memcpy(out.data() + begin + token_at_, &digits, token_bytes);
}

}  // namespace skein::bench
