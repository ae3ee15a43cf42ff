#pragma once

// The timetable of an open load: when the k-th message is due, whatever happened to those before it. Latency
// that is counted from there contains the time a message had to wait because the server held up its
// predecessors, which a closed load leaves out ("coordinated omission").

#include <cstdint>

namespace skein::bench {

class pacer {
 public:
  pacer() = default;
  /// `per_second` messages, the first of them `offset` intervals after the start.
  explicit pacer(double per_second, double offset = 0) : interval_ns_(1e9 / per_second), offset_(offset) {}

  void start(std::int64_t now_ns) noexcept { begin_ns_ = now_ns; }

  [[nodiscard]] std::int64_t due_ns(std::uint64_t k) const noexcept {
    return begin_ns_ + static_cast<std::int64_t>((static_cast<double>(k) + offset_) * interval_ns_);
  }

 private:
  double interval_ns_ = 0;
  double offset_ = 0;
  std::int64_t begin_ns_ = 0;
};

}  // namespace skein::bench
