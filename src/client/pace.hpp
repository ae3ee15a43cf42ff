#pragma once

// When a client may say something. Plain state; `now` is passed in, and what is drawn by chance, from 0 to 1.

#include "connection/deadline_queue.hpp"

#include <algorithm>
#include <chrono>

namespace skein::detail {

/// At once, until the server says "too fast". Then nothing is said for as long as it asked for, and one thing
/// at a time after that, as far apart as its refusals show.
class pace {
 public:
  /// From when on something may be said.
  [[nodiscard]] time_point opens(time_point now) noexcept {
    if (is_slow() && now >= opens_ && now - told_ >= forgotten_after) gap_ = duration{0};
    return opens_;
  }
  [[nodiscard]] bool is_slow() const noexcept { return gap_.count() > 0; }
  /// Whether there ever was a refusal.
  [[nodiscard]] bool is_wary() const noexcept { return wary_; }

  void said(time_point now, double drawn) noexcept {
    said_since_ = true;
    if (is_slow()) opens_ = deadline_after(now, stretched(gap_, drawn / 8));
  }

  void refused(duration retry_after, time_point now, double drawn) noexcept {
    wary_ = true;
    // What is left of the time for one message: that may be all of it, or hardly any. When one is refused
    // that came in its time, its gap and what is left make the whole. What had been said before is no news.
    const auto known = std::min<duration>(retry_after, longest_gap);
    const auto learnt = is_slow() && said_since_ ? gap_ + known : std::max(gap_, 2 * known);
    gap_ = std::min<duration>(learnt, longest_gap);
    opens_ = std::max(opens_, deadline_after(now, stretched(retry_after, drawn / 2)));
    told_ = now;
    said_since_ = false;
  }

 private:
  static constexpr std::chrono::seconds longest_gap{20};
  static constexpr std::chrono::minutes forgotten_after{1};

  static duration stretched(duration what, double by) noexcept {
    return what + std::chrono::duration_cast<duration>(std::chrono::duration<double>(what) * by);
  }

  duration gap_{0};
  time_point opens_ = time_point::min();
  time_point told_{};
  bool said_since_ = false;
  bool wary_ = false;
};

}  // namespace skein::detail
