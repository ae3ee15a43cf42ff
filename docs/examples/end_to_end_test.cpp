// The example modules behind real connections, over memory in place of sockets.

#include "examples_test.hpp"
#include "gateway.hpp"

#include <algorithm>

namespace skein::examples {
namespace {

// [memory_peer]
struct real_manager {
  asio::io_context context{1};
  std::shared_ptr<testing::virtual_clock> time = std::make_shared<testing::virtual_clock>();
  std::shared_ptr<manager> hub = make_manager(context.get_executor(), options());

  manager_options options() const {
    manager_options result;
    result.shards = 1;
    result.time = time;
    return result;
  }

  ~real_manager() { testing::run(context, hub->drain(std::chrono::seconds{1})); }
};
// [/memory_peer]

struct with_manager : real_manager {
  spawner spawn() {
    return [this](asio::awaitable<void> task) {
      asio::co_spawn(context, std::move(task), [](const std::exception_ptr& error) {
        if (error) std::rethrow_exception(error);
      });
    };
  }
  gateway_options at_once{std::chrono::nanoseconds{0}, std::chrono::hours{1}, 1};
  gateway entrance{*hub, spawn(), at_once};

  std::unique_ptr<testing::memory_peer> connect() {
    const request opening{"GET", "/ws", {{"Host", "localhost"}}, "127.0.0.1:1"};
    return testing::connect(
        *hub, [this](connection& client) { return entrance.serve(client); }, opening);
  }
  /// What the peer was sent of this type, after it had said something.
  std::vector<message> answers(testing::memory_peer& peer, const char* request, std::string_view type) {
    peer.send(message::text(request));
    testing::settle(context);
    auto all = peer.received();
    std::erase_if(all, [&](const auto& each) { return field(each, "type") != type; });
    return all;
  }
};

constexpr auto subscribe_to_all = R"({"type":"subscribe","channels":["orders","market_data"]})";

}  // namespace

TEST_SUITE("examples: end to end") {
  TEST_CASE_FIXTURE(with_manager, "an order's owner is told of every step, and nobody else is") {
    auto owner = connect();
    auto other = connect();
    answers(*owner, subscribe_to_all, "subscribed");
    answers(*other, subscribe_to_all, "subscribed");

    const auto updates = answers(
        *owner, R"({"type":"place_order","symbol":"AAPL","side":"buy","quantity":10})", "order_update");

    REQUIRE(updates.size() == 3);
    CHECK(field(updates[0], "status") == "accepted");
    CHECK(field(updates[1], "status") == "partially_filled");
    CHECK(field(updates[2], "status") == "filled");
    CHECK(other->received().empty());
  }

  TEST_CASE_FIXTURE(with_manager, "prices go to those who subscribed") {
    auto subscriber = connect();
    auto stranger = connect();
    const auto prices = answers(*subscriber, subscribe_to_all, "market_data");
    CHECK(prices.size() == 4);
    CHECK(stranger->received().empty());
  }

  TEST_CASE_FIXTURE(with_manager, "an announcement reaches everybody, and its report says so") {
    auto one = connect();
    auto two = connect();
    const auto reports = answers(*one, R"({"type":"announce","text":"lunch"})", "announced");
    CHECK(reports.at(0).payload() ==
          R"({"type":"announced","matched":2,"written":2,"dropped":0,"closed":0,"pending":0})");
    CHECK(two->received().at(0).payload() == R"({"type":"alert","text":"lunch"})");
  }

  TEST_CASE_FIXTURE(with_manager, "the third error closes the connection with 1008") {
    auto peer = connect();
    for (int i = 0; i < 3; ++i) answers(*peer, "{", "error");
    CHECK(peer->close_received() == close_code::policy_violation);
    testing::settle(context);
    CHECK(peer->is_cut());
  }

  TEST_CASE_FIXTURE(with_manager, "prices stop when the last subscriber's transport fails") {
    auto peer = connect();
    answers(*peer, subscribe_to_all, "subscribed");
    CHECK(hub->stats().open == 1);
    peer->cut();
    testing::settle(context);
    CHECK(hub->stats().open == 0);
  }

  // [virtual_clock]
  TEST_CASE_FIXTURE(real_manager, "a peer that answers no ping is closed with 4000") {
    auto silent = [](connection& client) -> asio::awaitable<void> {
      while (const auto got = co_await client.read()) {
      }
    };
    auto peer = testing::connect(*hub, silent);
    peer->answer_control(false);
    testing::settle(context);

    time->advance(std::chrono::seconds{25});  // the ping
    testing::settle(context);
    time->advance(std::chrono::seconds{8});  // no pong
    testing::settle(context);

    (void)peer->received();
    CHECK(peer->pings() == 1);
    CHECK(peer->close_received() == close_code::pong_timeout);
  }
  // [/virtual_clock]
}

}  // namespace skein::examples
