#pragma once

// Messages that have arrived and wait for the handler. Plain state, one word wide while there is at most one.

#include "wire/block_pool.hpp"
#include "wire/frame_block.hpp"

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
  inbox() noexcept = default;
  inbox(const inbox&) = delete;
  inbox& operator=(const inbox&) = delete;
  ~inbox() { clear(); }

  void push(prepared_message what) {
    if (content_ == 0) {
      content_ = reinterpret_cast<std::uintptr_t>(what.take_block());
    } else {
      auto& all = has_list() ? *the_list() : make_list();
      all.push(std::move(what));
    }
  }

  /// The oldest message; nothing if there is none.
  [[nodiscard]] std::optional<message> pop() {
    if (content_ == 0) return std::nullopt;
    auto* const block = has_list() ? pop_listed() : take_only();
    if (block == nullptr) return std::nullopt;
    return message{block->type(), prepared_message{block}};
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
    if (empty()) clear();
  }

 private:
  struct list {
    list() = default;
    list(const list&) = delete;
    list& operator=(const list&) = delete;
    ~list() {
      for (auto next = head; next < all.size(); ++next) all[next]->release();
    }
    static void* operator new(std::size_t size) { return take_block(size); }
    static void operator delete(void* block, std::size_t size) noexcept { give_back_block(block, size); }

    void push(prepared_message what) {
      all.push_back(nullptr);  // for which there may be no memory
      all.back() = what.take_block();
      bytes += all.back()->payload().size();
    }

    std::vector<frame_block*, pool_allocator<frame_block*>> all;
    std::size_t head = 0;   // how many were handed out
    std::size_t bytes = 0;  // of what waits
  };
  static constexpr std::size_t small_capacity = 5;
  static constexpr std::uintptr_t list_bit = 1;

  [[nodiscard]] bool has_list() const noexcept { return (content_ & list_bit) != 0; }
  [[nodiscard]] list* the_list() const noexcept { return reinterpret_cast<list*>(content_ - list_bit); }
  [[nodiscard]] frame_block* the_only() const noexcept { return reinterpret_cast<frame_block*>(content_); }

  [[nodiscard]] frame_block* take_only() noexcept {
    auto* const block = the_only();
    content_ = 0;
    return block;
  }
  list& make_list() {
    auto made = std::make_unique<list>();
    made->all.reserve(small_capacity);
    made->push(prepared_message{take_only()});
    content_ = reinterpret_cast<std::uintptr_t>(made.release()) | list_bit;
    return *the_list();
  }
  [[nodiscard]] frame_block* pop_listed() noexcept {
    auto& [all, head, bytes] = *the_list();
    if (head == all.size()) return nullptr;
    auto* const next = all[head++];
    bytes -= next->payload().size();
    if (head == all.size()) {
      all.clear();
      head = 0;
      // A connection that waits for its next message keeps nothing for it, unless it gets many at once.
      if (all.capacity() <= small_capacity) clear();
    } else if (head >= 32 && head * 2 >= all.size()) {
      // A handler that is never ahead of its peer must not keep every place.
      all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(head));
      head = 0;
    }
    return next;
  }
  void clear() noexcept {
    if (has_list()) {
      delete the_list();
    } else if (content_ != 0) {
      the_only()->release();
    }
    content_ = 0;
  }

  [[nodiscard]] std::size_t size() const noexcept {
    return has_list() ? the_list()->all.size() - the_list()->head : content_ != 0 ? 1 : 0;
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return has_list() ? the_list()->bytes : content_ != 0 ? the_only()->payload().size() : 0;
  }

  // Nothing, the block of the only message, which most connections have one at a time, or a list, marked by
  // the lowest bit.
  std::uintptr_t content_ = 0;
};
static_assert(sizeof(inbox) == sizeof(void*), "an idle connection holds one");
static_assert(alignof(frame_block) > 1);

}  // namespace skein::detail
