#pragma once

// What the small fuzz targets share: an input taken apart, and a way to stop with a reason.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace fuzz {

/// Stops the run if it is not so.
inline void require(bool holds, const char* otherwise) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", otherwise);
  std::abort();
}

/// Up to `count` lines, the last with whatever is left; fewer are filled up with empty ones. Each is a copy
/// without a byte to spare.
inline std::vector<std::string> lines(const std::uint8_t* data, std::size_t size, std::size_t count) {
  std::string_view rest{reinterpret_cast<const char*>(data), size};
  std::vector<std::string> all;
  while (all.size() + 1 < count) {
    const auto end = rest.find('\n');
    if (end == std::string_view::npos) break;
    all.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  all.emplace_back(rest);
  all.resize(count);
  return all;
}

}  // namespace fuzz
