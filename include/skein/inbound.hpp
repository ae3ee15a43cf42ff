#pragma once

// How much may arrive, and how fast: rates as they are written in an option, and the token bucket that holds
// something to them. Everything here is plain state without a lock; the time is passed in. A bucket belongs
// to whoever owns the connection and is used on one thread at a time.

#include <skein/clock.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace skein {

/// How much is allowed: `per_second` on average, `burst` at once. Every value is valid; no arithmetic on one
/// overflows. Immutable but for assignment.
class rate {
 public:
  /// Off: everything is allowed.
  constexpr rate() noexcept = default;
  /// `per_second` 0: off, whatever the burst. `burst` 0: as much as a second brings.
  constexpr explicit rate(std::uint32_t per_second, std::uint32_t burst = 0) noexcept
      : per_second_(per_second), burst_(burst == 0 || per_second == 0 ? per_second : burst) {}

  [[nodiscard]] constexpr bool is_off() const noexcept { return per_second_ == 0; }
  [[nodiscard]] constexpr std::uint32_t per_second() const noexcept { return per_second_; }
  [[nodiscard]] constexpr std::uint32_t burst() const noexcept { return burst_; }

  friend constexpr bool operator==(const rate&, const rate&) noexcept = default;

 private:
  std::uint32_t per_second_ = 0;
  std::uint32_t burst_ = 0;
};

/// Reads `100/s`, `100/s:200` (with a burst of 200) or `off`. Numbers are decimal, may end in KiB, MiB or
/// GiB, and lie between 1 and 4,294,967,295; no space, no sign. Nothing if it is written in any other way.
[[nodiscard]] std::optional<rate> parse_rate(std::string_view text) noexcept;

/// As `parse_rate` reads it, in plain digits; the burst only if it differs from a second's worth.
[[nodiscard]] std::string to_string(const rate& limit);

/// Whether something may pass, and if not, when.
struct rate_verdict {
  /// Zero: allowed. `duration::max()`: never, for it costs more than the whole burst. Otherwise how long
  /// until the same would be allowed, if nothing else is taken meanwhile; rounded up to a nanosecond.
  duration wait{};

  [[nodiscard]] constexpr bool allowed() const noexcept { return wait == duration::zero(); }
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return allowed(); }
  /// `wait` in milliseconds, rounded up; `milliseconds::max()` for never.
  [[nodiscard]] constexpr std::chrono::milliseconds retry_after() const noexcept {
    if (wait == duration::max()) return std::chrono::milliseconds::max();
    return std::chrono::ceil<std::chrono::milliseconds>(wait);
  }

  friend constexpr bool operator==(const rate_verdict&, const rate_verdict&) noexcept = default;
};

/// Holds something to a rate. Counts exactly, in whole billionths of a token, so that it never drifts however
/// often and at whatever times it is asked. Full when new. 16 bytes: the rate is passed in, because thousands
/// of buckets share one.
///
/// A time before the latest that was seen counts as that time. A changed rate is legal between any two calls:
/// what was taken stays taken.
class token_bucket {
 public:
  /// Takes `cost` tokens, or nothing if that many are not there. A cost of zero is always allowed.
  [[nodiscard]] rate_verdict take(const rate& limit, std::uint64_t cost, time_point now) noexcept {
    if (limit.is_off()) return {};
    refill(limit, now);
    const auto verdict = judge(limit, cost, taken_);
    if (verdict.allowed()) taken_ += cost * units;  // no overflow: cost is at most a burst
    return verdict;
  }

  /// What `take` would answer; takes nothing.
  [[nodiscard]] rate_verdict peek(const rate& limit, std::uint64_t cost, time_point now) const noexcept {
    if (limit.is_off()) return {};
    return judge(limit, cost, taken_at(limit, now));
  }

  /// Whether nothing is missing: such a bucket and a new one behave alike.
  [[nodiscard]] bool is_full(const rate& limit, time_point now) const noexcept {
    return limit.is_off() || taken_at(limit, now) == 0;
  }

  /// Billionths of a token that are missing from a full bucket; for comparing buckets of the same rate.
  [[nodiscard]] std::uint64_t missing(const rate& limit, time_point now) const noexcept {
    return limit.is_off() ? 0 : taken_at(limit, now);
  }
  /// `missing` of an empty bucket.
  [[nodiscard]] static constexpr std::uint64_t most_missing(const rate& limit) noexcept {
    return std::uint64_t{limit.burst()} * units;
  }

 private:
  static_assert(std::is_same_v<duration, std::chrono::nanoseconds>, "a token has one unit per nanosecond");
  // A rate of one a second brings one unit each nanosecond. A burst of 2^32 - 1 tokens is 4.3e18 units, and
  // fits four times.
  static constexpr std::uint64_t units = 1'000'000'000;

  [[nodiscard]] std::uint64_t taken_at(const rate& limit, time_point now) const noexcept {
    if (now <= seen_) return taken_;
    // In unsigned arithmetic, because the two ends of time are further apart than a duration can say.
    const auto passed = static_cast<std::uint64_t>(now.time_since_epoch().count()) -
                        static_cast<std::uint64_t>(seen_.time_since_epoch().count());
    std::uint64_t refilled = 0;
    if (__builtin_mul_overflow(passed, std::uint64_t{limit.per_second()}, &refilled)) return 0;
    return refilled < taken_ ? taken_ - refilled : 0;
  }

  void refill(const rate& limit, time_point now) noexcept {
    taken_ = taken_at(limit, now);
    if (now > seen_) seen_ = now;
  }

  [[nodiscard]] static rate_verdict judge(const rate& limit, std::uint64_t cost,
                                          std::uint64_t taken) noexcept {
    if (cost == 0) return {};
    if (cost > limit.burst()) return {duration::max()};
    const auto after = taken + cost * units;
    if (after <= most_missing(limit)) return {};
    const auto lacking = after - most_missing(limit);
    const auto per_second = std::uint64_t{limit.per_second()};
    const auto wait = lacking / per_second + (lacking % per_second != 0 ? 1 : 0);
    return {duration{static_cast<duration::rep>(wait)}};  // two bursts at most: 8.6e18 of 9.2e18
  }

  std::uint64_t taken_ = 0;  // units missing from a full bucket
  time_point seen_ = time_point::min();
};

}  // namespace skein
