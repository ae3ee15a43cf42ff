#include "security/siphash.hpp"

#include <random>

namespace skein::detail {

siphash_key draw_siphash_key() {
  std::random_device source;
  const auto word = [&source] { return std::uint64_t{source()} << 32U | source(); };
  siphash_key key;
  key.first = word();
  key.second = word();
  return key;
}

}  // namespace skein::detail
