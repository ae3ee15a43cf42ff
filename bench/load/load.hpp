#pragma once

// One thread's share of a load: a worker with its connections, and what is done with them. All of it runs on
// that thread; a mode derives from it, and the team that runs the threads tells it what to do next.

#include "histogram.hpp"
#include "pacer.hpp"
#include "worker.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace skein::bench {

/// The time in which everything is counted.
struct measured_window {
  std::int64_t begin_ns = never_ns;
  std::int64_t end_ns = never_ns;

  [[nodiscard]] bool contains(std::int64_t at) const noexcept { return at >= begin_ns && at < end_ns; }
};

class load : public socket_events {
 public:
  load(const handshake_settings& settings, std::uint32_t thread)
      : thread_(thread), driver_(settings, thread, *this) {}

  /// Its number among the threads of the run.
  [[nodiscard]] std::uint32_t thread() const noexcept { return thread_; }

  [[nodiscard]] worker& driver() noexcept { return driver_; }
  [[nodiscard]] const worker& driver() const noexcept { return driver_; }

  /// Sends the first messages.
  virtual void start() {}
  /// From here on messages count.
  virtual void begin_window() { window_.begin_ns = driver_.tick(); }
  /// From here on they no longer do, and no new ones are sent.
  virtual void end_window() { window_.end_ns = driver_.tick(); }
  /// A closed load sends nothing new until it goes on; what is under way still comes in.
  virtual void pause() { paused_ = true; }
  virtual void go_on() { paused_ = false; }
  /// Nothing is under way any more.
  [[nodiscard]] virtual bool finished() const { return true; }
  /// Nothing more can come of this run.
  [[nodiscard]] virtual bool broken() const { return false; }
  /// How much has been done so far, for whoever watches the run.
  [[nodiscard]] virtual std::uint64_t progress() const { return driver_.tally().opened; }
  /// The load's turn, before each look at the sockets: sends what is due, and returns when it next wants one.
  virtual std::int64_t take_turn([[maybe_unused]] std::int64_t now) { return never_ns; }

 protected:
  [[nodiscard]] const measured_window& window() const noexcept { return window_; }
  /// The window is over.
  [[nodiscard]] bool stopped() const noexcept { return window_.end_ns != never_ns; }
  /// A message that returns sends the next.
  [[nodiscard]] bool sends_more() const noexcept { return !paused_ && !stopped(); }

 private:
  std::uint32_t thread_;
  bool paused_ = false;
  measured_window window_;
  worker driver_;
};

/// `total` shared out among `count` threads; the first ones have one more.
inline std::vector<std::uint32_t> shares_of(std::uint32_t total, std::uint32_t count) {
  std::vector<std::uint32_t> shares(count, total / count);
  for (std::uint32_t i = 0; i < total % count; ++i) ++shares[i];
  return shares;
}

/// How long ago `then` was; clocks that were read early make it 0 rather than enormous.
constexpr std::uint64_t elapsed_ns(std::int64_t then, std::int64_t now) noexcept {
  return now > then ? static_cast<std::uint64_t>(now - then) : 0;
}

/// Records what was due in the window, from the `first` slot on, and has not left by now: it takes at least
/// so long. Returns how much that is. Of a great many some stand for the others.
inline std::uint64_t record_overdue(histogram& into, const pacer& pace, std::uint64_t first,
                                    const measured_window& window, std::int64_t now) {
  constexpr std::uint64_t samples = 65'536;
  if (window.begin_ns == never_ns || window.end_ns == never_ns) return 0;
  const auto end = pace.due_before(window.end_ns);
  first = std::max(first, pace.due_before(window.begin_ns));
  if (first >= end) return 0;
  const auto stride = std::max<std::uint64_t>(1, (end - first) / samples);
  for (auto slot = first; slot < end; slot += stride)
    into.record(elapsed_ns(pace.due_ns(slot), now), std::min(stride, end - slot));
  return end - first;
}

}  // namespace skein::bench
