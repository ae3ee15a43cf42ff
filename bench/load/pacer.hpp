#pragma once

// The timetable of an open load: when the k-th message is due, whatever happened to those before it. Latency
// that is counted from there contains the time a message had to wait because the server held up its
// predecessors, which a closed load leaves out ("coordinated omission").

#include <cstdint>

namespace skein::bench {

/// What a load sends in one turn, at most: a timetable that nobody can keep must not keep a thread from its
/// sockets.
constexpr std::uint32_t most_slots_a_turn = 4096;

class pacer {
 public:
  pacer() = default;
  /// `per_second` messages, the first of them `offset` intervals after the start.
  explicit pacer(double per_second, double offset = 0) : interval_ns_(1e9 / per_second), offset_(offset) {}

  void start(std::int64_t now_ns) noexcept { begin_ns_ = now_ns; }

  [[nodiscard]] std::int64_t due_ns(std::uint64_t k) const noexcept {
    return begin_ns_ + static_cast<std::int64_t>((static_cast<double>(k) + offset_) * interval_ns_);
  }

  /// How many are due before that time.
  [[nodiscard]] std::uint64_t due_before(std::int64_t at_ns) const noexcept {
    const auto intervals = static_cast<double>(at_ns - begin_ns_) / interval_ns_ - offset_;
    auto k = intervals > 0 ? static_cast<std::uint64_t>(intervals) : 0;
    while (due_ns(k) < at_ns) ++k;  // what rounding has left, either way
    while (k != 0 && due_ns(k - 1) >= at_ns) --k;
    return k;
  }

 private:
  double interval_ns_ = 0;
  double offset_ = 0;
  std::int64_t begin_ns_ = 0;
};

}  // namespace skein::bench
