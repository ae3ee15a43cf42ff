#include "notifications.hpp"

#include "gateway.hpp"

#include <chrono>

namespace skein::examples {

// [announce]
asio::awaitable<delivery_report> announce(manager& hub, std::string text) {
  auto alert = json_message({{"type", "alert"}, {"text", text}});
  co_return co_await hub.broadcast(
      std::move(alert), delivery().on_route(gateway_path).drop().deadline(std::chrono::seconds{2}));
}
// [/announce]

prepared_message announced(const delivery_report& report) {
  return json_message({{"type", "announced"},
                       {"matched", report.matched},
                       {"written", report.written},
                       {"dropped", report.dropped},
                       {"closed", report.closed},
                       {"pending", report.pending}});
}

}  // namespace skein::examples
