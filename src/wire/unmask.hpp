#pragma once

// Unmasking (RFC 6455 section 5.3), in words, together with the question whether everything is ASCII: text
// mostly is, and then needs no second look.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace skein::detail {

/// The key as the four bytes that came, in memory's order, to be applied from the payload's next byte on.
[[nodiscard]] inline std::uint32_t advance_key(std::uint32_t key, std::size_t bytes) noexcept {
  const auto bits = static_cast<int>(bytes % 4) * 8;
  return std::endian::native == std::endian::little ? std::rotr(key, bits) : std::rotl(key, bits);
}

/// Unmasks bytes where they stand. Whether all of them are ASCII then.
inline bool unmask(std::span<char> bytes, std::uint32_t key) noexcept {
  constexpr std::uint64_t high_bits = 0x8080808080808080U;
  const std::uint64_t wide = std::uint64_t{key} << 32U | key;
  auto* at = bytes.data();
  auto left = bytes.size();
  std::uint64_t seen = 0;
  // Sixteen bytes in a register of whatever machine this is, four of them a step: a vector of the compiler's,
  // because a loop over words is not made into vectors at every level of optimisation.
  using lanes = std::uint64_t __attribute__((vector_size(16)));
  const lanes keys{wide, wide};
  lanes all{};
  const auto step_of_lanes = [&](std::size_t offset) {
    lanes some;
    std::memcpy(&some, at + offset, sizeof(some));
    some ^= keys;
    all |= some;
    std::memcpy(at + offset, &some, sizeof(some));
  };
  for (; left >= 64; at += 64, left -= 64) {
    step_of_lanes(0);
    step_of_lanes(16);
    step_of_lanes(32);
    step_of_lanes(48);
  }
  for (; left >= 16; at += 16, left -= 16) step_of_lanes(0);
  seen |= all[0] | all[1];
  const auto step = [&]<class Word>(Word mask) {
    Word word;
    std::memcpy(&word, at, sizeof(word));
    word = static_cast<Word>(word ^ mask);
    std::memcpy(at, &word, sizeof(word));
    seen |= word;
    at += sizeof(word);
    left -= sizeof(word);
  };
  while (left >= 8) step(wide);
  if (left >= 4) step(key);
  if (left != 0) {
    unsigned char key_bytes[4];
    std::memcpy(key_bytes, &key, sizeof(key));
    for (std::size_t i = 0; i < left; ++i) {
      const auto byte = static_cast<unsigned char>(static_cast<unsigned char>(at[i]) ^ key_bytes[i]);
      at[i] = static_cast<char>(byte);
      seen |= byte;
    }
  }
  return (seen & high_bits) == 0;
}

}  // namespace skein::detail
