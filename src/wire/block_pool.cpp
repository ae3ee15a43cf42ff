#include "wire/block_pool.hpp"

#include <array>
#include <new>

// A sanitizer must see each block come and go.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SKEIN_KEEP_BLOCKS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SKEIN_KEEP_BLOCKS 0
#endif
#endif
#ifndef SKEIN_KEEP_BLOCKS
#define SKEIN_KEEP_BLOCKS 1
#endif

namespace skein::detail {

#if SKEIN_KEEP_BLOCKS

namespace {

struct free_block {
  free_block* next;
};

// Trivial, because it is used by whatever is destroyed when the thread ends, in whatever order.
struct shelves {
  std::array<free_block*, block_classes> of_size;
  std::size_t bytes;
  bool open;  // there is a janitor, who has not been yet
  bool shut;  // the thread is about to end
};
thread_local constinit shelves kept{};

/// Frees what the thread kept.
struct janitor {
  janitor() noexcept { kept.open = true; }
  ~janitor() {
    kept.open = false;
    kept.shut = true;
    kept.bytes = 0;
    for (auto& first : kept.of_size) {
      while (auto* const block = first) {
        first = block->next;
        ::operator delete(block);
      }
    }
  }
};

void open_shelves() {
  thread_local const janitor comes_at_the_end;
  static_cast<void>(comes_at_the_end);
}

constexpr std::size_t class_of(std::size_t size) noexcept {
  return (size - 1) / block_step;
}

}  // namespace

void* take_block(std::size_t size) {
  const auto which = class_of(size);
  if (which >= block_classes) return ::operator new(size);
  const auto whole = (which + 1) * block_step;
  auto& first = kept.of_size[which];
  if (auto* const block = first) {
    first = block->next;
    kept.bytes -= whole;
    return block;
  }
  return ::operator new(whole);
}

void give_back_block(void* block, std::size_t size) noexcept {
  const auto which = class_of(size);
  if (which < block_classes) {
    if (!kept.open && !kept.shut) open_shelves();
    const auto whole = (which + 1) * block_step;
    if (kept.open && kept.bytes + whole <= kept_bytes) {
      auto& first = kept.of_size[which];
      first = ::new (block) free_block{first};
      kept.bytes += whole;
      return;
    }
  }
  ::operator delete(block);
}

#else

void* take_block(std::size_t size) {
  return ::operator new(size);
}

void give_back_block(void* block, std::size_t) noexcept {
  ::operator delete(block);
}

#endif

}  // namespace skein::detail
