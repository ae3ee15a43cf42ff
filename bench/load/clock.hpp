#pragma once

// One clock for the whole load generator, as plain nanoseconds: cheap to keep in rings and histograms.

#include <chrono>
#include <cstdint>

namespace skein::bench {

inline std::int64_t now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

inline std::int64_t to_ns(double seconds) noexcept {
  return static_cast<std::int64_t>(seconds * 1e9);
}

inline double to_seconds(std::int64_t ns) noexcept {
  return static_cast<double>(ns) / 1e9;
}

}  // namespace skein::bench
