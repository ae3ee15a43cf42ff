#include "connection/send_channel.hpp"

#include <cstring>
#include <memory>
#include <utility>

namespace skein::detail {

send_channel::admission send_channel::push(item& what) {
  if (!has_room_for(what.wire_size)) return admission::full;
  append(what);
  return admission::queued;
}

send_channel::admission send_channel::push(item& what, std::string_view key, item& replaced_item) {
  what.keyed = true;
  if (!keys_) keys_ = std::make_unique<std::unordered_map<std::string, std::uint64_t>>();
  std::string name{key};
  if (const auto found = keys_->find(name); found != keys_->end()) {
    const auto sequence = found->second;
    const bool waiting = sequence >= head_ && sequence < tail_ && at(sequence).keyed;
    const bool begun = sequence == head_ && front_offset_ > 0;
    if (waiting && !begun) {
      auto& place = at(sequence);
      const auto bytes_then = bytes_ - place.wire_size + what.wire_size;
      if (bytes_then > limits_.bytes && bytes_then > bytes_ && size() > 1) return admission::full;
      bytes_ = bytes_then;
      replaced_item = std::exchange(place, std::move(what));
      return admission::replaced;
    }
  }
  if (!has_room_for(what.wire_size)) return admission::full;
  // Entries whose message has left are dropped when the channel runs empty; a channel that never does is
  // swept here.
  if (keys_->size() >= 2 * limits_.messages) {
    std::erase_if(*keys_, [this](const auto& entry) { return entry.second < head_; });
  }
  (*keys_)[std::move(name)] = tail_;
  append(what);
  return admission::queued;
}

std::size_t send_channel::gather(std::span<iovec> buffers, std::size_t max_bytes,
                                 std::span<char> scratch) const noexcept {
  const auto view_of = [](const item& what) {
    return what.compressed ? what.frame->compressed(0) : what.frame->plain();
  };
  if (is_one_message() && buffers.size() >= 2) {  // the common case
    const auto [head, tail] = view_of(at(head_));
    buffers[0] = {const_cast<char*>(head.data()), head.size()};
    if (tail.empty()) return 1;
    buffers[1] = {const_cast<char*>(tail.data()), tail.size()};
    return 2;
  }
  constexpr std::size_t small = 1024;
  std::size_t count = 0;
  std::size_t total = 0;
  std::size_t copied = 0;
  bool open_copy = false;  // the last buffer ends where the next copy goes
  const auto add = [&](std::string_view bytes) {
    if (bytes.empty()) return;
    buffers[count++] = {const_cast<char*>(bytes.data()), bytes.size()};
    total += bytes.size();
    open_copy = false;
  };
  const auto add_copy = [&](std::string_view bytes) {
    if (!open_copy) buffers[count++] = {scratch.data() + copied, 0};
    std::memcpy(scratch.data() + copied, bytes.data(), bytes.size());
    buffers[count - 1].iov_len += bytes.size();
    copied += bytes.size();
    total += bytes.size();
    open_copy = true;
  };
  if (close_begun()) {
    add(std::string_view{special_->close}.substr(special_->close_offset));
    return count;
  }
  auto next = head_;
  if (front_offset_ > 0) {
    const auto view = view_of(at(next++));
    if (front_offset_ < view.head.size()) {
      add(view.head.substr(front_offset_));
      add(view.tail);
    } else {
      add(view.tail.substr(front_offset_ - view.head.size()));
    }
  }
  if (control_bytes() > 0) add(std::string_view{special_->control}.substr(special_->control_offset));
  const bool alone = tail_ - next == 1;
  // A frame may need two buffers.
  while (next != tail_ && count + 2 <= buffers.size() && total < max_bytes) {
    const auto view = view_of(at(next++));
    if (!alone && view.tail.empty() && view.head.size() <= small &&
        view.head.size() <= scratch.size() - copied) {
      add_copy(view.head);
    } else {
      add(view.head);
      add(view.tail);
    }
  }
  if (next == tail_ && count < buffers.size() && close_queued()) {
    add(std::string_view{special_->close}.substr(special_->close_offset));
  }
  return count;
}

send_channel::item* send_channel::make_ring(std::size_t capacity) {
  auto* const made = static_cast<item*>(take_block(capacity * sizeof(item)));
  std::uninitialized_default_construct_n(made, capacity);
  return made;
}

void send_channel::append(item& what) {
  if (!ring_) {  // a channel that has rested
    ring_ = make_ring(first_capacity);
    mask_ = first_capacity - 1;
  } else if (size() == std::size_t{mask_} + 1) {
    grow();
  }
  bytes_ += what.wire_size;
  at(tail_) = std::move(what);
  ++tail_;
}

void send_channel::grow() {
  const auto capacity = (std::size_t{mask_} + 1) * 2;
  auto* const larger = make_ring(capacity);
  for (auto sequence = head_; sequence != tail_; ++sequence) {
    larger[static_cast<std::size_t>(sequence & (capacity - 1))] = std::move(at(sequence));
  }
  drop_ring();
  ring_ = larger;
  mask_ = static_cast<std::uint32_t>(capacity - 1);
}

void send_channel::drop_ring() noexcept {
  if (!ring_) return;
  const auto capacity = std::size_t{mask_} + 1;
  std::destroy_n(ring_, capacity);
  give_back_block(std::exchange(ring_, nullptr), capacity * sizeof(item));
  mask_ = 0;
}

void send_channel::shrink() noexcept {
  if (!empty()) return;
  drop_ring();
  keys_.reset();
}

}  // namespace skein::detail
