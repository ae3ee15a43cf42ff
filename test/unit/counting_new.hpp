#pragma once

// The test program's own `operator new`, which counts for each thread: what other tests' threads do is
// nobody's business here.

#include <cstddef>

namespace counting {

struct count {
  std::size_t allocations = 0;
  std::size_t bytes = 0;
};
/// Whether anything is counted: not in a program that a sanitizer watches.
extern const bool counts;
/// So far, by this thread.
[[nodiscard]] count so_far() noexcept;

}  // namespace counting
