#include "desk.hpp"

#include "notifications.hpp"

#include <boost/json/parse.hpp>

#include <utility>

namespace skein::examples {
namespace {

constexpr std::size_t max_text_bytes = 500;

// [identity]
const std::string& owner_of(const connection& client) {
  const auto& user = client.user().user;
  if (user.empty()) throw request_error("not_allowed", "orders are for those who say who they are");
  return user;
}
// [/identity]

json::object counts_of(const char* type, const delivery_report& report) {
  return {{"type", type},
          {"matched", report.matched},
          {"written", report.written},
          {"dropped", report.dropped},
          {"closed", report.closed},
          {"pending", report.pending}};
}

}  // namespace

// [rules]
std::vector<topic_rule> desk_rules() {
  topic_rule of_orders{"orders.*"};
  of_orders.history.emplace();
  of_orders.history->keep.max_messages = 200;
  of_orders.history->keep.max_age = std::chrono::hours{1};
  topic_rule of_prices{"market.*", overflow::conflate};
  return {std::move(of_orders), std::move(of_prices)};
}

asio::awaitable<bool> may_follow(connection& who, topic_action what, std::string channel) {
  if (what == topic_action::publish) co_return false;  // that is what the modules are for
  if (topic_covers("market.>", channel)) co_return true;
  co_return !who.user().user.empty() && channel == orders_topic(who.user().user);
}
// [/rules]

asio::awaitable<admission> whoever_they_say(const request& what) {
  identity who;
  who.user = what.query("user").value_or("");
  if (who.user.size() > 32) who.user.resize(32);
  co_return who;
}

desk::desk(manager& hub, topics& to, users& whom, const spawner& spawn, const desk_options& options)
    : hub_(hub),
      users_(whom),
      orders_(std::make_shared<orders>(to, spawn, options.order_step)),
      market_data_(std::make_shared<market_data>(to, options.price_interval, options.seed)) {}

// [requests]
void desk::answer_requests(json_protocol& of) {
  const auto answer_with = [this](auto member) {
    return [this, member](connection& client, const json::object& request) {
      return (this->*member)(client, request);
    };
  };
  of.on("place_order", answer_with(&desk::place_order));
  of.on("get_orders", answer_with(&desk::get_orders));
  of.on("get_prices", answer_with(&desk::get_prices));
  of.on("announce", answer_with(&desk::make_announcement));
  of.on("notify", answer_with(&desk::send_note));
}

// [identity]
asio::awaitable<void> desk::place_order(connection& client, const json::object& request) {
  const auto id = orders_->place(owner_of(client), request);
  json::object answer{{"type", "order_placed"}, {"order_id", id}};
  co_await client.write(answer_to(request, std::move(answer)));
}
// [/identity]
// [/requests]

asio::awaitable<void> desk::get_orders(connection& client, const json::object& request) {
  json::object answer{{"type", "orders"}, {"topic", orders_topic(owner_of(client))}};
  answer["orders"] = orders_->open_orders(owner_of(client));
  co_await client.write(answer_to(request, std::move(answer)));
}

asio::awaitable<void> desk::get_prices(connection& client, const json::object& request) {
  json::object answer{{"type", "prices"}, {"prices", json::parse(market_data_->snapshot())}};
  co_await client.write(answer_to(request, std::move(answer)));
}

asio::awaitable<void> desk::make_announcement(connection& client, const json::object& request) {
  const auto report = co_await announce(hub_, text_field(request, "text", max_text_bytes));
  co_await client.write(answer_to(request, counts_of("announced", report)));
}

asio::awaitable<void> desk::send_note(connection& client, const json::object& request) {
  const auto report =
      co_await notify(users_, text_field(request, "user"), text_field(request, "text", max_text_bytes));
  auto answer = counts_of("notified", report);
  answer["message_id"] = report.id;
  co_await client.write(answer_to(request, std::move(answer)));
}

}  // namespace skein::examples
