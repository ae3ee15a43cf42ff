#pragma once

// Market data: made-up prices for those that subscribed.
//
// The prices are a random walk, and every message says so. They move only while somebody listens. Each symbol
// is conflated: a subscriber that reads slowly finds the newest price of each symbol, not all that there were
// in between; gaps in `sequence` show it. Members may be called on any thread.

#include "messages.hpp"
#include "orders.hpp"

#include <skein/manager.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace skein::examples {

class market_data : public std::enable_shared_from_this<market_data> {
 public:
  /// `interval` is the time between two prices of a symbol; zero or less: none. The same `seed` walks the
  /// same way. `hub` must outlive what `spawn` starts.
  market_data(manager& hub, spawner spawn, std::chrono::nanoseconds interval, std::uint64_t seed);

  /// One subscriber more, one less. The first starts the prices, the last stops them at the next interval.
  void join();
  void leave();
  [[nodiscard]] bool running() const;

  /// The newest price of every symbol.
  [[nodiscard]] prepared_message snapshot() const;

 private:
  struct instrument {
    instrument(std::string name, std::int64_t first_price);
    [[nodiscard]] std::string describe(bool with_type) const;

    std::string symbol;
    std::int64_t cents;
    std::uint64_t sequence = 0;
    delivery how;
  };

  static asio::awaitable<void> generate(std::shared_ptr<market_data> self);
  bool publish();

  manager& hub_;
  const spawner spawn_;
  const std::chrono::nanoseconds interval_;
  mutable std::mutex mutex_;  // of what follows
  std::size_t subscribers_ = 0;
  bool running_ = false;
  std::mt19937_64 random_;
  std::vector<instrument> instruments_;
};

}  // namespace skein::examples
