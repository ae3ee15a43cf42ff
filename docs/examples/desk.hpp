#pragma once

// The trading desk: three modules behind one route that speaks the JSON protocol. Clients subscribe, recover
// and acknowledge without any code here; the desk answers the requests that are its own, and says who may
// follow which topic.

#include "market_data.hpp"
#include "messages.hpp"
#include "orders.hpp"

#include <skein/handshake.hpp>
#include <skein/manager.hpp>
#include <skein/protocol.hpp>
#include <skein/topics.hpp>
#include <skein/users.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

namespace skein::examples {

inline constexpr const char* desk_path = "/ws";

struct desk_options {
  std::chrono::nanoseconds order_step = std::chrono::milliseconds{700};
  std::chrono::nanoseconds price_interval = std::chrono::milliseconds{300};
  std::uint64_t seed = 1;  ///< of the prices
};

/// What holds for the desk's topics: orders are remembered, prices conflated.
[[nodiscard]] std::vector<topic_rule> desk_rules();

/// Prices are for everybody, orders for their owner.
[[nodiscard]] asio::awaitable<bool> may_follow(connection& who, topic_action what, std::string channel);

/// An authenticator that believes everybody: the user is what the query says, as in `/ws?user=alice`. For
/// a demonstration only.
[[nodiscard]] asio::awaitable<admission> whoever_they_say(const request& what);

class desk {
 public:
  /// The parts must outlive what `spawn` starts.
  desk(manager& hub, topics& to, users& whom, const spawner& spawn, const desk_options& options = {});

  /// Answers the desk's requests: `place_order`, `get_orders`, `get_prices`, `announce`, `notify`. The desk
  /// must outlive the protocol's connections.
  void answer_requests(json_protocol& of);

  [[nodiscard]] const std::shared_ptr<market_data>& prices() const noexcept { return market_data_; }

 private:
  asio::awaitable<void> place_order(connection& client, const json::object& request);
  asio::awaitable<void> get_orders(connection& client, const json::object& request);
  asio::awaitable<void> get_prices(connection& client, const json::object& request);
  asio::awaitable<void> make_announcement(connection& client, const json::object& request);
  asio::awaitable<void> send_note(connection& client, const json::object& request);

  manager& hub_;
  users& users_;
  std::shared_ptr<orders> orders_;
  std::shared_ptr<market_data> market_data_;
};

}  // namespace skein::examples
