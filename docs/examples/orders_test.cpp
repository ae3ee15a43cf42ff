#include "orders.hpp"

#include "examples_test.hpp"

namespace skein::examples {
namespace {

struct with_orders : fixture {
  std::shared_ptr<orders> desk = std::make_shared<orders>(hub, spawn(), std::chrono::nanoseconds{0});
  std::shared_ptr<session> owner = std::make_shared<session>(7);

  void place(std::int64_t quantity) {
    desk->place(owner,
                {{"type", "place_order"}, {"symbol", "AAPL"}, {"side", "buy"}, {"quantity", quantity}});
  }
  std::size_t open_orders() const {
    return parsed(unprepared(desk->snapshot(*owner))).at("orders").as_array().size();
  }
  static message unprepared(const prepared_message& what) {
    return message::text(std::string{what.payload()});
  }
};

// The code with which an order is refused.
std::string refusal_of(orders& desk, const json::object& request) {
  try {
    desk.place(std::make_shared<session>(1), request);
  } catch (const bad_request& e) {
    return e.code;
  }
  return "none";
}

}  // namespace

TEST_SUITE("examples: orders") {
  TEST_CASE_FIXTURE(with_orders,
                    "an order is accepted, partially filled and filled, and its owner hears of it") {
    owner->subscribe(channel::orders);
    place(10);
    testing::settle(context);
    CHECK(sent("order_update", "status") ==
          std::vector<std::string>{"accepted", "partially_filled", "filled"});
    for (const auto& each : hub.record()) CHECK(each.to == connection_id{7});
  }

  TEST_CASE_FIXTURE(with_orders, "an update says all that there is to know of the order") {
    owner->subscribe(channel::orders);
    place(10);
    testing::settle(context);
    CHECK(hub.record().at(1).what.payload() ==
          R"({"type":"order_update","order_id":1,"symbol":"AAPL","side":"buy","quantity":10,"filled":5,)"
          R"("status":"partially_filled","sequence":2})");
  }

  TEST_CASE_FIXTURE(with_orders, "an owner that did not subscribe hears nothing") {
    place(10);
    testing::settle(context);
    CHECK(hub.record().empty());
    CHECK(open_orders() == 0);
  }

  TEST_CASE_FIXTURE(with_orders, "an order of one is filled in one step") {
    owner->subscribe(channel::orders);
    place(1);
    testing::settle(context);
    CHECK(sent("order_update", "status") == std::vector<std::string>{"accepted", "filled"});
  }

  TEST_CASE_FIXTURE(with_orders, "an order is filled even if its owner has gone") {
    owner->subscribe(channel::orders);
    hub.will_answer(outcome::closed);
    place(10);
    testing::settle(context);
    CHECK(sent("order_update", "status").back() == "filled");
  }

  TEST_CASE_FIXTURE(with_orders, "the snapshot has the owner's open orders and nobody else's") {
    place(10);
    place(20);
    desk->place(std::make_shared<session>(8),
                {{"type", "place_order"}, {"symbol", "MSFT"}, {"side", "sell"}, {"quantity", 1}});
    CHECK(open_orders() == 2);
    testing::settle(context);
    CHECK(open_orders() == 0);
  }

  TEST_CASE_FIXTURE(with_orders, "an order that makes no sense is refused") {
    CHECK(refusal_of(*desk, {{"side", "buy"}, {"quantity", 1}}) == "missing_field");
    CHECK(refusal_of(*desk, {{"symbol", "AAPL"}, {"side", "hold"}, {"quantity", 1}}) == "bad_field");
    CHECK(refusal_of(*desk, {{"symbol", "AAPL"}, {"side", "buy"}, {"quantity", 0}}) == "bad_field");
    CHECK(refusal_of(*desk, {{"symbol", "AAPL"}, {"side", "buy"}, {"quantity", "ten"}}) == "bad_field");
    CHECK(refusal_of(*desk, {{"symbol", std::string(100, 'A')}, {"side", "buy"}, {"quantity", 1}}) ==
          "bad_field");
  }

  TEST_CASE_FIXTURE(with_orders, "one owner has only so many open orders") {
    for (int i = 0; i < 64; ++i) place(10);
    CHECK_THROWS_AS(place(10), bad_request);
    testing::settle(context);
    CHECK_NOTHROW(place(10));
  }
}

}  // namespace skein::examples
