#pragma once

// When to ping, and when a peer counts as dead. Plain state; `now` is passed in. Only a pong that answers the
// last ping proves life (RFC 6455 section 5.5.3: it carries the same payload): a peer that sends data but
// does not read cannot send it.

#include "connection/deadline_queue.hpp"

#include <skein/clock.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skein::detail {

struct heartbeat_times {
  duration interval{};  ///< between pings; zero: never ping
  duration timeout{};   ///< for the pong
};

/// Stays where it is while it waits for a pong.
class heartbeat {
 public:
  enum class action : std::uint8_t { none, ping, dead };

  /// `spread` is from 0 to 1: where in the first interval the first ping goes, so that connections that came
  /// together are not pinged together.
  void start(time_point now, const heartbeat_times& times, double spread) noexcept {
    if (times.interval == duration::zero()) return;
    const auto first = times.interval * (spread < 0.05 ? 0.05 : spread);
    due_ = deadline_after(now, std::chrono::duration_cast<duration>(first));
  }

  /// When `poll` has something to say.
  [[nodiscard]] time_point due() const noexcept { return due_; }

  [[nodiscard]] action poll(time_point now, const heartbeat_times& times) noexcept {
    if (now < due_) return action::none;
    if (awaiting_) return action::dead;
    awaiting_ = true;
    sent_at_ = now;
    due_ = deadline_after(now, times.timeout);
    ++sequence_;
    return action::ping;
  }

  /// The payload of the ping that `poll` asked for: eight bytes that nobody can guess. A peer that could
  /// would answer pings that it has not read.
  [[nodiscard]] std::string payload() const;

  /// The round trip, if this pong answers the last ping.
  [[nodiscard]] std::optional<duration> pong(std::string_view received, time_point now,
                                             const heartbeat_times& times) {
    if (!awaiting_ || received != payload()) return std::nullopt;
    awaiting_ = false;
    due_ = deadline_after(sent_at_, times.interval);
    if (due_ <= now) due_ = deadline_after(now, times.interval);
    return now - sent_at_;
  }

  /// The pong may have come, but this side has not read it yet: judge again an interval later. The same ping
  /// is sent once more, for the transport to acknowledge.
  void repeat(time_point now, const heartbeat_times& times) noexcept {
    due_ = deadline_after(now, times.interval);
  }
  /// When the first of the pings went that have not been answered.
  [[nodiscard]] time_point sent_at() const noexcept { return sent_at_; }

 private:
  time_point due_ = time_point::max();
  time_point sent_at_{};
  std::uint32_t sequence_ = 0;
  bool awaiting_ = false;
};

/// How many pings are allowed: `rate` a second on average, `burst` at once; rate zero: any number.
struct ping_limit {
  std::uint32_t rate = 0;
  std::uint32_t burst = 0;
};

/// A token bucket in eight bytes, because each connection has one.
class ping_budget {
 public:
  /// `share`: what is taken is this part of what a ping is, a tenth with 10.
  [[nodiscard]] bool take(time_point now, const ping_limit& limit, std::uint32_t share = 1) noexcept {
    if (limit.rate == 0) return true;
    if (limit.burst == 0) return false;
    const std::chrono::nanoseconds each{1'000'000'000 / limit.rate};
    full_at_ = std::max(full_at_, now);
    if (full_at_ - now > each * (limit.burst - 1)) return false;
    full_at_ += each / share;
    return true;
  }

 private:
  time_point full_at_{};  // when nothing of the burst will be used up
};

}  // namespace skein::detail
