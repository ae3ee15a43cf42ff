#include "market_data.hpp"

#include "examples_test.hpp"
#include "session.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>

namespace skein::examples {
namespace {

struct with_prices : fixture {
  std::shared_ptr<market_data> make(std::uint64_t seed = 1) {
    return std::make_shared<market_data>(hub, spawn(), std::chrono::nanoseconds{0}, seed);
  }
};

// Listens until the hub was given this many messages.
asio::awaitable<void> listen(market_data& prices, const testing::mock_manager& hub, std::size_t messages) {
  prices.join();
  while (hub.record().size() < messages) {
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  }
  prices.leave();
}

}  // namespace

TEST_SUITE("examples: market_data") {
  TEST_CASE_FIXTURE(with_prices, "nothing is generated while nobody listens") {
    auto prices = make();
    testing::settle(context);
    CHECK_FALSE(prices->running());
    CHECK(hub.record().empty());
  }

  TEST_CASE_FIXTURE(with_prices, "prices run from the first subscriber to the last") {
    auto prices = make();
    prices->join();
    CHECK(prices->running());
    testing::run(context, listen(*prices, hub, 8));
    CHECK(prices->running());
    prices->leave();
    testing::settle(context);
    CHECK_FALSE(prices->running());
  }

  TEST_CASE_FIXTURE(with_prices, "prices run again for the next subscriber") {
    auto prices = make();
    testing::run(context, listen(*prices, hub, 4));
    CHECK_FALSE(prices->running());
    testing::run(context, listen(*prices, hub, 12));
    CHECK(hub.record().size() >= 12);
  }

  TEST_CASE_FIXTURE(with_prices,
                    "a price says what it is, where it comes from, and its place in the sequence") {
    auto prices = make();
    testing::run(context, listen(*prices, hub, 8));
    const auto first = parsed(hub.record().at(0).what);
    CHECK(first.at("type") == "market_data");
    CHECK(first.at("symbol") == "AAPL");
    CHECK(first.at("source") == "random walk");
    CHECK(first.at("price").as_double() > 100);
    CHECK(first.at("sequence") == 1);
    CHECK(parsed(hub.record().at(4).what).at("sequence") == 2);
  }

  TEST_CASE_FIXTURE(with_prices, "each symbol is conflated by itself") {
    auto prices = make();
    testing::run(context, listen(*prices, hub, 4));
    for (const auto& each : hub.record()) {
      CHECK(each.how.policy() == overflow::conflate);
      CHECK(*each.how.key() == field(each.what, "symbol"));
    }
  }

  TEST_CASE_FIXTURE(with_prices, "only those that subscribed are sent prices") {
    auto prices = make();
    testing::run(context, listen(*prices, hub, 1));
    const auto& accepts = hub.record().at(0).how.where();
    testing::mock_websocket stranger, subscriber, other;
    open_session(subscriber)->subscribe(channel::market_data);
    open_session(other)->subscribe(channel::orders);
    CHECK(accepts(subscriber));
    CHECK_FALSE(accepts(other));
    CHECK_FALSE(accepts(stranger));
  }

  TEST_CASE_FIXTURE(with_prices, "the same seed walks the same way") {
    testing::mock_manager other_hub;
    auto one = make(5);
    auto two = std::make_shared<market_data>(other_hub, spawn(), std::chrono::nanoseconds{0}, 5);
    testing::run(context, listen(*one, hub, 40));
    testing::run(context, listen(*two, other_hub, 40));
    for (std::size_t i = 0; i < 40; ++i) CHECK(hub.record()[i].what == other_hub.record()[i].what);
  }

  TEST_CASE_FIXTURE(with_prices, "the snapshot has every symbol's newest price") {
    auto prices = make();
    testing::run(context, listen(*prices, hub, 8));
    const auto snapshot = prices->snapshot();
    const auto all = parsed(message::text(std::string{snapshot.payload()})).at("prices").as_array();
    CHECK(all.size() == 4);
    CHECK(std::ranges::all_of(all, [](const auto& each) { return each.at("sequence").as_int64() >= 2; }));
  }
}

}  // namespace skein::examples
