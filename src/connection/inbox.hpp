#pragma once

// Messages that have arrived and wait for the handler. Plain state, a pointer wide while there has been none.

#include "wire/block_pool.hpp"

#include <skein/manager.hpp>
#include <skein/message.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace skein::detail {

class inbox {
 public:
  void push(message what) {
    if (!content_) content_ = std::make_unique<content>();
    content_->bytes += what.size();
    content_->messages.push_back(std::move(what));
  }

  /// The oldest message; nothing if there is none.
  [[nodiscard]] std::optional<message> pop() {
    if (empty()) return std::nullopt;
    auto& messages = content_->messages;
    auto& head = content_->head;
    std::optional<message> next = std::move(messages[head++]);
    content_->bytes -= next->size();
    // Also while there are always more: a handler that is never ahead of its peer must not keep every place.
    if (head == messages.size() || (head >= 32 && head * 2 >= messages.size())) {
      messages.erase(messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(head));
      head = 0;
      // A connection that waits for its next message keeps nothing for it, unless it gets many at once.
      if (messages.empty() && messages.capacity() <= small_capacity) content_.reset();
    }
    return next;
  }

  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] bool full(const connection_limits& limits) const noexcept {
    return size() >= limits.receive_queue_messages || bytes() >= limits.receive_queue_bytes;
  }
  /// Whether what was full may be filled again: reading goes on half a queue later than it stopped.
  [[nodiscard]] bool half_empty(const connection_limits& limits) const noexcept {
    return size() <= limits.receive_queue_messages / 2 && bytes() <= limits.receive_queue_bytes / 2;
  }

  /// Gives memory back that an idle connection does not need.
  void shrink() noexcept {
    if (empty()) content_.reset();
  }

 private:
  static constexpr std::size_t small_capacity = 4;
  struct content {
    static void* operator new(std::size_t size) { return take_block(size); }
    static void operator delete(void* block, std::size_t size) noexcept { give_back_block(block, size); }
    std::vector<message, pool_allocator<message>> messages;
    std::size_t head = 0;   // how many of `messages` were handed out
    std::size_t bytes = 0;  // of the others
  };
  [[nodiscard]] std::size_t size() const noexcept {
    return content_ ? content_->messages.size() - content_->head : 0;
  }
  [[nodiscard]] std::size_t bytes() const noexcept { return content_ ? content_->bytes : 0; }

  std::unique_ptr<content> content_;
};

}  // namespace skein::detail
