// A fuzz target: two clients that say anything to the JSON protocol. Every answer is a JSON object; what the
// server says of its own has a type that the protocol knows; nothing that a client says is an internal error.
//
// An input: lines. A first character from 1 to 9 turns the clock or disturbs, `+` is the second client's, and
// the rest of the line, or all of it, is a message.

#include "wire/utf8.hpp"
#include "world.hpp"

#include <skein/protocol.hpp>
#include <skein/topics.hpp>
#include <skein/users.hpp>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include <algorithm>
#include <array>

namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

/// A second type in an object means that it was a publication, whose fields are the publisher's own.
constexpr std::array<std::string_view, 10> types{"welcome", "subscribed", "unsubscribed", "published",
                                                 "history", "presence",   "acked",        "pong",
                                                 "error",   "refreshed"};

std::vector<skein::topic_rule> rules() {
  skein::topic_rule log{"log.*"}, chat{"chat.>"}, price{"price"};
  log.history.emplace();
  log.history->keep.max_messages = 5;
  log.clients_publish = skein::topic_publishers::everybody;
  chat.presence = true;
  chat.clients_publish = skein::topic_publishers::subscribers;
  price.policy = skein::overflow::conflate;
  price.conflate_by = "s";
  price.clients_publish = skein::topic_publishers::everybody;
  return {log, chat, price};
}

skein::manager_options manager_options() {
  skein::manager_options options;
  options.limits.max_message_bytes = 2000;
  return options;
}

/// What lasts as long as the process. Topics keep their histories from one input to the next.
struct service : fuzz::world {
  service() : fuzz::world(manager_options()) {
    skein::topics_options options;
    options.rules = rules();
    options.max_subscriptions = 5;
    topics = skein::make_topics(hub, std::move(options));
    skein::users_options mailboxes;
    mailboxes.limits.max_messages = 5;
    users = skein::make_users(hub, std::move(mailboxes));
    skein::protocol_options how;
    how.max_depth = 6;
    how.max_faults = 8;
    how.max_info_bytes = 40;
    free = std::make_unique<skein::json_protocol>(topics, users, how);
    how.authorize = skein::authorize_by_claim();
    bound = std::make_unique<skein::json_protocol>(topics, users, how);
    for (auto* const each : {free.get(), bound.get()}) {
      each->on("own",
               [](skein::connection& who, const json::object& request) -> boost::asio::awaitable<void> {
                 auto reply = skein::answer_to(request, {{"type", "pong"}});
                 co_await who.write(std::move(reply));
               });
    }
  }

  std::shared_ptr<skein::topics> topics;
  std::shared_ptr<skein::users> users;
  std::unique_ptr<skein::json_protocol> free, bound;
};

void check(const skein::message& what) {
  boost::system::error_code ec;
  json::parse_options options;
  options.max_depth = 64;
  const auto payload = what.payload();
  const auto value = json::parse({payload.data(), payload.size()}, ec, {}, options);
  fuzz::require(what.is_text() && !ec && value.is_object(), "an answer is no JSON object");
  const auto& object = value.get_object();
  // A publication is what its publisher said, and what waits for a user what its sender said.
  if (object.contains("channel") || object.contains("message_id")) return;
  const auto* const type = object.if_contains("type");
  fuzz::require(type != nullptr && type->is_string(), "an answer without a type");
  fuzz::require(std::find(types.begin(), types.end(), std::string_view{type->get_string()}) != types.end(),
                "an answer of a type that there is not");
  if (type->get_string() != "error") return;
  fuzz::require(object.at("code").is_string() && object.at("message").is_string(), "an error without a code");
  fuzz::require(object.at("code") != "internal_error", "a client has made the server fail");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static service one;
  one.begin();
  const auto claims = json::parse(R"({"topics":{"subscribe":["log.>","chat.a"],"publish":["chat.*"]}})");
  std::array clients{
      skein::testing::connect(*one.hub, one.free->handler(), {}, skein::identity{"ann", {}, {}}),
      skein::testing::connect(*one.hub, one.bound->handler(), {}, skein::identity{"bob", claims, {}})};
  one.settle();
  fuzz::reader input{data, size};
  const auto listen = [&] {
    for (auto& client : clients) {
      for (const auto& each : client->received()) check(each);
    }
    one.settle();
  };
  for (int lines = 0; !input.empty() && lines < 60; ++lines) {
    auto line = input.line();
    const auto how = line.empty() ? '\0' : line.front();
    if (how >= '1' && how <= '9') {
      line.remove_prefix(1);
      skein::detail::utf8_validator utf8;
      const bool is_text = utf8.take(line) && utf8.complete();
      if (!is_text)
        continue;  // a module of the server's does not send that
      else if (how == '9')
        one.users->post_send("ann", skein::message::text(std::string{line}), skein::delivery().stored());
      else if (how == '8')
        one.topics->post_publish("log.a", skein::message::text(std::string{line}));
      else
        one.advance((how - '0') * 300ms);
    } else {
      auto& client = *clients[how == '+' ? 1 : 0];
      if (how == '+') line.remove_prefix(1);
      // As text, whether or not it is UTF-8: the connection sees to that.
      client.send(skein::message::text(std::string{line}));
      one.settle();
    }
    listen();
  }
  for (auto& client : clients) client->send_close();
  one.settle();
  listen();
  for (auto& client : clients) client->cut();
  one.end_within(60s);
  for (const auto& line : one.problems) fuzz::require(false, line.c_str());
  return 0;
}
