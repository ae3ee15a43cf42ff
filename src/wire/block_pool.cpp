#include "wire/block_pool.hpp"

namespace skein::detail {

#if !SKEIN_SANITIZED

thread_local constinit block_shelves kept_blocks{};

namespace {

/// Frees what the thread kept.
struct janitor {
  janitor() noexcept { kept_blocks.open = true; }
  ~janitor() {
    kept_blocks.open = false;
    kept_blocks.shut = true;
    kept_blocks.bytes = 0;
    for (auto& first : kept_blocks.of_size) {
      while (auto* const block = first) {
        first = block->next;
        ::operator delete(block);
      }
    }
  }
};

}  // namespace

bool open_shelves() noexcept {
  if (kept_blocks.shut) return false;
  thread_local const janitor comes_at_the_end;
  static_cast<void>(comes_at_the_end);
  return kept_blocks.open;
}

#endif

}  // namespace skein::detail
