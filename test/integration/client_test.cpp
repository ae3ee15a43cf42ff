// skein::client against a real server: 1,000 cuts at random moments, and nothing is missing.

#include "protocol_server.hpp"

#include <skein/client.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>

using namespace skein;
using namespace skein::test;

namespace {

constexpr std::uint64_t kept = 20'000;
constexpr std::uint64_t lead = 5'000;  // of the publisher before the slowest

/// A connection that the test can cut as a network does.
class fragile final : public websocket {
 public:
  explicit fragile(std::unique_ptr<websocket_client> inner) : inner_(std::move(inner)) {}
  void cut() { inner_.reset(); }
  asio::awaitable<std::optional<message>> read() override {
    if (!inner_) co_return std::nullopt;
    auto got = co_await inner_->read();
    co_return got;
  }
  asio::awaitable<outcome> write(prepared_message what) override {
    if (!inner_) co_return outcome::closed;
    const auto result = co_await inner_->write(std::move(what));
    co_return result;
  }
  asio::awaitable<void> close(close_code code, std::string text) override {
    if (inner_) co_await inner_->close(code, std::move(text));
  }
  [[nodiscard]] bool is_open() const noexcept override { return inner_ && inner_->is_open(); }
  [[nodiscard]] const skein::close_reason& close_reason() const noexcept override {
    static const skein::close_reason cut{closed_by::transport, close_code::abnormal, "cut"};
    return inner_ ? inner_->close_reason() : cut;
  }

 private:
  std::unique_ptr<websocket_client> inner_;
};

client_options to(const test_server& server) {
  client_options options;
  options.url = "ws://127.0.0.1:" + std::to_string(server.port()) + "/ws";
  options.min_pause = options.max_pause = std::chrono::milliseconds{1};
  return options;
}

/// Follows until everything has been seen; cuts its own connection now and then.
class follower {
 public:
  follower(const test_server& server, topic_position from, std::uint64_t seed)
      : random_(seed), expected_(from.offset) {
    auto options = to(server);
    options.connector = [this](std::string url,
                               connect_options how) -> asio::awaitable<std::shared_ptr<websocket>> {
      auto made = co_await connect_websocket(std::move(url), std::move(how));
      auto shared = std::make_shared<fragile>(std::move(made));
      line_ = shared;
      co_return shared;
    };
    asio::co_spawn(context_, follow(std::move(options), std::move(from)), asio::detached);
    thread_ = std::thread{[this] { context_.run(); }};
  }
  ~follower() { thread_.join(); }

  std::atomic<std::uint64_t> seen{0};
  std::atomic<std::uint64_t> cuts{0};
  std::atomic<bool> enough{false};  // no more cuts
  std::atomic<std::uint64_t> last{UINT64_MAX};
  std::string problem;  // once everything has been seen
  std::uint64_t connections = 0;

 private:
  asio::awaitable<void> follow(client_options options, topic_position from) {
    client feed{context_.get_executor(), std::move(options)};
    subscribe_options how;
    how.since = std::move(from);
    auto mine = feed.subscribe("orders.all", std::move(how));
    auto until_cut = 1 + random_() % 100;
    while (seen < last) {
      const auto item = co_await mine.next();
      if (!item) problem = "the subscription ended";
      if (item && item->gap) problem = "a gap after " + std::to_string(expected_);
      if (problem.empty() && item->position.offset != ++expected_)
        problem = "expected " + std::to_string(expected_) + ", got " + std::to_string(item->position.offset);
      if (problem.empty() && item->data.at("n").to_number<std::uint64_t>() != expected_)
        problem = "other data";
      if (!problem.empty()) break;
      seen = expected_;
      if (enough || --until_cut > 0) continue;
      until_cut = 1 + random_() % 100;
      if (const auto line = line_.lock()) {
        line->cut();
        ++cuts;
      }
    }
    connections = feed.stats().connections;
    co_await feed.close();
    seen = UINT64_MAX;  // from here on the test looks at the rest
  }

  std::mt19937_64 random_;
  std::uint64_t expected_;
  std::weak_ptr<fragile> line_;
  asio::io_context context_{1};
  std::thread thread_;
};

}  // namespace

TEST_SUITE("client and server") {
  TEST_CASE("1,000 cuts at random moments while messages are published: every one arrives, once, in order") {
    const auto* const wanted = std::getenv("SKEIN_CUTS");
    const std::uint64_t most = wanted != nullptr ? std::stoull(wanted) : 1'000;
    asio::io_context publisher{1};  // goes last: the server's threads post to it
    protocol_server one{kept};
    const auto publish = [&](std::uint64_t n) {
      auto report = asio::co_spawn(
          publisher, one.topics->publish("orders.all", message::text("{\"n\":" + std::to_string(n) + "}")),
          asio::use_future);
      publisher.restart();
      publisher.run();
      return report.get().position;
    };
    const auto began = std::chrono::steady_clock::now();
    const auto first = publish(1);
    constexpr std::size_t clients = 4;
    std::vector<std::unique_ptr<follower>> all;
    for (std::size_t i = 0; i < clients; ++i)
      all.push_back(std::make_unique<follower>(one.server, first, i + 1));
    std::uint64_t published = 1;
    const auto slowest = [&] {
      auto least = UINT64_MAX;
      for (const auto& each : all) least = std::min(least, each->seen.load());
      return least;
    };
    const auto cuts = [&] {
      std::uint64_t sum = 0;
      for (const auto& each : all) sum += each->cuts;
      return sum;
    };
    while (cuts() < most && slowest() != UINT64_MAX) {
      publish(++published);
      REQUIRE(eventually([&] { return slowest() + lead > published || slowest() == UINT64_MAX; }, 60s));
    }
    for (const auto& each : all) {
      each->enough = true;
      each->last = published + 1;
    }
    publish(++published);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    for (auto& each : all) {
      REQUIRE(eventually([&] { return each->seen == UINT64_MAX; }, 60s));
    }
    const auto sum = cuts();
    for (auto& each : all) {
      const auto problem = each->problem;
      CHECK(problem == "");
      CHECK(each->connections > each->cuts / 2);
    }
    CHECK(sum >= most);
    MESSAGE(sum << " cuts, " << published << " publications, "
                << static_cast<double>(published) / took.count() << " in a second");
  }

  TEST_CASE("messages that waited come first, and those that were not acknowledged come again") {
    asio::io_context context{1};  // goes last: the server's threads post to it
    protocol_server one{kept};
    const auto story = [&]() -> asio::awaitable<std::string> {
      std::string told;
      for (int i = 1; i <= 3; ++i) {
        auto what = message::text("{\"n\":" + std::to_string(i) + "}");
        auto report = co_await one.users->send("ada", std::move(what), delivery().stored());
        if (report.id == 0) told += "not stored ";
      }
      auto options = to(one.server);
      options.url += "?token=ada";
      for (int round = 0; round < 3; ++round) {
        client mine{context.get_executor(), options};
        auto item = co_await mine.next_message();
        if (item && round > 0) item = co_await mine.next_message();
        told += item ? std::to_string(item->data.at("n").as_int64()) : "none";
        // What was taken last is not acknowledged yet.
        boost::json::object ping{{"type", "ping"}};
        co_await mine.request(std::move(ping));
        co_await mine.close();
      }
      co_return told;
    };
    auto told = asio::co_spawn(context, story(), asio::use_future);
    context.run();
    CHECK(told.get() == "123");
  }
}
