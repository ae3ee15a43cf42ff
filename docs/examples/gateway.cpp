#include "gateway.hpp"

#include "notifications.hpp"

#include <boost/json/array.hpp>

#include <optional>
#include <utility>
#include <vector>

namespace skein::examples {
namespace {

constexpr int max_errors = 3;
constexpr std::size_t max_alert_bytes = 500;

// The channels that a request names; all of them are known.
std::vector<channel> requested_channels(const json::object& request) {
  const auto* names = request.if_contains("channels");
  if (names == nullptr || !names->is_array())
    throw bad_request("bad_field", "\"channels\" must be a list of names");
  std::vector<channel> result;
  for (const auto& name : names->get_array()) {
    const auto known = name.is_string() ? channel_named(name.get_string()) : std::nullopt;
    if (!known) throw bad_request("unknown_channel", "the channels are \"orders\" and \"market_data\"");
    result.push_back(*known);
  }
  return result;
}

prepared_message confirm(const char* type, const json::object& request) {
  return json_message({{"type", type}, {"channels", request.at("channels")}});
}

prepared_message pong() {
  return json_message({{"type", "pong"}});
}

prepared_message error_message(const bad_request& problem) {
  return json_message({{"type", "error"}, {"code", problem.code}, {"message", problem.what()}});
}

}  // namespace

// The time for which a connection is here: when it goes, so do its subscriptions.
class gateway::visit {
 public:
  visit(connection& client, market_data& prices) : mine(open_session(client)), prices_(prices) {}
  visit(const visit&) = delete;
  visit& operator=(const visit&) = delete;
  ~visit() {
    if (mine->unsubscribe(channel::market_data)) prices_.leave();
    mine->unsubscribe(channel::orders);
  }

  const std::shared_ptr<session> mine;

 private:
  market_data& prices_;
};

gateway::gateway(manager& hub, const spawner& spawn, const gateway_options& options)
    : hub_(hub),
      orders_(std::make_shared<orders>(hub, spawn, options.order_step)),
      market_data_(std::make_shared<market_data>(hub, spawn, options.price_interval, options.seed)) {}

// [serve]
asio::awaitable<void> gateway::serve(connection& client) {
  const visit here{client, *market_data_};
  for (int errors = 0; errors < max_errors;) {
    const auto received = co_await client.read();
    if (!received) co_return;

    std::optional<bad_request> problem;
    try {
      co_await answer(client, here.mine, *received);
    } catch (const bad_request& e) {
      problem = e;
    }
    if (!problem) continue;
    co_await client.write(error_message(*problem));
    ++errors;
  }
  co_await client.close(close_code::policy_violation, "too many errors");
}
// [/serve]

asio::awaitable<void> gateway::answer(connection& client, const std::shared_ptr<session>& mine,
                                      const message& received) {
  const auto request = parse_request(received);
  const auto type = text_field(request, "type");
  if (type == "subscribe") {
    co_await subscribe(client, *mine, request);
  } else if (type == "unsubscribe") {
    co_await unsubscribe(client, *mine, request);
  } else if (type == "place_order") {
    orders_->place(mine, request);
  } else if (type == "announce") {
    const auto report = co_await announce(hub_, text_field(request, "text", max_alert_bytes));
    co_await client.write(announced(report));
  } else if (type == "ping") {
    co_await client.write(pong());
  } else {
    throw bad_request("unknown_type", "there is no request of this type");
  }
}

asio::awaitable<void> gateway::subscribe(connection& client, session& mine, const json::object& request) {
  const auto requested = requested_channels(request);
  co_await client.write(confirm("subscribed", request));
  for (const auto which : requested) {
    const bool is_new = mine.subscribe(which);
    if (which == channel::orders) {
      co_await client.write(orders_->snapshot(mine));
    } else {
      if (is_new) market_data_->join();
      co_await client.write(market_data_->snapshot());
    }
  }
}

asio::awaitable<void> gateway::unsubscribe(connection& client, session& mine, const json::object& request) {
  for (const auto which : requested_channels(request)) {
    if (mine.unsubscribe(which) && which == channel::market_data) market_data_->leave();
  }
  co_await client.write(confirm("unsubscribed", request));
}

}  // namespace skein::examples
