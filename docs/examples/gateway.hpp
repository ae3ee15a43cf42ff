#pragma once

// The gateway: the handler of one route, which reads requests and calls the module that each is for.

#include "market_data.hpp"
#include "messages.hpp"
#include "orders.hpp"
#include "session.hpp"

#include <skein/manager.hpp>

#include <chrono>
#include <cstdint>
#include <memory>

namespace skein::examples {

inline constexpr const char* gateway_path = "/ws";

struct gateway_options {
  std::chrono::nanoseconds order_step = std::chrono::milliseconds{700};
  std::chrono::nanoseconds price_interval = std::chrono::milliseconds{300};
  std::uint64_t seed = 1;  ///< of the prices
};

class gateway {
 public:
  /// `hub` must outlive what `spawn` starts.
  gateway(manager& hub, const spawner& spawn, const gateway_options& options = {});

  /// The coroutine handler: completes when the connection has ended. The gateway must outlive it. A client
  /// that makes three errors is closed with 1008.
  asio::awaitable<void> serve(connection& client);

  [[nodiscard]] const market_data& prices() const noexcept { return *market_data_; }

 private:
  class visit;

  asio::awaitable<void> answer(connection& client, const std::shared_ptr<session>& mine,
                               const message& received);
  asio::awaitable<void> subscribe(connection& client, session& mine, const json::object& request);
  asio::awaitable<void> unsubscribe(connection& client, session& mine, const json::object& request);

  manager& hub_;
  std::shared_ptr<orders> orders_;
  std::shared_ptr<market_data> market_data_;
};

}  // namespace skein::examples
