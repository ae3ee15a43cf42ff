#pragma once

// The bounded channel through which everything sent to one connection passes. Plain state without I/O: the
// connection asks what to write next (`gather`), writes it, and says how much went (`consume`).
//
// The order on the wire: a frame that has been begun is finished first; then control frames; then messages in
// the order in which they were taken; then the close frame, after which nothing follows (RFC 6455
// section 5.5.1).

#include "wire/block_pool.hpp"
#include "wire/frame_block.hpp"

#include <skein/delivery.hpp>

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace skein::detail {

/// Learns what became of one queued message. It must live until it has been told about every message it was
/// given with.
class outcome_sink {
 public:
  /// `replaced`: the message was dropped because a newer one of its key took its place.
  virtual void settle(outcome what, bool replaced) noexcept = 0;

 protected:
  ~outcome_sink() = default;
};

struct channel_limits {
  std::size_t messages = 1024;
  std::size_t bytes = 1024 * 1024;
};

class send_channel {
 public:
  /// The limits outlive the channel.
  explicit send_channel(const channel_limits& limits) noexcept : limits_(limits) {}
  ~send_channel() { drop_ring(); }
  send_channel(const send_channel&) = delete;
  send_channel& operator=(const send_channel&) = delete;

  struct item {
    frame_ref frame;
    outcome_sink* sink = nullptr;
    std::uint32_t wire_size = 0;
    bool compressed = false;
    bool keyed = false;
  };
  enum class admission : std::uint8_t {
    queued,
    replaced,  ///< queued in the place of an older message of its key, which `replaced_item` now holds
    full,      ///< not taken; the item is untouched
  };

  /// Takes a message if there is room: both limits must hold, but an empty channel takes one message of any
  /// size.
  [[nodiscard]] admission push(item& what);
  /// As `push`; a waiting message of the same key, unless it has been begun, is replaced even if the channel
  /// is full.
  [[nodiscard]] admission push(item& what, std::string_view key, item& replaced_item);
  [[nodiscard]] bool has_room_for(std::size_t wire_size) const noexcept {
    return size() < limits_.messages && (bytes_ + wire_size <= limits_.bytes || empty());
  }

  /// Control frames do not count towards the limits; how many there may be is bounded by who asks for them.
  /// Ignored once the close frame has been begun.
  void push_control(std::string_view frame) {
    if (!close_begun()) special().control += frame;
  }
  [[nodiscard]] std::size_t control_bytes() const noexcept { return special_ ? special_->control.size() : 0; }
  /// The last frame. A second one is ignored.
  void push_close(std::string frame) {
    if (!close_queued()) special().close = std::move(frame);
  }

  /// Fills `buffers` with what is to be written next, in order, at most `max_bytes` unless one buffer alone
  /// is larger. Small frames that stand in a row are copied into `scratch`, where there is room: the kernel
  /// takes one buffer more quickly than many. The scratch memory must stay as it is until the write.
  [[nodiscard]] std::size_t gather(std::span<iovec> buffers, std::size_t max_bytes,
                                   std::span<char> scratch) const noexcept;
  /// The first `n` bytes of what `gather` gave were written. `written(item&)` is called for every message
  /// that went completely.
  template <class Written>
  void consume(std::size_t n, Written&& written);

  /// Takes the messages away that have not been begun; `each(item&)` gets them. Control and close frames
  /// stay.
  template <class Each>
  void discard_waiting(Each&& each) {
    const auto keep = front_offset_ > 0 ? 1U : 0U;
    while (size() > keep) {
      --tail_;
      item last = std::move(at(tail_));
      bytes_ -= last.wire_size;
      each(last);
    }
    if (keys_) keys_->clear();
  }
  /// Takes everything away.
  template <class Each>
  void clear(Each&& each) {
    front_offset_ = 0;
    discard_waiting(each);
    if (special_) special_->control.clear();
    if (special_) special_->control_offset = 0;
  }

  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(tail_ - head_); }
  [[nodiscard]] bool empty() const noexcept { return head_ == tail_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool anything_to_write() const noexcept {
    return !empty() ||
           (special_ && (!special_->control.empty() || (!special_->close.empty() && !close_written_)));
  }
  [[nodiscard]] bool close_queued() const noexcept { return special_ && !special_->close.empty(); }
  [[nodiscard]] bool close_begun() const noexcept {
    return close_written_ || (special_ && special_->close_offset > 0);
  }
  [[nodiscard]] bool close_written() const noexcept { return close_written_; }

  /// Brings the place of the next message into the cache.
  void prefetch() const noexcept {
    if (ring_) __builtin_prefetch(&at(tail_), 1);
  }

  /// Gives memory back that an idle connection does not need.
  void shrink() noexcept;
  /// As `shrink`, but only what is made again at once: to be called whenever everything has been written.
  void rest() noexcept {
    if (!ring_ || !empty() || mask_ + 1 != first_capacity) return;
    // The items are empty: there is nothing to destroy.
    give_back_block(std::exchange(ring_, nullptr), first_capacity * sizeof(item));
    mask_ = 0;
  }

 private:
  /// Control frames and the close frame, which a connection seldom has.
  struct special_frames {
    std::string control;
    std::string close;
    std::size_t control_offset = 0;  // of `control` that has been written
    std::size_t close_offset = 0;
  };
  [[nodiscard]] special_frames& special() {
    if (!special_) special_ = std::make_unique<special_frames>();
    return *special_;
  }
  /// Whether one message is all that there is, and nothing of it has been written.
  [[nodiscard]] bool is_one_message() const noexcept {
    return size() == 1 && front_offset_ == 0 && !special_;
  }
  [[nodiscard]] item& at(std::uint64_t sequence) const noexcept { return ring_[sequence & mask_]; }
  static constexpr std::uint32_t first_capacity = 4;
  [[nodiscard]] static item* make_ring(std::size_t capacity);
  void grow();
  void drop_ring() noexcept;
  void append(item& what);
  /// Takes the message at the head out.
  item pop_front() noexcept {
    item front = std::move(at(head_));
    ++head_;
    bytes_ -= front.wire_size;
    if (head_ == tail_ && keys_) keys_->clear();
    return front;
  }

  const channel_limits& limits_;
  item* ring_ = nullptr;  // from the pool
  std::uint64_t head_ = 0;
  std::uint64_t tail_ = 0;
  std::size_t bytes_ = 0;
  std::unique_ptr<special_frames> special_;  // only while there are any
  // Where the waiting message of each key stands. Entries outlive their message; a lookup checks.
  std::unique_ptr<std::unordered_map<std::string, std::uint64_t>> keys_;
  std::uint32_t mask_ = 0;          // capacity - 1, if there is a ring
  std::uint32_t front_offset_ = 0;  // of the message at the head that has been written
  bool close_written_ = false;
};

template <class Written>
void send_channel::consume(std::size_t n, Written&& written) {
  if (is_one_message() && n == at(head_).wire_size) {  // the common case
    item done = pop_front();
    written(done);
    return;
  }
  const auto take_front = [&] {
    const auto rest = at(head_).wire_size - front_offset_;
    if (n < rest) {
      front_offset_ += static_cast<std::uint32_t>(n);
      n = 0;
      return;
    }
    n -= rest;
    front_offset_ = 0;
    item done = pop_front();
    written(done);
  };
  if (front_offset_ > 0 && n > 0) take_front();
  if (n > 0 && control_bytes() > 0) {
    auto& special = *special_;
    const auto rest = special.control.size() - special.control_offset;
    const auto taken = n < rest ? n : rest;
    n -= taken;
    special.control_offset += taken;
    if (special.control_offset == special.control.size()) {
      special.control.clear();
      special.control_offset = 0;
      if (!close_queued()) special_.reset();
    }
  }
  while (n > 0 && !empty()) take_front();
  if (n > 0 && close_queued()) {
    special_->close_offset += n;
    close_written_ = special_->close_offset == special_->close.size();
  }
}

}  // namespace skein::detail
