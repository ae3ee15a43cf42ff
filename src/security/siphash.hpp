#pragma once

// SipHash-2-4 (Aumasson and Bernstein, 2012): a short hash under a key. Whoever does not know the key cannot
// find inputs that collide.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace skein::detail {

struct siphash_key {
  std::uint64_t first = 0;
  std::uint64_t second = 0;
};

/// From the system's source of randomness; throws `std::runtime_error` if there is none.
[[nodiscard]] siphash_key draw_siphash_key();

class siphash {
 public:
  [[nodiscard]] static std::uint64_t of(const siphash_key& key, std::string_view bytes) noexcept {
    siphash state{key};
    auto rest = bytes;
    for (; rest.size() >= 8; rest.remove_prefix(8)) state.compress(little_endian(rest.substr(0, 8)));
    state.compress(little_endian(rest) | (static_cast<std::uint64_t>(bytes.size()) << 56U));
    state.v2_ ^= 0xffU;
    for (int i = 0; i < 4; ++i) state.round();
    return state.v0_ ^ state.v1_ ^ state.v2_ ^ state.v3_;
  }

 private:
  explicit siphash(const siphash_key& key) noexcept
      : v0_(key.first ^ 0x736f6d6570736575ULL),
        v1_(key.second ^ 0x646f72616e646f6dULL),
        v2_(key.first ^ 0x6c7967656e657261ULL),
        v3_(key.second ^ 0x7465646279746573ULL) {}

  /// Up to eight bytes, the first the lowest.
  [[nodiscard]] static std::uint64_t little_endian(std::string_view bytes) noexcept {
    std::uint64_t word = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) word = word << 8U | static_cast<unsigned char>(bytes[i]);
    return word;
  }

  void compress(std::uint64_t word) noexcept {
    v3_ ^= word;
    round();
    round();
    v0_ ^= word;
  }

  void round() noexcept {
    v0_ += v1_;
    v2_ += v3_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ = std::rotl(v0_, 32);
    v2_ += v1_;
    v0_ += v3_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v2_ = std::rotl(v2_, 32);
  }

  std::uint64_t v0_, v1_, v2_, v3_;
};

}  // namespace skein::detail
