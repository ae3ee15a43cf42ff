#include "connection/heartbeat.hpp"

#include "security/siphash.hpp"

#include <cstring>

namespace skein::detail {

std::string heartbeat::payload() const {
  static const siphash_key secret = draw_siphash_key();
  struct {
    std::uintptr_t whose;
    std::uint64_t which;
  } const input{reinterpret_cast<std::uintptr_t>(this), sequence_};
  const std::uint64_t hash = siphash::of(secret, {reinterpret_cast<const char*>(&input), sizeof(input)});
  std::string bytes(sizeof(hash), '\0');
  std::memcpy(bytes.data(), &hash, sizeof(hash));
  return bytes;
}

}  // namespace skein::detail
