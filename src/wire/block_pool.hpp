#pragma once

// Small blocks of memory that a thread uses again and again: frames of the coroutines that a handler awaits,
// and the blocks of small messages. A block may be freed on another thread than took it; it then serves that
// one.

#include <cstddef>

namespace skein::detail {

/// As `operator new`, with the most recently freed block of about this size if the thread keeps one.
[[nodiscard]] void* take_block(std::size_t size);
/// `size` is what was asked for.
void give_back_block(void* block, std::size_t size) noexcept;

/// What a thread keeps at most, of all sizes together: the messages of one turn of a busy shard.
inline constexpr std::size_t kept_bytes = std::size_t{128} * 1024;
/// Sizes are rounded up to a multiple of this, as malloc would; what is larger than the largest class is not
/// kept.
inline constexpr std::size_t block_step = 16;
inline constexpr std::size_t block_classes = 24;

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
