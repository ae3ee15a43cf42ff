// The example modules behind real connections, over memory in place of sockets.

#include "desk.hpp"
#include "examples_test.hpp"

#include <boost/json/serialize.hpp>

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

struct with_desk : real_manager {
  spawner spawn() {
    return [this](asio::awaitable<void> task) {
      asio::co_spawn(context, std::move(task), [](const std::exception_ptr& error) {
        if (error) std::rethrow_exception(error);
      });
    };
  }
  static topics_options rules() {
    topics_options all;
    all.rules = desk_rules();
    return all;
  }
  static protocol_options rights() {
    protocol_options all;
    all.authorize = may_follow;
    return all;
  }

  std::shared_ptr<topics> feeds = make_topics(hub, rules());
  std::shared_ptr<users> people = make_users(hub);
  json_protocol protocol{feeds, people, rights()};
  desk entrance{
      *hub, *feeds, *people, spawn(), {std::chrono::nanoseconds{0}, std::chrono::nanoseconds{0}, 1}};
  bool answering = (entrance.answer_requests(protocol), true);

  std::unique_ptr<testing::memory_peer> connect(std::string user) {
    const request opening{"GET", "/ws", {{"Host", "localhost"}}, "127.0.0.1:1"};
    identity who;
    who.user = std::move(user);
    return testing::connect(*hub, protocol.handler(), opening, std::move(who));
  }
  /// What the peer was sent of this type, after it had said something.
  std::vector<message> answers(testing::memory_peer& peer, const std::string& request,
                               std::string_view type) {
    if (!request.empty()) peer.send(message::text(request));
    testing::settle(context);
    auto all = peer.received();
    std::erase_if(all, [&](const auto& each) { return field(each, "type") != type; });
    return all;
  }
};

constexpr auto buy = R"({"type":"place_order","symbol":"AAPL","side":"buy","quantity":10})";
constexpr auto follow_my_orders = R"({"type":"subscribe","channel":"orders.ada"})";

}  // namespace

TEST_SUITE("examples: end to end") {
  TEST_CASE_FIXTURE(with_desk, "an order's owner is told of every step, and nobody else is") {
    auto owner = connect("ada");
    auto other = connect("bob");
    answers(*owner, follow_my_orders, "subscribed");
    CHECK(answers(*other, follow_my_orders, "error").size() == 1);

    const auto updates = answers(*owner, buy, "order_update");

    REQUIRE(updates.size() == 3);
    CHECK(field(updates[0], "status") == "accepted");
    CHECK(field(updates[1], "status") == "partially_filled");
    CHECK(field(updates[2], "status") == "filled");
    CHECK(parsed(updates[2]).at("offset") == 3);
    CHECK(answers(*other, "", "order_update").empty());
  }

  TEST_CASE_FIXTURE(with_desk, "an owner who was away while the order was filled finds every step") {
    auto owner = connect("ada");
    const auto at = answers(*owner, follow_my_orders, "subscribed");
    const auto epoch = field(at.at(0), "epoch");
    owner->send(message::text(buy));
    testing::settle(context);
    owner.reset();
    testing::settle(context);

    auto again = connect("ada");
    const auto missed = answers(
        *again,
        R"({"type":"subscribe","channel":"orders.ada","recover":{"epoch":")" + epoch + R"(","offset":0}})",
        "order_update");
    CHECK(missed.size() == 3);
  }

  TEST_CASE_FIXTURE(with_desk, "prices go to those who subscribed") {
    auto subscriber = connect("ada");
    auto stranger = connect("");
    answers(*subscriber, R"({"type":"subscribe","channel":"market.*"})", "subscribed");
    entrance.prices()->move_all();
    CHECK(answers(*subscriber, "", "market_data").size() == 4);
    CHECK(answers(*stranger, "", "market_data").empty());
  }

  TEST_CASE_FIXTURE(with_desk, "an announcement reaches everybody, and its report says so") {
    auto one = connect("ada");
    auto two = connect("");
    const auto reports = answers(*one, R"({"type":"announce","text":"lunch"})", "announced");
    CHECK(reports.at(0).payload() ==
          R"({"type":"announced","matched":2,"written":2,"dropped":0,"closed":0,"pending":0})");
    CHECK(answers(*two, "", "alert").size() == 1);
  }

  TEST_CASE_FIXTURE(with_desk, "a note waits for its user, and comes again until it is acknowledged") {
    auto sender = connect("bob");
    const auto report = answers(*sender, R"({"type":"notify","user":"ada","text":"call back"})", "notified");
    CHECK(parsed(report.at(0)).at("matched") == 0);
    const auto id = json::serialize(parsed(report.at(0)).at("message_id"));
    for (int visit = 0; visit < 2; ++visit) {
      auto ada = connect("ada");
      const auto notes = answers(*ada, "", "note");
      REQUIRE(notes.size() == 1);
      CHECK(field(notes[0], "text") == "call back");
      CHECK(json::serialize(parsed(notes[0]).at("message_id")) == id);
      if (visit == 1) CHECK(answers(*ada, R"({"type":"ack","id":)" + id + "}", "acked").size() == 1);
    }
    auto ada = connect("ada");
    CHECK(answers(*ada, "", "note").empty());
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
