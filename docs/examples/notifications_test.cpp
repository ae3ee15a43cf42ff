#include "notifications.hpp"

#include "examples_test.hpp"

namespace skein::examples {

TEST_SUITE("examples: notifications") {
  // [mock_manager]
  TEST_CASE("an announcement is a broadcast, and its report is handed on") {
    delivery_report two_of_three;
    two_of_three.matched = 3;
    two_of_three.written = 2;
    two_of_three.closed = 1;
    testing::mock_manager hub;
    hub.will_report(two_of_three);

    const auto report = testing::run(announce(hub, "lunch"));

    CHECK(report.written == 2);
    CHECK(hub.record().at(0).what == message::text(R"({"type":"alert","text":"lunch"})"));
    CHECK(hub.record().at(0).how.route() == "/ws");
  }
  // [/mock_manager]

  TEST_CASE("an announcement does not wait for ever, and evicts nobody") {
    testing::mock_manager hub;
    testing::run(announce(hub, "lunch"));
    CHECK(hub.record().at(0).how.deadline() > std::chrono::nanoseconds{0});
    CHECK(hub.record().at(0).how.policy() == overflow::drop);
  }

  TEST_CASE("a note is kept for its user") {
    testing::mock_users users;
    testing::run(notify(users, "ada", "call back"));
    CHECK(users.record().at(0).user == "ada");
    CHECK(users.record().at(0).what == message::text(R"({"type":"note","text":"call back"})"));
    CHECK(users.record().at(0).how.is_stored());
  }
}

}  // namespace skein::examples
