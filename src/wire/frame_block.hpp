#pragma once

// What a `prepared_message` holds: the bytes of a message as they go on the wire, made once and shared by
// every recipient on every shard. Immutable but for the compressed form, which the first shard that needs it
// makes.

#include "wire/frame.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace skein::detail {

/// The two buffers of a frame; the payload may stand in the first.
struct frame_view {
  std::string_view head;
  std::string_view tail;
  [[nodiscard]] std::size_t size() const noexcept { return head.size() + tail.size(); }
};

class frame_block {
 public:
  /// The caller owns the first reference. What is small enough is copied from the string as well.
  [[nodiscard]] static frame_block* make(opcode type, std::string_view payload);
  [[nodiscard]] static frame_block* make(opcode type, std::string&& payload);

  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void retain(std::uint32_t times) noexcept { references_.fetch_add(times, std::memory_order_relaxed); }
  void release() noexcept {
    // Who holds the only reference needs no locked instruction: nobody else can make another.
    if (references_.load(std::memory_order_acquire) == 1 ||
        references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      destroy();
    }
  }

  [[nodiscard]] opcode type() const noexcept { return opcode_; }
  [[nodiscard]] std::string_view payload() const noexcept {
    return joined_ ? frame().substr(header_size_) : std::string_view{apart()};
  }
  [[nodiscard]] frame_view plain() const noexcept {
    if (joined_) return {frame(), {}};
    return {frame(), apart()};
  }
  /// The payload, moved out if nobody else holds this: whoever calls it only lets go of the block then.
  [[nodiscard]] std::string take_payload() {
    const bool alone = references_.load(std::memory_order_acquire) == 1;
    return alone && !joined_ ? std::move(apart()) : std::string{payload()};
  }
  /// The compressed frame, made now if it is the first time. Falls back to the plain one where compression
  /// does not pay. Thread-safe.
  [[nodiscard]] frame_view compressed(int level);
  /// Whether `compressed` really is smaller. Only after `compressed`.
  [[nodiscard]] bool has_compressed() const noexcept { return deflated_ != nullptr; }

 private:
  frame_block(opcode type, std::string_view joined) noexcept;
  frame_block(opcode type, std::string&& apart) noexcept;
  ~frame_block() {
    if (!joined_) std::destroy_at(&apart());
  }
  void destroy() noexcept;

  // Up to this size the payload is copied behind its header: one buffer for each message in the gather list
  // is worth more than the copy.
  static constexpr std::size_t join_limit = 4096;
  // What a frame takes on the wire is counted in 32 bits.
  static constexpr std::size_t max_payload = (std::size_t{1} << 32U) - 1024;

  // Behind this object, in the same allocation: the header and the payload if they are joined, else a string
  // with the payload and then the header. A small message takes two or three cache lines, and of the many
  // that wait for the end of a turn not all are near.

  [[nodiscard]] static std::size_t block_size(bool joined, std::size_t payload) noexcept {
    return sizeof(frame_block) + max_header_size + (joined ? payload : sizeof(std::string));
  }
  [[nodiscard]] std::string& apart() noexcept {
    return *std::launder(reinterpret_cast<std::string*>(this + 1));
  }
  [[nodiscard]] const std::string& apart() const noexcept {
    return *std::launder(reinterpret_cast<const std::string*>(this + 1));
  }
  [[nodiscard]] char* frame_place() noexcept {
    return reinterpret_cast<char*>(this + 1) + (joined_ ? 0 : sizeof(std::string));
  }
  /// The header, and the payload too if they are joined.
  [[nodiscard]] std::string_view frame() const noexcept {
    return {reinterpret_cast<const char*>(this + 1) + (joined_ ? 0 : sizeof(std::string)), frame_size_};
  }

  std::unique_ptr<std::string> deflated_;  // the whole frame
  std::once_flag deflate_once_;
  std::atomic<std::uint32_t> references_{1};
  std::uint32_t frame_size_;
  std::uint8_t header_size_;
  opcode opcode_;
  bool joined_;
};
static_assert(alignof(frame_block) >= alignof(std::string));

/// A counted reference to a frame block, one word wide.
class frame_ref {
 public:
  frame_ref() noexcept = default;
  explicit frame_ref(frame_block* block) noexcept : block_(block) {
    if (block_) block_->retain();
  }
  struct adopt_t {};
  frame_ref(frame_block* block, adopt_t) noexcept : block_(block) {}
  frame_ref(frame_ref&& other) noexcept : block_(other.block_) { other.block_ = nullptr; }
  frame_ref& operator=(frame_ref&& other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  frame_ref(const frame_ref&) = delete;
  frame_ref& operator=(const frame_ref&) = delete;
  ~frame_ref() {
    if (block_) block_->release();
  }
  [[nodiscard]] frame_block* get() const noexcept { return block_; }
  /// Lets go of the reference without giving it back.
  [[nodiscard]] frame_block* take() noexcept { return std::exchange(block_, nullptr); }
  frame_block* operator->() const noexcept { return block_; }
  explicit operator bool() const noexcept { return block_ != nullptr; }

 private:
  frame_block* block_ = nullptr;
};

}  // namespace skein::detail
