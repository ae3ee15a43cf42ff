#include "app/bench_routes.hpp"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace skein::app {
namespace {

asio::awaitable<void> echo(connection& client) {
  while (auto received = co_await client.read()) co_await client.write(std::move(*received));
}

/// A message in each of these ways by turns.
asio::awaitable<void> broadcast(connection& client, manager& hub, std::vector<delivery> ways) {
  std::size_t turn = 0;
  while (auto received = co_await client.read())
    hub.post_broadcast(std::move(*received), ways[turn++ % ways.size()]);
}

/// As news of so many things, of each of which only the newest counts.
std::vector<delivery> conflated(const char* route) {
  constexpr int things = 16;
  std::vector<delivery> ways;
  for (int i = 0; i < things; ++i) ways.push_back(delivery().on_route(route).conflate(std::to_string(i)));
  return ways;
}

asio::awaitable<void> broadcast_awaited(connection& client, manager& hub) {
  const auto how = delivery().on_route("/broadcast-awaited");
  while (auto received = co_await client.read()) {
    const auto report = co_await hub.broadcast(std::move(*received), how);
    if (!report.balanced()) throw std::logic_error("the report of a broadcast does not add up");
  }
}

constexpr const char* feed = "bench.feed";

/// Ten topics that nobody publishes to, so that there are many beside the one that counts.
asio::awaitable<void> follow_own_topics(connection& client, topics& all) {
  const auto own = "bench.own." + std::to_string(client.id()) + '.';
  for (int i = 0; i < 10; ++i) co_await all.subscribe(client, own + std::to_string(i));
}

asio::awaitable<void> publish(connection& client, topics& all) {
  co_await follow_own_topics(client, all);
  co_await all.subscribe(client, feed);
  while (auto received = co_await client.read()) all.post_publish(feed, std::move(*received));
}

asio::awaitable<void> follow_nothing_else(connection& client, topics& all) {
  co_await follow_own_topics(client, all);
  for (;;) {
    const auto received = co_await client.read();
    if (!received) break;
  }
}

}  // namespace

void add_bench_routes(container& into) {
  auto& hub = into.manager();
  auto& server = into.server();
  server.route("/echo", echo);
  const auto to_all = [&](const char* route, const std::vector<delivery>& ways) {
    server.route(route, [&hub, ways](connection& client) { return broadcast(client, hub, ways); });
  };
  to_all("/broadcast", {delivery().on_route("/broadcast")});
  to_all("/broadcast-drop", {delivery().on_route("/broadcast-drop").drop()});
  to_all("/broadcast-conflate", conflated("/broadcast-conflate"));
  auto& topics = into.topics();
  server.route("/publish", [&topics](connection& client) { return publish(client, topics); });
  server.route("/crowd", [&topics](connection& client) { return follow_nothing_else(client, topics); });
  server.route("/broadcast-awaited", [&hub](connection& client) { return broadcast_awaited(client, hub); });
}

}  // namespace skein::app
