#pragma once

// When to ping, and when a peer counts as dead. Plain state; `now` is passed in. Only a pong that answers the
// last ping proves life (RFC 6455 section 5.5.3: it carries the same payload): a peer that sends data but
// does not read cannot send it.

#include <skein/clock.hpp>

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace skein::detail {

class heartbeat {
 public:
  enum class action : std::uint8_t { none, ping, dead };

  /// `interval` zero: never ping. `spread` is from 0 to 1: where in the first interval the first ping goes,
  /// so that connections that came together are not pinged together.
  void start(time_point now, duration interval, duration timeout, double spread) noexcept {
    interval_ = interval;
    timeout_ = timeout;
    due_ = interval == duration::zero()
               ? time_point::max()
               : now + std::chrono::duration_cast<duration>(interval * (spread < 0.05 ? 0.05 : spread));
  }

  /// When `poll` has something to say.
  [[nodiscard]] time_point due() const noexcept { return due_; }
  [[nodiscard]] bool awaiting_pong() const noexcept { return awaiting_; }

  [[nodiscard]] action poll(time_point now) noexcept {
    if (now < due_) return action::none;
    if (awaiting_) return action::dead;
    awaiting_ = true;
    sent_at_ = now;
    due_ = now + timeout_;
    ++sequence_;
    return action::ping;
  }

  /// The payload of the ping that `poll` asked for.
  [[nodiscard]] std::string_view payload() noexcept {
    const auto end = std::to_chars(text_.data(), text_.data() + text_.size(), sequence_).ptr;
    return {text_.data(), static_cast<std::size_t>(end - text_.data())};
  }

  /// The round trip, if this pong answers the last ping.
  [[nodiscard]] std::optional<duration> pong(std::string_view payload_received, time_point now) noexcept {
    if (!awaiting_ || payload_received != payload()) return std::nullopt;
    awaiting_ = false;
    due_ = sent_at_ + interval_;
    if (due_ <= now) due_ = now + interval_;
    return now - sent_at_;
  }

  /// The pong cannot be seen, because this side does not read at the moment: judge later.
  void postpone(time_point now) noexcept { due_ = now + timeout_; }

 private:
  duration interval_{};
  duration timeout_{};
  time_point due_ = time_point::max();
  time_point sent_at_{};
  std::uint32_t sequence_ = 0;
  std::array<char, 10> text_{};
  bool awaiting_ = false;
};

/// How many events are allowed: `rate` a second on average, `burst` at once. Plain state; `now` is passed in.
class token_bucket {
 public:
  /// `rate` zero: everything is allowed.
  void start(time_point now, std::uint32_t rate, std::uint32_t burst) noexcept {
    rate_ = rate;
    burst_ = burst;
    tokens_ = burst;
    refilled_ = now;
  }
  [[nodiscard]] bool take(time_point now) noexcept {
    if (rate_ == 0) return true;
    const std::chrono::duration<double> passed = now - refilled_;
    refilled_ = now;
    tokens_ += passed.count() * rate_;
    if (tokens_ > burst_) tokens_ = burst_;
    if (tokens_ < 1.0) return false;
    tokens_ -= 1.0;
    return true;
  }

 private:
  double tokens_ = 0;
  time_point refilled_{};
  std::uint32_t rate_ = 0;
  std::uint32_t burst_ = 0;
};

}  // namespace skein::detail
