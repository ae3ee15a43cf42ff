#pragma once

// A log-linear histogram: 64 buckets for each doubling, so a percentile is at most 1.6 % too high, from one
// nanosecond to centuries, in 30 KB. Recording is an increment. Not for several threads: merge afterwards.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace skein::bench {

class histogram {
 public:
  void record(std::uint64_t value, std::uint64_t times = 1) noexcept {
    counts_[index_of(value)] += times;
    total_ += times;
    max_ = std::max(max_, value);
  }

  void merge(const histogram& other) noexcept {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
    max_ = std::max(max_, other.max_);
  }

  [[nodiscard]] std::uint64_t total() const noexcept { return total_; }
  [[nodiscard]] std::uint64_t max() const noexcept { return max_; }

  /// The smallest bucket edge below or at which `percent` of the values lie; 0 when nothing was recorded.
  [[nodiscard]] std::uint64_t percentile(double percent) const noexcept {
    const auto wanted = static_cast<std::uint64_t>(std::ceil(static_cast<double>(total_) * percent / 100));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= wanted && seen != 0) return std::min(upper_edge(i), max_);
    }
    return 0;
  }

  /// Calls `visit(upper_edge, count)` for each bucket that is not empty, from the lowest.
  template <class Visit>
  void for_each_bucket(Visit visit) const {
    for (std::size_t i = 0; i < counts_.size(); ++i)
      if (counts_[i] != 0) visit(upper_edge(i), counts_[i]);
  }

 private:
  static constexpr unsigned precision = 6;  // 2^6 buckets for each doubling
  static constexpr std::size_t linear = std::size_t{2} << precision;
  static constexpr std::size_t buckets = ((64U - precision - 1U) << precision) + linear;

  static constexpr std::size_t index_of(std::uint64_t value) noexcept {
    if (value < linear) return value;
    const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - (precision + 1);
    return (std::size_t{shift} << precision) + (value >> shift);
  }

  static constexpr std::uint64_t upper_edge(std::size_t index) noexcept {
    if (index < linear) return index;
    const unsigned shift = static_cast<unsigned>(index >> precision) - 1;
    return ((index - (std::size_t{shift} << precision) + 1) << shift) - 1;
  }

  std::array<std::uint64_t, buckets> counts_{};
  std::uint64_t total_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace skein::bench
