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

/// Lets one allocation of this thread fail: the first is number 1; 0: none, which is how it begins.
void let_fail(std::size_t number) noexcept;
/// Whether that allocation has been asked for.
[[nodiscard]] bool has_failed() noexcept;

}  // namespace counting
