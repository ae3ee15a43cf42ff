#include "gateway.hpp"

#include "examples_test.hpp"

#include <algorithm>

namespace skein::examples {
namespace {

struct with_gateway : fixture {
  gateway_options at_once{std::chrono::nanoseconds{0}, std::chrono::nanoseconds{0}, 1};
  gateway entrance{hub, spawn(), at_once};
  testing::mock_websocket client;

  /// Serves a client that sends these requests and then goes; gives what it was answered.
  const std::vector<message>& answers(const std::vector<std::string>& requests) {
    for (const auto& each : requests) client.will_read_text(each);
    testing::run(context, entrance.serve(client));
    return client.written();
  }
  std::string error_code_of(const std::string& request) { return field(answers({request}).at(0), "code"); }
};

constexpr auto nonsense = R"({"type":"nonsense"})";

}  // namespace

TEST_SUITE("examples: gateway") {
  // [mock_websocket]
  TEST_CASE_FIXTURE(with_gateway, "a ping is answered with a pong") {
    testing::mock_websocket peer;
    peer.will_read_text(R"({"type":"ping"})");

    testing::run(entrance.serve(peer));

    CHECK(peer.last_written() == message::text(R"({"type":"pong"})"));
    CHECK_FALSE(peer.was_closed());
  }
  // [/mock_websocket]

  TEST_CASE_FIXTURE(with_gateway, "a subscription is confirmed, and each channel says how things stand") {
    const auto& written = answers({R"({"type":"subscribe","channels":["orders","market_data"]})"});
    REQUIRE(written.size() == 3);
    CHECK(written[0].payload() == R"({"type":"subscribed","channels":["orders","market_data"]})");
    CHECK(written[1].payload() == R"({"type":"snapshot","channel":"orders","orders":[]})");
    CHECK(field(written[2], "type") == "snapshot");
    CHECK(field(written[2], "channel") == "market_data");
  }

  // [then_read_waits]
  TEST_CASE_FIXTURE(with_gateway, "prices run while a subscriber is here, and stop when it goes") {
    client.will_read_text(R"({"type":"subscribe","channels":["market_data"]})").then_read_waits();
    spawn()(entrance.serve(client));
    while (hub.record().size() < 8) context.run_one();
    CHECK(entrance.prices().running());
    client.peer_closes();
    testing::settle(context);
    CHECK_FALSE(entrance.prices().running());
  }
  // [/then_read_waits]

  TEST_CASE_FIXTURE(with_gateway, "who unsubscribes hears no more prices") {
    const auto& written = answers({R"({"type":"subscribe","channels":["market_data"]})",
                                   R"({"type":"subscribe","channels":["market_data"]})",
                                   R"({"type":"unsubscribe","channels":["market_data"]})"});
    CHECK(written.back().payload() == R"({"type":"unsubscribed","channels":["market_data"]})");
    CHECK_FALSE(entrance.prices().running());
    CHECK_FALSE(subscribed(client, channel::market_data));
  }

  TEST_CASE_FIXTURE(with_gateway, "a subscription to a channel that does not exist is refused whole") {
    CHECK(error_code_of(R"({"type":"subscribe","channels":["market_data","weather"]})") == "unknown_channel");
    CHECK_FALSE(entrance.prices().running());
  }

  TEST_CASE_FIXTURE(with_gateway, "an order's updates go to the connection that placed it") {
    client.with_id(42).then_read_waits();
    client.will_read_text(R"({"type":"subscribe","channels":["orders"]})");
    client.will_read_text(R"({"type":"place_order","symbol":"AAPL","side":"buy","quantity":10})");
    spawn()(entrance.serve(client));
    testing::settle(context);
    CHECK(sent("order_update", "status") ==
          std::vector<std::string>{"accepted", "partially_filled", "filled"});
    CHECK(std::ranges::all_of(hub.record(), [](const auto& each) { return each.to == connection_id{42}; }));
    client.peer_closes();
    testing::settle(context);
  }

  TEST_CASE_FIXTURE(with_gateway, "an announcement is answered with its report") {
    delivery_report one;
    one.matched = 1;
    one.written = 1;
    hub.will_report(one);
    CHECK(answers({R"({"type":"announce","text":"lunch"})"}).at(0).payload() ==
          R"({"type":"announced","matched":1,"written":1,"dropped":0,"closed":0,"pending":0})");
    CHECK(sent("alert", "text") == std::vector<std::string>{"lunch"});
  }

  TEST_CASE_FIXTURE(with_gateway, "what is not a request is answered with an error") {
    CHECK(error_code_of("{") == "malformed_json");
  }
  TEST_CASE_FIXTURE(with_gateway, "a JSON text that is no object is refused") {
    CHECK(error_code_of("[1]") == "malformed_json");
  }
  TEST_CASE_FIXTURE(with_gateway, "JSON that is nested too deeply is refused") {
    CHECK(error_code_of(R"({"type":)" + std::string(16, '[') + std::string(16, ']') + "}") ==
          "malformed_json");
  }
  TEST_CASE_FIXTURE(with_gateway, "a request of an unknown type is refused") {
    CHECK(error_code_of(nonsense) == "unknown_type");
  }
  TEST_CASE_FIXTURE(with_gateway, "a request without a type is refused") {
    CHECK(error_code_of("{}") == "missing_field");
  }
  TEST_CASE_FIXTURE(with_gateway, "a binary message is refused") {
    client.will_read(message::binary(R"({"type":"ping"})"));
    CHECK(field(answers({}).at(0), "code") == "not_text");
  }

  TEST_CASE_FIXTURE(with_gateway, "two errors are forgiven") {
    CHECK(answers({nonsense, nonsense, R"({"type":"ping"})"}).size() == 3);
    CHECK_FALSE(client.was_closed());
  }

  TEST_CASE_FIXTURE(with_gateway, "the third error is answered, and closes with 1008") {
    CHECK(answers({nonsense, "{", nonsense, R"({"type":"ping"})"}).size() == 3);
    CHECK(client.closed_with() == close_code::policy_violation);
  }
}

}  // namespace skein::examples
