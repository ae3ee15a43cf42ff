#pragma once

// Orders: each is accepted and filled, and its owner is told of every step.
//
// An order lives in a coroutine of its own and does not depend on its owner's connection: it is filled even
// if the owner has gone. Members may be called on any thread.

#include "messages.hpp"
#include "session.hpp"

#include <skein/manager.hpp>

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
  /// `step` is the time between two steps of an order; zero or less: none. `hub` must outlive what `spawn`
  /// starts.
  orders(manager& hub, spawner spawn, std::chrono::nanoseconds step);

  /// Places the order that `request` describes and begins to fill it. Throws `bad_request`.
  void place(std::shared_ptr<const session> owner, const json::object& request);

  /// The orders of this owner that are not filled yet.
  [[nodiscard]] prepared_message snapshot(const session& owner) const;

 private:
  static asio::awaitable<void> fill(std::shared_ptr<orders> self, std::shared_ptr<const session> owner,
                                    order what);
  void remember(connection_id owner, const order& what);

  manager& hub_;
  const spawner spawn_;
  const std::chrono::nanoseconds step_;
  mutable std::mutex mutex_;  // of what follows
  std::uint64_t last_id_ = 0;
  std::map<connection_id, std::map<std::uint64_t, order>> open_;
};

}  // namespace skein::examples
