#pragma once

// Fixed work for the library, whose instructions are counted. Each workload is the same at every run: one
// thread, connections in memory, a clock that stands still. Only the public interface is used, so that a
// workload means the same whatever the library is made of.

#include <skein/manager.hpp>

#include <cstdint>
#include <span>
#include <string_view>

namespace skein::guard {

struct workload {
  std::string_view name;
  std::string_view operation;  ///< what is counted
  /// Does the work, looks at its result, and returns the number of operations. Throws if the result is wrong.
  std::uint64_t (*run)(engine reads);
  bool each_engine = true;  ///< whether what the engine does is counted
};

[[nodiscard]] std::span<const workload> workloads();

}  // namespace skein::guard
