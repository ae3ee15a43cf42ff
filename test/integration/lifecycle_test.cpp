// From the first byte of a connection to its one closed event: handlers, and closing from either side.

#include "lifecycle.hpp"

#include <doctest/doctest.h>

using namespace skein::test;
using namespace std::chrono_literals;
using namespace std::string_literals;
using skein::close_code;
using skein::closed_by;
namespace asio = boost::asio;

TEST_SUITE("handlers") {
  TEST_CASE("a handler that throws closes with 1011, is counted and reported, and harms nobody else") {
    const std::vector<std::pair<std::string, skein::handler>> handlers{
        {"/at-the-third", throw_at_the_third},
        {"/at-once", throw_at_once},
        {"/a-number", throw_a_number},
        {"/no-coroutine",
         [](skein::connection&) -> asio::awaitable<void> { throw std::logic_error{"before it began"}; }},
    };
    test_server server{quiet_options(), {}, [&](skein::server& one) {
                         for (const auto& [path, what] : handlers) one.route(path, what);
                       }};
    auto bystander = connected(server);
    std::uint64_t thrown = 0;
    for (const auto& [path, what] : handlers) {
      CAPTURE(path);
      auto client = connected(server, path);
      client.send(text_frame("1") + text_frame("2") + text_frame("3"));
      std::optional<frame> next;
      do {
        next = client.read_message();
        REQUIRE(next);
      } while (next->opcode != op::close);
      CHECK(close_code_of(next->payload) == 1011);
      CHECK(next->payload.size() == 2);  // what went wrong is not the peer's business
      client.send(close_frame(1011));
      CHECK(client.read_to_end() == stream_end::closed);
      ++thrown;
      CHECK(server.stats().handler_exceptions == thrown);
      CHECK(server.problems() == thrown);
    }
    REQUIRE(server.wait_for_closed(thrown));
    for (const auto& one : server.closed()) {
      CHECK(one.reason.by == closed_by::local);
      CHECK(one.reason.code == close_code::internal_error);
    }
    bystander.send(text_frame("still here"));
    CHECK(bystander.read_message()->payload == "still here");
    bystander.close();
    check_settled(server);
  }

  TEST_CASE("a handler that returns closes with 1000, behind everything that it wrote") {
    test_server server{quiet_options(), {}, [](skein::server& one) {
                         one.route("/at-once", return_at_once);
                         one.route("/greeting", greet_and_return);
                       }};
    auto client = connected(server, "/greeting");
    CHECK(client.read_message()->payload == "welcome");
    CHECK(client.read_message()->payload == std::string(200'000, 'x'));
    const auto close = client.read_message();
    REQUIRE(close);
    CHECK(close->opcode == op::close);
    CHECK(close_code_of(close->payload) == 1000);
    client.send(close_frame(1000));
    CHECK(client.read_to_end() == stream_end::closed);

    auto other = connected(server, "/at-once");
    const auto at_once = other.read_message();
    REQUIRE(at_once);
    CHECK(close_code_of(at_once->payload) == 1000);
    other.send(close_frame(1000));
    CHECK(other.read_to_end() == stream_end::closed);
    CHECK(server.stats().handler_exceptions == 0);
    check_settled(server);
  }

  TEST_CASE("a handler closes with a code and a text of its own, and waits for the end") {
    test_server server{quiet_options(), {}, route("/close", close_with_4321)};
    auto client = connected(server, "/close");
    client.send(text_frame("x"));
    const auto close = client.read_message();
    REQUIRE(close);
    CHECK(close_code_of(close->payload) == 4321);
    CHECK(close->payload.substr(2) == "enough");
    client.send(close_frame(4321));
    CHECK(client.read_to_end() == stream_end::closed);
    REQUIRE(server.wait_for_closed(1));
    const auto ended = server.closed().front();
    CHECK(ended.reason.by == closed_by::local);
    CHECK(static_cast<int>(ended.reason.code) == 4321);
    CHECK(ended.reason.text == "enough");
    check_settled(server);
  }

  TEST_CASE("read hands out what arrived before the peer's close, then nothing, and says who closed") {
    shared notes;
    test_server server{quiet_options(), {}, route("/late", [&notes](skein::connection& who) {
                         return read_after_the_end(who, notes);
                       })};
    auto client = connected(server, "/late");
    client.send(text_frame("1") + text_frame("2") + binary_frame("3") + close_frame(4001, "moving on"));
    const auto rest = client.read_conclusion();
    CHECK(rest.code() == 4001);
    REQUIRE(eventually([&] { return notes.noted().size() == 4; }));
    CHECK(notes.noted() == std::vector<std::string>{"message 1", "message 2", "message 3",
                                                    reason(closed_by::peer, 4001, "moving on")});
    CHECK(eventually([&] { return notes.running == 0; }));
    check_settled(server);
  }

  TEST_CASE("read hands out what arrived before a failed transport") {
    shared notes;
    test_server server{quiet_options(), {}, route("/late", [&notes](skein::connection& who) {
                         return read_after_the_end(who, notes);
                       })};
    auto client = connected(server, "/late");
    client.send(text_frame("1") + text_frame("2"));
    REQUIRE(eventually([&] { return server.stats().messages_in == 2; }));
    client.reset();
    REQUIRE(eventually([&] { return notes.noted().size() == 3; }));
    CHECK(notes.noted() ==
          std::vector<std::string>{"message 1", "message 2", reason(closed_by::transport, 1006)});
    check_settled(server);
  }

  TEST_CASE("close_reason tells the peer's close, the own one and the transport's apart") {
    shared notes;
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{
        options, {}, route("/note", [&notes](skein::connection& who) { return note_reason(who, notes); })};
    const auto next_note = [&](std::size_t count) {
      REQUIRE(eventually([&] { return notes.noted().size() == count; }));
      return notes.noted().back();
    };
    SUBCASE("the peer, with a code") {
      auto client = connected(server, "/note");
      client.send(close_frame(1001, "away"));
      CHECK(next_note(1) == reason(closed_by::peer, 1001, "away"));
    }
    SUBCASE("the peer, without a code") {
      auto client = connected(server, "/note");
      client.send(close_frame(0));
      const auto said = next_note(1);
      CHECK((said == reason(closed_by::peer, 0) || said == reason(closed_by::peer, 1005)));
    }
    SUBCASE("this side") {
      auto client = connected(server, "/note");
      all.wait_for(0)->post_close(static_cast<close_code>(4100), "go");
      CHECK(close_code_of(client.read_message()->payload) == 4100);
      client.send(close_frame(4100));
      CHECK(next_note(1) == reason(closed_by::local, 4100, "go"));
    }
    SUBCASE("this side, though the peer answers with another code") {
      auto client = connected(server, "/note");
      all.wait_for(0)->post_close(static_cast<close_code>(4100));
      CHECK(close_code_of(client.read_message()->payload) == 4100);
      client.send(close_frame(1000, "whatever"));
      CHECK(next_note(1) == reason(closed_by::local, 4100));
    }
    SUBCASE("this side, because of a rule that the peer broke") {
      auto client = connected(server, "/note");
      client.send(text_frame("\xff"));
      CHECK(client.read_conclusion().code() == 1007);
      client.close();
      CHECK(next_note(1) == reason(closed_by::local, 1007));
    }
    SUBCASE("a reset") {
      connected(server, "/note").reset();
      CHECK(next_note(1) == reason(closed_by::transport, 1006));
    }
    SUBCASE("the end of the stream without a close frame") {
      auto client = connected(server, "/note");
      client.finish_sending();
      CHECK(client.read_to_end() == stream_end::closed);
      CHECK(next_note(1) == reason(closed_by::transport, 1006));
    }
    SUBCASE("the end of the stream amid a frame") {
      auto client = connected(server, "/note");
      client.send("\x81\x85");
      client.finish_sending();
      CHECK(client.read_to_end() == stream_end::closed);
      CHECK(next_note(1) == reason(closed_by::transport, 1006));
    }
    CHECK(eventually([&] { return notes.running == 0; }));
    check_settled(server);
  }

  TEST_CASE(
      "on_open comes before the handler, on_closed once and behind both loops, both on the connection's "
      "executor") {
    shared notes;
    std::atomic<bool> stranger{false};
    auto options = quiet_options();
    options.on_open = [&](skein::connection& who) {
      notes.note("opened");
      who.attributes() = std::this_thread::get_id();
    };
    options.on_closed = [&](skein::connection& who, const skein::close_reason&) {
      notes.note("closed");
      if (std::any_cast<std::thread::id>(who.attributes()) != std::this_thread::get_id()) stranger = true;
      if (who.is_open()) stranger = true;
    };
    test_server server{
        options, {}, route("/note", [&notes](skein::connection& who) { return note_reason(who, notes); })};
    auto client = connected(server, "/note");
    client.send(text_frame("x") + close_frame(1000));
    client.read_to_end();
    REQUIRE(eventually([&] { return notes.noted().size() == 4; }));
    const auto order = notes.noted();
    CHECK(order[0] == "opened");
    CHECK(order[1] == "message x");
    CHECK(std::count(order.begin(), order.end(), "closed") == 1);
    CHECK_FALSE(stranger);
    check_settled(server);
  }
}

TEST_SUITE("closing") {
  TEST_CASE("a connection is closed from another thread") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    const auto connection = all.wait_for(0);
    auto closing = std::async(std::launch::async, [connection] {
      await(connection->close(static_cast<close_code>(4002), "from afar"));
    });
    const auto close = client.read_message();
    REQUIRE(close);
    CHECK(close_code_of(close->payload) == 4002);
    CHECK(close->payload.substr(2) == "from afar");
    CHECK(closing.wait_for(0s) == std::future_status::timeout);  // it waits for the peer
    client.send(close_frame(4002));
    CHECK(client.read_to_end() == stream_end::closed);
    closing.get();
    CHECK_FALSE(connection->is_open());
    // Closed is closed: at once, and without an effect.
    await(connection->close(close_code::normal, {}));
    connection->post_close();
    CHECK(await(connection->write(text("too late"))) == skein::outcome::closed);
    CHECK(await(connection->send(text("too late"), skein::delivery().until_written())) ==
          skein::outcome::closed);
    connection->post_send(text("too late"));
    check_settled(server);
  }

  TEST_CASE("the manager closes a connection by its id, once") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    const auto id = all.wait_for(0)->id();
    CHECK(await(server.manager().close(id, static_cast<close_code>(4003), {})));
    CHECK(close_code_of(client.read_message()->payload) == 4003);
    client.send(close_frame(4003));
    client.read_to_end();
    REQUIRE(server.wait_for_closed(1));
    CHECK_FALSE(await(server.manager().close(id, close_code::normal, {})));
    CHECK_FALSE(await(server.manager().close(0, close_code::normal, {})));
    CHECK(await(server.manager().send_to(id, text("x"), {})) == skein::outcome::closed);
  }

  TEST_CASE("a code that may not be sent is refused") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    const auto connection = all.wait_for(0);
    for (const int code : {1, 999, 1004, 1005, 1006, 1015, 2999, 5000}) {
      CHECK_THROWS_AS(connection->post_close(static_cast<close_code>(code)), std::invalid_argument);
    }
    CHECK(await(refuses(connection->close(close_code::abnormal, {}))));
    connection->post_close(close_code::none);
    const auto close = client.read_message();
    REQUIRE(close);
    CHECK(close->opcode == op::close);
    CHECK(close->payload.empty());
  }

  TEST_CASE("a text that is too long is cut at a character") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    all.wait_for(0)->post_close(close_code::normal, std::string(121, 'x') + "\xe2\x82\xac");
    const auto close = client.read_message();
    REQUIRE(close);
    CHECK(close->payload.substr(2) == std::string(121, 'x'));
  }

  TEST_CASE("both sides close at the same time") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options};
    for (std::size_t i = 0; i < 50; ++i) {
      auto client = connected(server);
      const auto connection = all.wait_for(i);
      std::thread other{[&] { connection->post_close(static_cast<close_code>(4004)); }};
      client.send(close_frame(4005));
      other.join();
      const auto rest = client.read_conclusion();
      CHECK((rest.code() == 4004 || rest.code() == 4005));
      CHECK(rest.bytes_after_close == 0);
      CHECK(rest.end == stream_end::closed);
    }
    check_settled(server);
  }

  TEST_CASE("a peer that does not answer a close frame is reset at the close timeout") {
    collector all;
    auto options = quiet_options();
    options.limits.close_timeout = 200ms;
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    all.wait_for(0)->post_close(close_code::going_away);
    const auto rest = client.read_conclusion();
    CHECK(rest.code() == 1001);
    CHECK(rest.end != stream_end::open);
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.by == closed_by::local);
    CHECK(server.stats().close_timeouts == 1);
    check_settled(server);
  }

  TEST_CASE("a peer that broke a rule and does not leave is reset at the close timeout") {
    auto options = quiet_options();
    options.limits.close_timeout = 200ms;
    test_server server{options};
    auto client = connected(server);
    client.send(text_frame("\xff"));
    REQUIRE(server.wait_for_closed(1));  // though the client keeps its half open
    CHECK(server.closed().front().reason.code == close_code::invalid_payload);
    check_settled(server);
  }

  TEST_CASE(
      "data that arrives behind the own close frame is not handed out, and the peer's close ends the "
      "connection") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    all.wait_for(0)->post_close(close_code::going_away);
    CHECK(close_code_of(client.read_message()->payload) == 1001);
    client.send(repeated_text("late ", 100) + close_frame(1001));
    CHECK(client.read_to_end() == stream_end::closed);
    REQUIRE(server.wait_for_closed(1));
    check_settled(server);
  }
}
