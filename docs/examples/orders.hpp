#pragma once

// Orders: each is accepted and filled, and every step is published to its owner's topic.
//
// An order lives in a coroutine of its own and does not depend on its owner's connections: it is filled even
// if the owner has gone, who finds the steps in the topic's history. Members may be called on any thread.

#include "messages.hpp"

#include <skein/topics.hpp>

#include <boost/json/array.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace skein::examples {

/// Starts a coroutine that nobody awaits; its end must be observed, as `container::spawn` does.
using spawner = std::function<void(asio::awaitable<void>)>;

struct order {
  std::uint64_t id = 0;
  std::string symbol;
  std::string side;  ///< "buy" or "sell"
  std::int64_t quantity = 0;
  std::int64_t filled = 0;
  std::uint64_t sequence = 1;  ///< counts the order's steps

  [[nodiscard]] std::string_view status() const noexcept;
  [[nodiscard]] bool is_done() const noexcept { return filled == quantity; }
  /// The next step: half of the quantity is filled, then all of it.
  void advance() noexcept;
};

class orders : public std::enable_shared_from_this<orders> {
 public:
  /// `step` is the time between two steps of an order; zero or less: none. `to` must outlive what `spawn`
  /// starts.
  orders(topics& to, spawner spawn, std::chrono::nanoseconds step);

  /// Places the order that `request` describes and begins to fill it; returns its id. Throws `request_error`.
  std::uint64_t place(const std::string& owner, const json::object& request);

  /// The orders of this owner that are not filled yet.
  [[nodiscard]] json::array open_orders(const std::string& owner) const;

 private:
  static asio::awaitable<void> fill(std::shared_ptr<orders> self, std::string owner, order what);
  void remember(const std::string& owner, const order& what);

  topics& topics_;
  const spawner spawn_;
  const std::chrono::nanoseconds step_;
  mutable std::mutex mutex_;  // of what follows
  std::uint64_t last_id_ = 0;
  std::map<std::string, std::map<std::uint64_t, order>> open_;
};

}  // namespace skein::examples
