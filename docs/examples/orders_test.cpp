#include "orders.hpp"

#include "examples_test.hpp"

namespace skein::examples {
namespace {

struct with_orders : fixture {
  std::shared_ptr<orders> book = std::make_shared<orders>(topics, spawn(), std::chrono::nanoseconds{0});

  std::uint64_t place(std::int64_t quantity, const std::string& owner = "ada") {
    return book->place(
        owner, {{"type", "place_order"}, {"symbol", "AAPL"}, {"side", "buy"}, {"quantity", quantity}});
  }
  std::string refusal(const json::object& request) {
    return refusal_of([&] { book->place("ada", request); });
  }
};

using list = std::vector<std::string>;

}  // namespace

TEST_SUITE("examples: orders") {
  TEST_CASE_FIXTURE(with_orders, "an order is accepted, partially filled and filled, for its owner to see") {
    place(10);
    testing::settle(context);
    CHECK(published("orders.ada", "status") == list{"accepted", "partially_filled", "filled"});
    CHECK(topics.record().size() == 3);
  }

  TEST_CASE_FIXTURE(with_orders, "an update says all that there is to know of the order") {
    CHECK(place(10) == 1);
    testing::settle(context);
    CHECK(topics.record().at(1).what.payload() ==
          R"({"type":"order_update","order_id":1,"symbol":"AAPL","side":"buy","quantity":10,"filled":5,)"
          R"("status":"partially_filled","sequence":2})");
  }

  TEST_CASE_FIXTURE(with_orders, "an order of one is filled in one step") {
    place(1);
    testing::settle(context);
    CHECK(published("orders.ada", "status") == list{"accepted", "filled"});
  }

  TEST_CASE_FIXTURE(with_orders, "the list has the owner's open orders and nobody else's") {
    place(10);
    place(20);
    place(1, "bob");
    CHECK(book->open_orders("ada").size() == 2);
    CHECK(book->open_orders("bob").size() == 1);
    CHECK(book->open_orders("eve").empty());
    testing::settle(context);
    CHECK(book->open_orders("ada").empty());
  }

  TEST_CASE_FIXTURE(with_orders, "an order that makes no sense is refused") {
    CHECK(refusal({{"side", "buy"}, {"quantity", 1}}) == "bad_request");
    CHECK(refusal({{"symbol", "AAPL"}, {"side", "hold"}, {"quantity", 1}}) == "bad_request");
    CHECK(refusal({{"symbol", "AAPL"}, {"side", "buy"}, {"quantity", 0}}) == "bad_request");
    CHECK(refusal({{"symbol", "AAPL"}, {"side", "buy"}, {"quantity", "ten"}}) == "bad_request");
    CHECK(refusal({{"symbol", std::string(17, 'A')}, {"side", "buy"}, {"quantity", 1}}) == "bad_request");
    CHECK(refusal({{"symbol", std::string(16, 'A')}, {"side", "buy"}, {"quantity", 1'000'000}}) == "none");
  }

  TEST_CASE_FIXTURE(with_orders, "one owner has only so many open orders") {
    for (int i = 0; i < 64; ++i) place(10);
    CHECK(refusal_of([&] { place(10); }) == "too_many_orders");
    CHECK(refusal_of([&] { place(10, "bob"); }) == "none");
    testing::settle(context);
    CHECK(refusal_of([&] { place(10); }) == "none");
  }

  TEST_CASE("a user's topic is a topic, whatever the user is called") {
    CHECK(orders_topic("ada") == "orders.ada");
    CHECK(orders_topic("a.b*c>d e_") == "orders.a_2eb_2ac_3ed_20e_5f");
    CHECK(orders_topic("\xc3\xa9") == "orders._c3_a9");
  }
}

}  // namespace skein::examples
