// Topics over a manager in memory.

#include "hub_fixture.hpp"

#include <skein/topics.hpp>
#include <skein/users.hpp>

#include <boost/asio/detached.hpp>

#include <doctest/doctest.h>

#include <stdexcept>

using namespace hub_test;

namespace {

struct topics_fixture : fixture {
  explicit topics_fixture(topics_options options = {}) : topics(make_topics(hub, std::move(options))) {}

  connection& end_of(std::size_t peer) { return *peers[peer]->other_end(); }
  subscribed subscribe(std::size_t peer, const std::string& pattern) {
    const auto answer = start(topics->subscribe(end_of(peer), pattern));
    REQUIRE(*answer);
    return **answer;
  }
  bool unsubscribe(std::size_t peer, const std::string& pattern) {
    const auto answer = start(topics->unsubscribe(end_of(peer), pattern));
    REQUIRE(*answer);
    return **answer;
  }
  delivery_report publish(const std::string& topic, const std::string& what) {
    const auto report = start(topics->publish(topic, text(what)));
    REQUIRE(*report);
    CHECK((*report)->balanced());
    return **report;
  }

  std::shared_ptr<skein::topics> topics;
};

}  // namespace

TEST_SUITE("topics") {
  TEST_CASE("a publication reaches those who follow the topic, once, and the report says so") {
    topics_fixture f;
    for (int i = 0; i < 4; ++i) f.connect();
    CHECK(f.subscribe(0, "market.AAPL") == subscribed::yes);
    CHECK(f.subscribe(1, "market.*") == subscribed::yes);
    CHECK(f.subscribe(1, "market.>") == subscribed::yes);
    CHECK(f.subscribe(2, "market.MSFT") == subscribed::yes);
    const auto report = f.publish("market.AAPL", "1");
    CHECK(report.matched == 2);
    CHECK(report.written == 2);
    CHECK(f.publish("market.MSFT", "2").matched == 2);
    CHECK(f.publish("market", "3").matched == 0);
    f.topics->post_publish("market.AAPL", text("4"));
    f.settle();
    CHECK(f.peers[0]->received() == std::vector{text("1"), text("4")});
    CHECK(f.peers[1]->received() == std::vector{text("1"), text("2"), text("4")});
    CHECK(f.peers[2]->received() == std::vector{text("2")});
    CHECK(f.peers[3]->received().empty());
    const auto stats = f.topics->stats();
    CHECK(stats.publications == 4);
    CHECK(stats.subscriptions == 4);
    CHECK(stats.subscribers == 3);
    CHECK(stats.topics == 4);
    CHECK(f.hub->stats().broadcasts == 0);
  }

  TEST_CASE("after unsubscribing nothing more comes") {
    topics_fixture f;
    f.connect();
    f.subscribe(0, "a");
    f.subscribe(0, "b");
    CHECK(f.unsubscribe(0, "a"));
    CHECK(!f.unsubscribe(0, "a"));
    CHECK(f.publish("a", "x").matched == 0);
    CHECK(f.publish("b", "y").matched == 1);
    const auto mine = f.start(f.topics->subscriptions(f.end_of(0)));
    CHECK(**mine == std::vector<std::string>{"b"});
  }

  TEST_CASE("a connection that ends leaves nothing behind, and one that closes is not counted") {
    topics_fixture f;
    f.connect();
    f.connect();
    f.subscribe(0, "a");
    f.subscribe(0, ">");
    f.subscribe(1, "a");
    const auto kept = f.peers[0]->other_end();
    kept->post_close(close_code::normal, {});
    CHECK(f.publish("a", "x").matched == 1);
    CHECK(**f.start(f.topics->subscribe(*kept, "b")) == subscribed::closed);
    f.peers[0].reset();
    f.settle();
    CHECK(f.topics->stats().subscriptions == 1);
    CHECK(f.topics->stats().subscribers == 1);
    CHECK(f.topics->stats().topics == 1);
    CHECK(**f.start(f.topics->subscribe(*kept, "b")) == subscribed::closed);
    CHECK(f.topics->stats().subscriptions == 1);
  }

  TEST_CASE("what may not be subscribed to is refused and counted; twice the same is no error") {
    topics_fixture f;
    f.connect();
    CHECK(f.subscribe(0, "a..b") == subscribed::invalid);
    CHECK(f.subscribe(0, "") == subscribed::invalid);
    CHECK(f.topics->stats().refused == 2);
    CHECK(f.subscribe(0, "a") == subscribed::yes);
    CHECK(f.subscribe(0, "a") == subscribed::already);
    CHECK(f.topics->stats().refused == 2);
    CHECK(f.topics->stats().subscriptions == 1);
  }

  TEST_CASE("a connection has so many subscriptions and not one more") {
    topics_options options;
    options.max_subscriptions = 3;
    topics_fixture f{options};
    f.connect();
    f.connect();
    CHECK(f.subscribe(0, "a") == subscribed::yes);
    CHECK(f.subscribe(0, "b") == subscribed::yes);
    CHECK(f.subscribe(0, "c") == subscribed::yes);
    CHECK(f.subscribe(0, "d") == subscribed::limit);
    CHECK(f.subscribe(0, "c") == subscribed::already);
    CHECK(f.topics->stats().refused == 1);
    CHECK(f.subscribe(1, "d") == subscribed::yes);
    CHECK(f.unsubscribe(0, "b"));
    CHECK(f.subscribe(0, "d") == subscribed::yes);
  }

  TEST_CASE("the options of a delivery choose among the followers") {
    topics_fixture f;
    for (int i = 0; i < 3; ++i) f.connect();
    for (std::size_t i = 0; i < 3; ++i) f.subscribe(i, "a");
    const auto first = f.end_of(0).id();
    CHECK((*f.start(f.topics->publish("a", text("1"), delivery().except(first))))->matched == 2);
    CHECK((*f.start(f.topics->publish("a", text("2"), delivery().on_route("/none"))))->matched == 0);
    const auto only = [first](const connection& one) { return one.id() == first; };
    CHECK((*f.start(f.topics->publish("a", text("3"), delivery().where(only))))->matched == 1);
  }

  TEST_CASE("a predicate may change who follows what, and publish") {
    topics_fixture f;
    for (int i = 0; i < 3; ++i) f.connect();
    for (std::size_t i = 0; i < 3; ++i) f.subscribe(i, "a");
    bool once = false;
    const auto busy = [&](const connection&) {
      if (std::exchange(once, true)) return true;
      for (std::size_t i = 0; i < 3; ++i) {
        asio::co_spawn(f.context, f.topics->unsubscribe(f.end_of(i), "a"), asio::detached);
      }
      f.topics->post_publish("a", text("nested"));
      return true;
    };
    CHECK((*f.start(f.topics->publish("a", text("outer"), delivery().where(busy))))->matched == 3);
    f.settle();
    CHECK(f.publish("a", "after").matched == 0);
    for (const auto& peer : f.peers) {
      const auto got = peer->received();
      CHECK(std::count(got.begin(), got.end(), text("outer")) == 1);
    }
  }

  TEST_CASE("rules say how a topic's publications are delivered, the first that matches") {
    manager_options narrow;
    narrow.limits.send_queue_messages = 2;
    topics_options options;
    options.rules = {{"market.>", overflow::conflate}, {"news.*", overflow::drop}, {">", overflow::evict}};
    fixture f{narrow};
    const auto topics = make_topics(f.hub, options);
    auto& peer = f.connect();
    peer.set_capacity(0);
    const auto end = peer.other_end();
    for (const auto* pattern : {"market.A", "market.B", "news.x"}) {
      const auto answer = f.start(topics->subscribe(*end, pattern));
      REQUIRE(*answer == subscribed::yes);
    }
    const auto publish = [&](const char* topic, const char* what) {
      return f.start(topics->publish(topic, text(what)));
    };
    const auto first = publish("market.A", "A1");
    const auto other = publish("market.B", "B1");
    CHECK(!*first);
    const auto full = publish("news.x", "dropped");
    REQUIRE(*full);
    CHECK((*full)->dropped == 1);
    const auto newer = publish("market.A", "A2");
    REQUIRE(*first);
    CHECK((*first)->conflated == 1);
    peer.set_capacity(1'000'000);
    f.settle();
    CHECK((*newer)->written == 1);
    CHECK((*other)->written == 1);
    CHECK(drink(f, peer) == std::vector{text("A2"), text("B1")});
  }

  TEST_CASE("publishing to what is no topic, nothing, or with a policy that cannot be, throws") {
    topics_fixture f;
    const auto message = text("x");
    for (const auto* bad : {"", "a.*", ">", "a b"}) {
      CHECK_THROWS_AS(f.topics->post_publish(bad, message), std::invalid_argument);
      CHECK_THROWS_AS(f.topics->post_publish(bad, message, delivery()), std::invalid_argument);
      CHECK(!*f.start(f.topics->publish(bad, message)));
    }
    CHECK_THROWS_AS(f.topics->post_publish("a", prepared_message{}), std::invalid_argument);
    CHECK_THROWS_AS(f.topics->post_publish("a", message, delivery().wait()), std::invalid_argument);
    CHECK(f.topics->stats().publications == 0);
  }

  TEST_CASE("only the connections of its own manager") {
    topics_fixture f;
    fixture other;
    other.connect();
    bool refused = false;
    asio::co_spawn(f.context, f.topics->subscribe(*other.peers[0]->other_end(), "a"),
                   [&refused](const std::exception_ptr& error, subscribed) { refused = error != nullptr; });
    f.settle();
    CHECK(refused);
    testing::mock_websocket mock;
    refused = false;
    asio::co_spawn(f.context, f.topics->subscribe(mock, "a"),
                   [&refused](const std::exception_ptr& error, subscribed) { refused = error != nullptr; });
    f.settle();
    CHECK(refused);
  }

  TEST_CASE("a manager has topics once, and options must be allowed") {
    fixture f;
    testing::mock_manager mock;
    CHECK_THROWS_AS((void)make_topics(std::make_shared<testing::mock_manager>()), std::invalid_argument);
    topics_options options;
    options.max_subscriptions = 0;
    CHECK_THROWS_AS((void)make_topics(f.hub, options), std::invalid_argument);
    options.max_subscriptions = 1;
    options.rules = {{"a..b", overflow::drop}};
    CHECK_THROWS_AS((void)make_topics(f.hub, options), std::invalid_argument);
    options.rules = {{"a", overflow::wait}};
    CHECK_THROWS_AS((void)make_topics(f.hub, options), std::invalid_argument);
    options.rules.clear();
    auto first = make_topics(f.hub, options);
    CHECK_THROWS_AS((void)make_topics(f.hub), std::invalid_argument);
    first.reset();
    CHECK(make_topics(f.hub));
  }

  TEST_CASE("topics that are made again know nothing of the subscriptions to those before") {
    fixture f;
    topics_options options;
    options.rules = {{">", overflow::drop}};
    options.rules[0].presence = true;
    auto topics = make_topics(f.hub, options);
    auto& peer = f.connect();
    auto& who = *peer.other_end();
    REQUIRE(*f.start(topics->subscribe(who, "a")) == subscribed::yes);
    REQUIRE(*f.start(topics->subscribe(who, "b.*")) == subscribed::yes);
    topics.reset();
    topics = make_topics(f.hub, options);
    CHECK(*f.start(topics->subscribe(who, "c")) == subscribed::yes);
    CHECK(**f.start(topics->subscriptions(who)) == std::vector<std::string>{"c"});
    CHECK((*f.start(topics->presence("a")))->count == 0);
    CHECK(topics->stats().subscriptions == 1);
    CHECK((*f.start(topics->publish("a", text("a"))))->matched == 0);
    CHECK((*f.start(topics->publish("b.1", text("b"))))->matched == 0);
    CHECK((*f.start(topics->publish("c", text("c"))))->written == 1);
    CHECK(peer.received() == std::vector{text("c")});
    CHECK(*f.start(topics->subscribe(who, "a")) == subscribed::yes);
  }

  TEST_CASE("topics that outlive their manager say that nobody is there") {
    std::shared_ptr<skein::topics> left;
    asio::io_context context;
    {
      manager_options options;
      options.shards = 2;
      const auto hub = make_manager(options);
      left = make_topics(hub);
    }
    left->post_publish("a", text("x"));
    std::optional<delivery_report> report;
    asio::co_spawn(context, left->publish("a", text("x")),
                   [&report](const std::exception_ptr&, delivery_report all) { report = all; });
    context.run();
    REQUIRE(report);
    CHECK(report->matched == 0);
  }
}

TEST_SUITE("users") {
  struct users_fixture : fixture {
    testing::memory_peer& connect_as(const std::string& user) {
      identity who;
      who.user = user;
      peers.push_back(testing::connect(*hub, ignore, {}, std::move(who)));
      settle();
      return *peers.back();
    }
    std::shared_ptr<skein::users> users = make_users(hub);
  };

  TEST_CASE("a message for a user goes to all of the user's connections and to nobody else's") {
    users_fixture f;
    f.connect_as("alice");
    f.connect_as("bob");
    f.connect_as("alice");
    f.connect();
    const auto report = f.start(f.users->send("alice", text("1")));
    REQUIRE(*report);
    CHECK((*report)->matched == 2);
    CHECK((*report)->written == 2);
    CHECK((*report)->balanced());
    f.users->post_send("bob", text("2"));
    f.users->post_send("", text("nobody"));
    f.settle();
    CHECK(f.peers[0]->received() == std::vector{text("1")});
    CHECK(f.peers[1]->received() == std::vector{text("2")});
    CHECK(f.peers[2]->received() == std::vector{text("1")});
    CHECK(f.peers[3]->received().empty());
    CHECK((*f.start(f.users->send("carol", text("3"))))->matched == 0);
    CHECK((*f.start(f.users->send("", text("3"))))->matched == 0);
    CHECK((*f.start(f.users->send("*", text("3"))))->matched == 0);
  }

  TEST_CASE("a user's connections are known, come and go, and can be closed together") {
    users_fixture f;
    f.connect_as("alice");
    f.connect_as("alice");
    f.connect_as("bob");
    CHECK((*f.start(f.users->connections("alice")))->size() == 2);
    f.peers[0].reset();
    f.settle();
    CHECK(**f.start(f.users->connections("alice")) ==
          std::vector<connection_id>{f.peers[1]->other_end()->id()});
    CHECK(**f.start(f.users->close("alice", close_code{4403}, "revoked")) == 1);
    CHECK(f.peers[1]->received().empty());
    CHECK(f.peers[2]->received().empty());
    f.settle();
    CHECK(f.peers[1]->close_received() == close_code{4403});
    CHECK(!f.peers[2]->close_received());
    CHECK(**f.start(f.users->close("alice", close_code::normal)) == 0);
    CHECK(f.start(f.users->connections("alice"))->value().empty());
    CHECK(!*f.start(f.users->close("bob", close_code::abnormal)));
    CHECK_THROWS_AS(f.users->post_send("bob", prepared_message{}), std::invalid_argument);
    CHECK_THROWS_AS(f.users->post_send("bob", text("x"), delivery().wait()), std::invalid_argument);
    CHECK_THROWS_AS((void)make_users(std::make_shared<testing::mock_manager>()), std::invalid_argument);
  }
}
