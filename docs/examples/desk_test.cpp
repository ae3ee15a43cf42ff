#include "desk.hpp"

#include "examples_test.hpp"

namespace skein::examples {
namespace {

struct with_desk : fixture {
  testing::mock_manager hub;
  testing::mock_users users;
  desk entrance{hub, topics, users, spawn(), {std::chrono::nanoseconds{0}, std::chrono::nanoseconds{0}, 1}};
  json_protocol protocol = make();
  testing::mock_websocket client;

  json_protocol make() {
    // The protocol shares what it speaks for; the mocks stay the fixture's.
    json_protocol made{{std::shared_ptr<void>{}, &topics}, {std::shared_ptr<void>{}, &users}};
    entrance.answer_requests(made);
    return made;
  }
  /// Serves a client that sends these requests and then goes; gives what it was answered after the welcome.
  std::vector<message> answers(const std::vector<std::string>& requests) {
    for (const auto& each : requests) client.will_read_text(each);
    testing::run(context, protocol.serve(client));
    const auto& all = client.written();
    return {all.begin() + 1, all.end()};
  }
  void log_in(std::string user) {
    identity who;
    who.user = std::move(user);
    client.with_user(std::move(who));
  }
};

bool may(const char* user, topic_action what, std::string channel) {
  testing::mock_websocket client;
  identity who;
  who.user = user;
  client.with_user(who);
  return testing::run(may_follow(client, what, std::move(channel)));
}

}  // namespace

TEST_SUITE("examples: desk") {
  // [mock_websocket]
  TEST_CASE_FIXTURE(with_desk, "an order is placed for the user of the connection") {
    identity ada;
    ada.user = "ada";
    testing::mock_websocket peer;
    peer.with_user(ada).will_read_text(
        R"({"type":"place_order","id":1,"symbol":"AAPL","side":"buy","quantity":10})");

    testing::run(context, protocol.serve(peer));

    CHECK(peer.last_written() == message::text(R"({"type":"order_placed","order_id":1,"id":1})"));
    CHECK(published("orders.ada", "status").front() == "accepted");
  }
  // [/mock_websocket]

  // [then_read_waits]
  TEST_CASE_FIXTURE(with_desk, "an order goes on when its owner has gone") {
    log_in("ada");
    client.then_read_waits();
    spawn()(protocol.serve(client));
    client.peer_sends(message::text(R"({"type":"place_order","symbol":"AAPL","side":"buy","quantity":10})"));
    while (topics.record().empty()) context.run_one();
    client.peer_closes();
    testing::settle(context);
    CHECK(published("orders.ada", "status").back() == "filled");
  }
  // [/then_read_waits]

  TEST_CASE_FIXTURE(with_desk, "who does not say who they are has no orders, and sees the prices") {
    entrance.prices()->move_all();
    const auto said = answers({R"({"type":"place_order","symbol":"AAPL","side":"buy","quantity":1})",
                               R"({"type":"get_orders"})", R"({"type":"get_prices","id":"p"})"});
    REQUIRE(said.size() == 3);
    CHECK(field(said[0], "code") == "not_allowed");
    CHECK(field(said[1], "code") == "not_allowed");
    CHECK(field(said[2], "id") == "p");
    CHECK(parsed(said[2]).at("prices").as_array().size() == 4);
  }

  TEST_CASE_FIXTURE(with_desk, "open orders, and the topic that tells of them") {
    log_in("ada lovelace");
    const auto said = answers(
        {R"({"type":"place_order","symbol":"AAPL","side":"buy","quantity":9})", R"({"type":"get_orders"})"});
    REQUIRE(said.size() == 2);
    CHECK(field(said[1], "topic") == "orders.ada_20lovelace");
    CHECK(parsed(said[1]).at("orders").as_array().size() <= 1);
  }

  TEST_CASE_FIXTURE(with_desk, "announcements and notes are answered with their reports") {
    delivery_report one;
    one.matched = 1;
    one.written = 1;
    hub.will_report(one);
    const auto said =
        answers({R"({"type":"announce","text":"lunch"})", R"({"type":"notify","user":"bob","text":"hi"})"});
    REQUIRE(said.size() == 2);
    CHECK(said[0].payload() ==
          R"({"type":"announced","matched":1,"written":1,"dropped":0,"closed":0,"pending":0})");
    CHECK(field(said[1], "type") == "notified");
    CHECK(parsed(said[1]).at("message_id") == 1);
  }

  TEST_CASE_FIXTURE(with_desk, "what is no request of the desk is refused as the protocol refuses it") {
    const auto said =
        answers({R"({"type":"nonsense"})", R"({"type":"announce"})", R"({"type":"announce","text":""})",
                 R"({"type":"announce","text":")" + std::string(501, 'x') + "\"}"});
    REQUIRE(said.size() == 4);
    CHECK(field(said[0], "code") == "unknown_type");
    for (std::size_t i = 1; i < 4; ++i) CHECK(field(said[i], "code") == "bad_request");
  }

  TEST_CASE("prices are for everybody, orders for their owner, and nobody publishes") {
    CHECK(may("", topic_action::subscribe, "market.AAPL"));
    CHECK(may("", topic_action::subscribe, "market.*"));
    CHECK(may("ada", topic_action::subscribe, "orders.ada"));
    CHECK(may("ada", topic_action::history, "orders.ada"));
    CHECK_FALSE(may("ada", topic_action::subscribe, "orders.bob"));
    CHECK_FALSE(may("ada", topic_action::subscribe, "orders.*"));
    CHECK_FALSE(may("ada", topic_action::subscribe, ">"));
    CHECK_FALSE(may("", topic_action::subscribe, "orders."));
    CHECK_FALSE(may("ada", topic_action::publish, "orders.ada"));
    CHECK_FALSE(may("ada", topic_action::publish, "market.AAPL"));
  }

  TEST_CASE("the demonstration believes everybody") {
    const auto who = [](const char* target) {
      const request what{"GET", target, {}, "127.0.0.1:1"};
      return std::get<identity>(testing::run(whoever_they_say(what))).user;
    };
    CHECK(who("/ws?user=alice") == "alice");
    CHECK(who("/ws") == "");
    CHECK(who(("/ws?user=" + std::string(40, 'x')).c_str()) == std::string(32, 'x'));
  }
}

}  // namespace skein::examples
