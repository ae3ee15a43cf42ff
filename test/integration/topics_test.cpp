// Topics on a real server with several shards: order, and changes from everywhere at once.

#include "test_server.hpp"

#include <skein/topics.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

using namespace skein;
using namespace skein::test;

namespace {

/// Each message from a client is a pattern that it subscribes to, or with `-` in front, no longer follows; it
/// is told when that holds.
struct topics_server {
  topics_server()
      : server(quiet_options(), {}, [this](skein::server& where) {
          where.route("/topics", [this](connection& client) -> asio::awaitable<void> {
            while (auto wish = co_await client.read()) {
              std::string pattern{wish->payload()};
              if (pattern.starts_with('-')) {
                co_await topics->unsubscribe(client, pattern.substr(1));
              } else {
                co_await topics->subscribe(client, pattern);
              }
              co_await client.write(message::text("ok " + pattern));
            }
          });
        }) {}

  std::shared_ptr<skein::topics> topics;
  test_server server;
};

raw_client follower(topics_server& of, const std::string& pattern) {
  raw_client client{of.server.port()};
  REQUIRE(client.open("/topics").status == 101);
  client.send(text_frame(pattern));
  const auto answer = client.read_message();
  REQUIRE(answer);
  REQUIRE(answer->payload == "ok " + pattern);
  return client;
}

}  // namespace

TEST_SUITE("topics") {
  TEST_CASE("what is published one after another arrives in that order, on every shard") {
    topics_server of;
    of.topics = make_topics(of.server.manager_pointer());
    std::vector<raw_client> clients;
    for (int i = 0; i < 8; ++i) clients.push_back(follower(of, i % 2 == 0 ? "prices.A" : "prices.*"));
    constexpr int count = 500;
    for (int i = 0; i < count; ++i) {
      if (i % 2 == 0) {
        of.topics->post_publish("prices.A", message::text(std::to_string(i)));
      } else {
        const auto report = await(of.topics->publish("prices.A", message::text(std::to_string(i))));
        CHECK(report.matched == 8);
        CHECK(report.balanced());
      }
    }
    for (auto& client : clients) {
      for (int i = 0; i < count; ++i) {
        const auto got = client.read_message();
        REQUIRE(got);
        REQUIRE(got->payload == std::to_string(i));
      }
    }
    CHECK(of.topics->stats().subscriptions == 8);
  }

  TEST_CASE("while others come, change their mind and go, whoever stays misses nothing") {
    topics_server of;
    of.topics = make_topics(of.server.manager_pointer());
    auto stays = follower(of, "orders.>");
    std::atomic<bool> over{false};
    std::vector<std::thread> restless;
    for (int t = 0; t < 3; ++t) {
      restless.emplace_back([&, t] {
        while (!over) {
          auto client = follower(of, "orders." + std::to_string(t));
          client.send(text_frame("-orders." + std::to_string(t)));
          if (t == 0) client.reset();
        }
      });
    }
    constexpr int count = 2'000;
    std::vector<std::thread> publishers;
    for (int p = 0; p < 2; ++p) {
      publishers.emplace_back([&, p] {
        for (int i = 0; i < count; ++i) {
          of.topics->post_publish("orders." + std::to_string(p),
                                  message::text(std::to_string(p) + ":" + std::to_string(i)));
        }
      });
    }
    std::vector<int> next(publishers.size());
    for (int i = 0; i < 2 * count; ++i) {
      const auto got = stays.read_message();
      REQUIRE(got);
      const auto who = static_cast<std::size_t>(got->payload[0] - '0');
      REQUIRE(got->payload.substr(2) == std::to_string(next.at(who)++));
    }
    for (auto& one : publishers) one.join();
    over = true;
    for (auto& one : restless) one.join();
    stays.close();
    CHECK(eventually([&] { return of.topics->stats().subscriptions == 0; }));
    CHECK(of.topics->stats().topics == 0);
  }
}
