#include "chat.hpp"

#include <skein/testing.hpp>

#include <doctest/doctest.h>

namespace skein::examples {

TEST_SUITE("examples: chat") {
  // [test]
  TEST_CASE("what one client says goes to everybody else") {
    delivery_report three;
    three.matched = 3;
    three.written = 3;
    testing::mock_manager room;
    room.will_report(three);
    testing::mock_websocket client;
    client.with_id(7).will_read_text("hello");

    testing::run(chat(client, room));

    CHECK(room.record().at(0).what.payload() == "hello");
    CHECK(room.record().at(0).how.except() == 7);
    CHECK(client.last_written().payload() == "told 3");
  }
  // [/test]
}

}  // namespace skein::examples
