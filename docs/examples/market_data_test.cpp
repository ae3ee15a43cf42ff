#include "market_data.hpp"

#include "desk.hpp"
#include "examples_test.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

#include <algorithm>

namespace skein::examples {
namespace {

struct with_prices : fixture {
  std::shared_ptr<market_data> make(testing::mock_topics& to, std::uint64_t seed = 1) {
    return std::make_shared<market_data>(to, std::chrono::nanoseconds{0}, seed);
  }
  std::shared_ptr<market_data> prices = make(topics);
};

}  // namespace

TEST_SUITE("examples: market_data") {
  TEST_CASE_FIXTURE(with_prices,
                    "every symbol has a topic, and a price says what it is and where it comes from") {
    prices->move_all();
    prices->move_all();
    REQUIRE(topics.record().size() == 8);
    const auto first = parsed(topics.record().at(0).what);
    CHECK(topics.record().at(0).topic == "market.AAPL");
    CHECK(first.at("type") == "market_data");
    CHECK(first.at("symbol") == "AAPL");
    CHECK(first.at("source") == "random walk");
    CHECK(first.at("price").as_double() > 100);
    CHECK(first.at("sequence") == 1);
    CHECK(parsed(topics.record().at(4).what).at("sequence") == 2);
  }

  TEST_CASE_FIXTURE(with_prices, "prices are conflated, by the rule of their topics") {
    topics.with_rules(desk_rules());
    CHECK(topics.rule_of("market.AAPL").policy == overflow::conflate);
    prices->move_all();
    CHECK_FALSE(topics.record().at(0).how.has_policy());
  }

  TEST_CASE_FIXTURE(with_prices, "the same seed walks the same way") {
    testing::mock_topics other;
    auto one = make(topics, 5), two = make(other, 5);
    for (int i = 0; i < 10; ++i) {
      one->move_all();
      two->move_all();
    }
    for (std::size_t i = 0; i < 40; ++i) CHECK(topics.record()[i].what == other.record()[i].what);
  }

  TEST_CASE_FIXTURE(with_prices, "the snapshot has every symbol's newest price") {
    prices->move_all();
    prices->move_all();
    const auto all = json::parse(prices->snapshot()).as_array();
    CHECK(all.size() == 4);
    CHECK(std::ranges::all_of(all, [](const auto& each) { return each.at("sequence") == 2; }));
  }

  TEST_CASE_FIXTURE(with_prices, "they move until they are cancelled") {
    asio::cancellation_signal enough;
    bool ended = false;
    asio::co_spawn(
        context, market_data::run(prices),
        asio::bind_cancellation_slot(enough.slot(), [&](const std::exception_ptr&) { ended = true; }));
    while (topics.record().size() < 12) context.run_one();
    enough.emit(asio::cancellation_type::terminal);
    testing::settle(context);
    CHECK(ended);
  }
}

}  // namespace skein::examples
