#include "wire/utf8.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace skein::detail {
namespace {

// Sixteen bytes at once, in whatever registers the machine has: a vector of the compiler, no intrinsics.
constexpr std::size_t width = 16;
using block = std::uint8_t __attribute__((vector_size(width)));

block load(const unsigned char* from) noexcept {
  block result;
  std::memcpy(&result, from, width);
  return result;
}

bool any(block bits) noexcept {
  std::array<std::uint64_t, 2> words;
  std::memcpy(words.data(), &bits, width);
  return (words[0] | words[1]) != 0;
}

block mask(auto comparison) noexcept {
  block result;
  std::memcpy(&result, &comparison, width);
  return result;
}

bool is_ascii(block bytes) noexcept {
  return !any(bytes & 0x80);
}

/// What is wrong with a block, given the same bytes one, two and three places earlier; zero: nothing. RFC
/// 3629 section 4, byte by byte: a byte continues a character exactly if one before asks for it, and the
/// second byte of a character is not too small (an overlong form) or too large (a surrogate, or past
/// U+10FFFF).
block errors(block now, block one, block two, block three) noexcept {
  const block continues = mask(now >= 0x80) & mask(now < 0xc0);
  const block expected = mask(one >= 0xc0) | mask(two >= 0xe0) | mask(three >= 0xf0);
  const block never = mask(now == 0xc0) | mask(now == 0xc1) | mask(now > 0xf4);
  const block narrow = (mask(one == 0xe0) & mask(now < 0xa0)) | (mask(one == 0xed) & mask(now > 0x9f)) |
                       (mask(one == 0xf0) & mask(now < 0x90)) | (mask(one == 0xf4) & mask(now > 0x8f));
  return (continues ^ expected) | never | narrow;
}

/// The same for the first block behind the end of a character.
block first_errors(const unsigned char* at) noexcept {
  std::array<unsigned char, 3 + width> padded{};
  std::memcpy(padded.data() + 3, at, width);
  const auto* const begin = padded.data() + 3;
  return errors(load(begin), load(begin - 1), load(begin - 2), load(begin - 3));
}

/// How many bytes back the last, unfinished character begins; 0 if it is finished.
std::size_t unfinished(const unsigned char* end) noexcept {
  if (end[-1] >= 0xc0) return 1;
  if (end[-2] >= 0xe0) return 2;
  return end[-3] >= 0xf0 ? 3 : 0;
}

/// Takes whole blocks, from the beginning of a character to the beginning of another. Returns where, or null
/// if there is an error.
const unsigned char* take_blocks(const unsigned char* at, const unsigned char* end) noexcept {
  while (static_cast<std::size_t>(end - at) >= width) {
    if (is_ascii(load(at))) {
      at += width;
      continue;
    }
    block wrong = first_errors(at);
    at += width;
    // As long as there is no long run of ASCII again. The errors are looked at now and then.
    while (static_cast<std::size_t>(end - at) >= width) {
      const auto now = load(at);
      if (is_ascii(now) && unfinished(at) == 0) break;
      wrong |= errors(now, load(at - 1), load(at - 2), load(at - 3));
      at += width;
    }
    if (any(wrong)) return nullptr;
    at -= unfinished(at);
  }
  return at;
}

}  // namespace

bool utf8_validator::take_byte(unsigned char byte) noexcept {
  if (missing_ != 0) {
    if (byte < low_ || byte > high_) return false;
    --missing_;
    low_ = 0x80;
    high_ = 0xbf;
    return true;
  }
  if (byte < 0x80) return true;
  if (byte < 0xc2 || byte > 0xf4) return false;  // a continuation, an overlong form, past U+10FFFF
  if (byte < 0xe0) {
    missing_ = 1;
  } else if (byte < 0xf0) {
    missing_ = 2;
    if (byte == 0xe0) low_ = 0xa0;   // less would fit into two bytes
    if (byte == 0xed) high_ = 0x9f;  // surrogates
  } else {
    missing_ = 3;
    if (byte == 0xf0) low_ = 0x90;   // less would fit into three bytes
    if (byte == 0xf4) high_ = 0x8f;  // past U+10FFFF
  }
  return true;
}

bool utf8_validator::take(std::string_view bytes) noexcept {
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto* const end = at + bytes.size();
  while (missing_ != 0 && at != end) {
    if (!take_byte(*at++)) return false;
  }
  at = take_blocks(at, end);
  if (at == nullptr) return bytes.empty();
  while (at != end) {
    if (!take_byte(*at++)) return false;
  }
  return true;
}

}  // namespace skein::detail
