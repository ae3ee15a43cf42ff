#include "app/bench_routes.hpp"

#include <stdexcept>
#include <utility>

namespace skein::app {
namespace {

asio::awaitable<void> echo(connection& client) {
  while (auto received = co_await client.read()) co_await client.write(std::move(*received));
}

asio::awaitable<void> broadcast(connection& client, manager& hub) {
  const auto how = delivery().on_route("/broadcast");
  while (auto received = co_await client.read()) hub.post_broadcast(std::move(*received), how);
}

asio::awaitable<void> broadcast_awaited(connection& client, manager& hub) {
  const auto how = delivery().on_route("/broadcast-awaited");
  while (auto received = co_await client.read()) {
    const auto report = co_await hub.broadcast(std::move(*received), how);
    if (!report.balanced()) throw std::logic_error("the report of a broadcast does not add up");
  }
}

}  // namespace

void add_bench_routes(container& into) {
  auto& hub = into.manager();
  auto& server = into.server();
  server.route("/echo", echo);
  server.route("/broadcast", [&hub](connection& client) { return broadcast(client, hub); });
  server.route("/broadcast-awaited", [&hub](connection& client) { return broadcast_awaited(client, hub); });
}

}  // namespace skein::app
