#pragma once

// Market data: made-up prices, published to a topic for each symbol.
//
// The prices are a random walk, and every message says so. Their topics are conflated: a subscriber that
// reads slowly finds the newest price of each symbol, not all that there were in between; gaps in `sequence`
// show it. Members may be called on any thread.

#include "messages.hpp"

#include <skein/topics.hpp>

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace skein::examples {

class market_data {
 public:
  /// `interval` is the time between two prices of a symbol. The same `seed` walks the same way. `to` must
  /// outlive `run`.
  market_data(topics& to, std::chrono::nanoseconds interval, std::uint64_t seed);

  /// Moves the prices until it is cancelled.
  [[nodiscard]] static asio::awaitable<void> run(std::shared_ptr<market_data> self);
  /// Moves every price once, and publishes it.
  void move_all();

  /// The newest price of every symbol, as a JSON list.
  [[nodiscard]] std::string snapshot() const;

 private:
  struct instrument {
    instrument(std::string name, std::int64_t first_price);
    [[nodiscard]] std::string describe(bool with_type) const;

    std::string symbol;
    std::string topic;
    std::int64_t cents;
    std::uint64_t sequence = 0;
  };

  topics& topics_;
  const std::chrono::nanoseconds interval_;
  mutable std::mutex mutex_;  // of what follows
  std::mt19937_64 random_;
  std::vector<instrument> instruments_;
};

}  // namespace skein::examples
