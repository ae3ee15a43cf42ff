#pragma once

// Which one-time tokens have been accepted: a bounded set that forgets what has expired.

#include "security/siphash.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace skein::detail {

enum class one_time_answer : std::uint8_t { first, used, expired, full };

/// Thread-safe. A token is kept as a 64-bit hash under a secret: nobody can choose two that meet, and a
/// chance meeting, one in 2^64 for each pair, refuses a token that was good.
class one_time_set {
 public:
  one_time_set(std::size_t capacity, siphash_key secret) noexcept : capacity_(capacity), secret_(secret) {}

  /// Remembers this token until `until`, if it is the first time. Time that goes back brings nothing back to
  /// life: what has once been late enough to be forgotten is answered with `expired`.
  [[nodiscard]] one_time_answer take(std::string_view issuer, std::string_view id,
                                     std::chrono::sys_seconds until, std::chrono::sys_seconds now);

  [[nodiscard]] std::size_t size() const;

 private:
  using entry = std::pair<std::chrono::sys_seconds, std::uint64_t>;

  const std::size_t capacity_;
  const siphash_key secret_;
  mutable std::mutex mutex_;
  std::chrono::sys_seconds latest_ = std::chrono::sys_seconds::min();
  std::unordered_set<std::uint64_t> used_;
  std::vector<entry> by_expiry_;  // a heap, the first to expire in front
};

}  // namespace skein::detail
