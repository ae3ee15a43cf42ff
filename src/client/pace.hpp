#pragma once

// When a client may say something. Plain state; `now` is passed in, and what is drawn by chance, from 0 to 1.

#include "connection/deadline_queue.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace skein::detail {

/// As fast as the server says that it takes it; at once if it says nothing. If it says "too fast" all the
/// same, nothing is said for as long as it asked for, and one thing at a time after that, as far apart as its
/// refusals show.
class pace {
 public:
  /// What a new connection takes: so many messages a second, and so many at once. 0: as many as can be.
  void allow(std::uint64_t per_second, std::uint64_t burst) noexcept {
    constexpr std::uint64_t most = 1'000'000;  // as good as no limit
    each_ = duration{0};
    if (per_second != 0 && per_second <= most)
      each_ = duration{std::chrono::seconds{1}} / static_cast<duration::rep>(per_second);
    each_ += each_ / 16;  // what left in time may arrive closer together
    const auto in_store = std::clamp<std::uint64_t>(burst, 3, most) - 3;  // a token may have taken one
    spare_ = each_ * static_cast<duration::rep>(in_store);
    full_at_ = time_point::min();
  }
  /// From when on something may be said.
  [[nodiscard]] time_point opens(time_point now) noexcept {
    if (is_slow() && now >= opens_ && now - told_ >= forgotten_after) gap_ = duration{0};
    return full_at_ == time_point::min() ? opens_ : std::max(opens_, full_at_ - spare_);
  }
  [[nodiscard]] bool is_slow() const noexcept { return gap_.count() > 0; }
  /// Whether there ever was a refusal.
  [[nodiscard]] bool is_wary() const noexcept { return wary_; }

  void said(time_point now, double drawn) noexcept {
    said_since_ = true;
    if (each_.count() > 0) full_at_ = std::max(full_at_, now) + each_;
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

  duration each_{0};
  duration spare_{0};
  time_point full_at_ = time_point::min();  // when all that may be said at once may be said at once again
  duration gap_{0};
  time_point opens_ = time_point::min();
  time_point told_{};
  bool said_since_ = false;
  bool wary_ = false;
};

}  // namespace skein::detail
