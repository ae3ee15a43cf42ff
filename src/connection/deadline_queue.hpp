#pragma once

// The deadlines of one shard, nearest first. Plain state; `now` is passed in. An entry lives in whoever it
// belongs to, and leaves the queue when that is destroyed.

#include <skein/clock.hpp>

#include <cstddef>
#include <utility>
#include <vector>

namespace skein::detail {

class deadline_queue;

/// `limit` after `now`, or never if that lies past what a time_point can hold.
[[nodiscard]] constexpr time_point deadline_after(time_point now, std::chrono::nanoseconds limit) noexcept {
  const auto room = time_point::max() - now;
  return limit < room ? now + std::chrono::duration_cast<duration>(limit) : time_point::max();
}

class deadline_entry {
 public:
  deadline_entry() = default;
  deadline_entry(const deadline_entry&) = delete;
  deadline_entry& operator=(const deadline_entry&) = delete;
  /// The deadline has passed; the entry is out of the queue and may be set again.
  virtual void on_deadline(time_point now) = 0;
  [[nodiscard]] time_point deadline() const noexcept { return when_; }
  [[nodiscard]] bool is_set() const noexcept { return queue_ != nullptr; }

 protected:
  inline ~deadline_entry();

 private:
  friend class deadline_queue;
  deadline_queue* queue_ = nullptr;
  std::size_t index_ = 0;
  time_point when_{};
};

class deadline_queue {
 public:
  deadline_queue() = default;
  deadline_queue(const deadline_queue&) = delete;
  deadline_queue& operator=(const deadline_queue&) = delete;
  ~deadline_queue() {
    for (auto* entry : heap_) entry->queue_ = nullptr;
  }

  void set(deadline_entry& entry, time_point when) {
    if (entry.queue_ == nullptr) {
      heap_.push_back(&entry);  // first, because it may throw
      entry.queue_ = this;
      entry.when_ = when;
      entry.index_ = heap_.size() - 1;
      up(entry.index_);
      return;
    }
    const bool sooner = when < entry.when_;
    entry.when_ = when;
    if (sooner) {
      up(entry.index_);
    } else {
      down(entry.index_);
    }
  }
  /// As `set`, unless the entry already comes sooner.
  void set_no_later(deadline_entry& entry, time_point when) {
    if (entry.queue_ == nullptr || when < entry.when_) set(entry, when);
  }
  void remove(deadline_entry& entry) noexcept {
    if (entry.queue_ == nullptr) return;
    entry.queue_ = nullptr;
    const auto hole = entry.index_;
    auto* last = heap_.back();
    heap_.pop_back();
    if (last == &entry) return;
    place(hole, last);
    up(hole);
    down(last->index_);
  }

  /// Calls everything that is due, nearest first. An entry that sets itself again must choose a time after
  /// `now`.
  void run(time_point now) {
    while (!heap_.empty() && heap_.front()->when_ <= now) {
      auto* entry = heap_.front();
      remove(*entry);
      entry->on_deadline(now);  // may destroy the entry, and set or remove any other
    }
  }

  [[nodiscard]] bool empty() const noexcept { return heap_.empty(); }
  /// When `run` has something to do; `time_point::max()` if never.
  [[nodiscard]] time_point next() const noexcept {
    return heap_.empty() ? time_point::max() : heap_.front()->when_;
  }
  [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }

 private:
  void place(std::size_t index, deadline_entry* entry) noexcept {
    heap_[index] = entry;
    entry->index_ = index;
  }
  void up(std::size_t index) noexcept {
    auto* entry = heap_[index];
    while (index > 0) {
      const auto parent = (index - 1) / 4;
      if (heap_[parent]->when_ <= entry->when_) break;
      place(index, heap_[parent]);
      index = parent;
    }
    place(index, entry);
  }
  void down(std::size_t index) noexcept {
    auto* entry = heap_[index];
    for (;;) {
      const auto first = index * 4 + 1;
      if (first >= heap_.size()) break;
      auto least = first;
      for (auto child = first + 1; child < heap_.size() && child < first + 4; ++child) {
        if (heap_[child]->when_ < heap_[least]->when_) least = child;
      }
      if (entry->when_ <= heap_[least]->when_) break;
      place(index, heap_[least]);
      index = least;
    }
    place(index, entry);
  }

  std::vector<deadline_entry*> heap_;  // a heap in which each entry has four children
};

inline deadline_entry::~deadline_entry() {
  if (queue_ != nullptr) queue_->remove(*this);
}

}  // namespace skein::detail
