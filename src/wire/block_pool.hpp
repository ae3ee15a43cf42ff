#pragma once

// Small blocks of memory that a thread uses again and again: frames of the coroutines that a handler awaits,
// and the blocks of small messages. A block may be freed on another thread than took it; it then serves that
// one.

#include "wire/sanitizer.hpp"

#include <array>
#include <cstddef>
#include <new>

namespace skein::detail {

/// What a thread keeps at most, of all sizes together: the messages of one turn of a busy shard.
inline constexpr std::size_t kept_bytes = std::size_t{512} * 1024;
/// Sizes are rounded up to a multiple of this, as malloc would; what is larger than the largest class is not
/// kept.
inline constexpr std::size_t block_step = 16;
inline constexpr std::size_t block_classes = 24;

#if !SKEIN_SANITIZED

struct free_block {
  free_block* next;
};

/// What a thread keeps. Trivial, because it is used by whatever is destroyed when the thread ends, in
/// whatever order.
struct block_shelves {
  std::array<free_block*, block_classes> of_size;
  std::size_t bytes;
  bool open;  // there is a janitor, who has not been yet
  bool shut;  // the thread is about to end
};
extern thread_local constinit block_shelves kept_blocks;

/// The first time that the thread has something to keep. Whether it may.
bool open_shelves() noexcept;

constexpr std::size_t block_class(std::size_t size) noexcept {
  return (size - 1) / block_step;
}

/// As `operator new`, with the most recently freed block of about this size if the thread keeps one.
[[nodiscard]] inline void* take_block(std::size_t size) {
  const auto which = block_class(size);
  if (which >= block_classes) return ::operator new(size);
  const auto whole = (which + 1) * block_step;
  auto& first = kept_blocks.of_size[which];
  if (auto* const block = first) {
    first = block->next;
    kept_blocks.bytes -= whole;
    return block;
  }
  return ::operator new(whole);
}

/// `size` is what was asked for.
inline void give_back_block(void* block, std::size_t size) noexcept {
  const auto which = block_class(size);
  const auto whole = (which + 1) * block_step;
  if (which < block_classes && kept_blocks.bytes + whole <= kept_bytes &&
      (kept_blocks.open || open_shelves())) {
    auto& first = kept_blocks.of_size[which];
    first = ::new (block) free_block{first};
    kept_blocks.bytes += whole;
    return;
  }
  ::operator delete(block);
}

#else

[[nodiscard]] inline void* take_block(std::size_t size) {
  return ::operator new(size);
}
inline void give_back_block(void* block, std::size_t) noexcept {
  ::operator delete(block);
}

#endif

/// For containers that come and go with each message.
template <class T>
struct pool_allocator {
  using value_type = T;
  pool_allocator() noexcept = default;
  template <class U>
  explicit pool_allocator(const pool_allocator<U>&) noexcept {}
  [[nodiscard]] T* allocate(std::size_t count) { return static_cast<T*>(take_block(count * sizeof(T))); }
  void deallocate(T* block, std::size_t count) noexcept { give_back_block(block, count * sizeof(T)); }
  friend bool operator==(const pool_allocator&, const pool_allocator&) noexcept { return true; }
};

}  // namespace skein::detail
