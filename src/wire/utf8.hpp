#pragma once

// Whether bytes are UTF-8 (RFC 3629), told as they arrive: RFC 6455 section 8.1 asks for it in text messages
// and in the text of close frames. A byte that cannot be right is found as soon as it is seen, wherever the
// bytes were divided.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace skein::detail {

class utf8_validator {
 public:
  /// Takes the next bytes. False: the text is not UTF-8, whatever comes; nothing more may be given.
  [[nodiscard]] bool take(std::string_view bytes) noexcept;
  /// Takes bytes that are known to be ASCII; as `take`, but they are not looked at.
  [[nodiscard]] bool take_ascii(std::size_t size) const noexcept { return size == 0 || missing_ == 0; }
  /// Whether the text may end here, not inside a character.
  [[nodiscard]] bool complete() const noexcept { return missing_ == 0; }
  void reset() noexcept { *this = {}; }

 private:
  bool take_byte(unsigned char byte) noexcept;

  std::uint8_t missing_ = 0;  // bytes of the character that have not come
  std::uint8_t low_ = 0x80;   // the next byte's bounds: the second byte of a character has narrower ones
  std::uint8_t high_ = 0xbf;
};

}  // namespace skein::detail
