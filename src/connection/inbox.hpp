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
    auto& all = *content_;
    all.bytes += what.size();
    if (!all.first && all.others.empty()) {
      all.first.emplace(std::move(what));
    } else {
      all.others.push_back(std::move(what));
    }
  }

  /// The oldest message; nothing if there is none.
  [[nodiscard]] std::optional<message> pop() {
    std::optional<message> next;
    if (!content_) return next;
    auto& [first, others, head, bytes] = *content_;
    if (first) {
      next.emplace(std::move(*first));
      first.reset();
    } else if (head < others.size()) {
      next.emplace(std::move(others[head++]));
    } else {
      return next;
    }
    bytes -= next->size();
    if (others.empty()) {
      // A connection that waits for its next message keeps nothing for it, unless it gets many at once.
      if (others.capacity() <= small_capacity) content_.reset();
      return next;
    }
    // Also while there are always more: a handler that is never ahead of its peer must not keep every place.
    if (head == others.size() || (head >= 32 && head * 2 >= others.size())) {
      others.erase(others.begin(), others.begin() + static_cast<std::ptrdiff_t>(head));
      head = 0;
      if (others.empty() && others.capacity() <= small_capacity) content_.reset();
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
  static constexpr std::size_t small_capacity = 4;  // and one more is kept apart
  struct content {
    static void* operator new(std::size_t size) { return take_block(size); }
    static void operator delete(void* block, std::size_t size) noexcept { give_back_block(block, size); }
    std::optional<message> first;  // most connections have one at a time; it is the oldest
    std::vector<message, pool_allocator<message>> others;
    std::size_t head = 0;   // how many of `others` were handed out
    std::size_t bytes = 0;  // of what waits
  };
  [[nodiscard]] std::size_t size() const noexcept {
    return content_ ? (content_->first ? 1U : 0U) + content_->others.size() - content_->head : 0;
  }
  [[nodiscard]] std::size_t bytes() const noexcept { return content_ ? content_->bytes : 0; }

  std::unique_ptr<content> content_;
};

}  // namespace skein::detail
