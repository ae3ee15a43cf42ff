// What takes too long: pongs, messages, writes.

#include "lifecycle.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace skein::test;
using namespace std::chrono_literals;
using namespace std::string_literals;
using skein::close_code;
using skein::closed_by;
namespace asio = boost::asio;

namespace {

/// A client that says all it has to say together with its handshake: the handler is behind before there can
/// be a ping, which this client would not answer.
raw_client talking(const test_server& server, std::string_view path, int messages,
                   const std::string& last = {}) {
  auto all = upgrade_request(path);
  for (int i = 0; i < messages; ++i) all += text_frame("x");
  raw_client client{server.port()};
  client.send(all + last);
  REQUIRE(client.read_answer().status == 101);
  return client;
}

}  // namespace

TEST_SUITE("deadlines") {
  TEST_CASE("a peer that does not answer pings is gone: 4000") {
    auto options = quiet_options();
    options.limits.ping_interval = 150ms;
    options.limits.pong_timeout = 150ms;
    options.limits.close_timeout = 200ms;
    test_server server{options};
    auto client = connected(server);
    // Talking is no proof: only a pong is.
    while (server.closed().empty()) {
      if (!client.send(text_frame("I am here"))) break;
      client.take(1 << 20);
      skein::test::detail::pause_briefly();
    }
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.code == close_code::pong_timeout);
    CHECK(server.closed().front().reason.by == closed_by::local);
    CHECK(server.stats().pong_timeouts == 1);
    check_settled(server);
  }

  TEST_CASE("a peer that answers pings stays, though it says nothing else") {
    collector all;
    auto options = quiet_options();
    options.limits.ping_interval = 50ms;
    options.limits.pong_timeout = 10s;
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    std::set<std::string> payloads;
    const auto begun = std::chrono::steady_clock::now();
    for (int i = 0; i < 5; ++i) {
      const auto ping = client.read_frame();
      REQUIRE(ping);
      REQUIRE(ping->opcode == op::ping);
      CHECK(ping->payload.size() == 8);
      CHECK(payloads.insert(ping->payload).second);  // nobody can know the next one
      client.send(pong_frame(ping->payload));
    }
    CHECK(std::chrono::steady_clock::now() - begun <
          9s);  // the interval counts, not how long a pong may take
    CHECK(eventually([&] { return server.stats().pongs_received == 5; }));
    CHECK(server.stats().pings_sent >= 5);
    CHECK(all.wait_for(0)->is_open());
    client.send(close_frame());
    CHECK(client.read_conclusion().code() == 1000);
  }

  TEST_CASE(
      "behind a handler that does not read, a peer that has left is found, and one that is there stays") {
    auto options = quiet_options();
    options.limits.receive_queue_messages = 4;
    options.limits.ping_interval = 150ms;
    options.limits.pong_timeout = 150ms;
    test_server server{options, {}, route("/idle", outlive)};
    auto there = talking(server, "/idle", 8);
    auto gone = talking(server, "/idle", 8);
    gone.close();  // behind what is never read
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.code == close_code::pong_timeout);
    const auto pings = server.stats().pings_sent;
    CHECK(eventually([&] { return server.stats().pings_sent >= pings + 3; }));
    CHECK(server.closed().size() == 1);
    CHECK(server.stats().active == 1);
  }

  TEST_CASE("a slow handler gets every message of a peer that has said all it had to say") {
    auto options = quiet_options();
    options.limits.receive_queue_messages = 2;
    options.limits.ping_interval = 60ms;
    options.limits.pong_timeout = 40ms;
    std::atomic<int> handled{0};
    const auto slowly = [&handled](skein::connection& who) -> asio::awaitable<void> {
      asio::steady_timer timer{co_await asio::this_coro::executor};
      for (;;) {
        const auto next = co_await who.read();
        if (!next) break;
        timer.expires_after(25ms);
        co_await timer.async_wait(asio::use_awaitable);
        ++handled;
      }
    };
    test_server server{options, {}, route("/slow", slowly)};
    auto client = talking(server, "/slow", 20, close_frame());
    client.finish_sending();
    CHECK(client.read_conclusion().code() == 1000);
    CHECK(eventually([&] { return handled == 20; }));
    CHECK(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.by == closed_by::peer);
  }

  TEST_CASE("a pong that answers no ping proves nothing") {
    auto options = quiet_options();
    options.limits.ping_interval = 100ms;
    options.limits.pong_timeout = 200ms;
    options.limits.close_timeout = 200ms;
    test_server server{options};
    auto client = connected(server);
    for (int i = 0; server.closed().empty(); ++i) {
      if (!client.send(pong_frame(std::to_string(i % 4)))) break;
      client.take(1 << 20);
      skein::test::detail::pause_briefly();
    }
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.code == close_code::pong_timeout);
    CHECK(server.stats().pongs_received == 0);
  }

  TEST_CASE("a message that takes too long to arrive closes with 1008, however often a byte comes") {
    auto options = quiet_options();
    options.limits.message_timeout = 200ms;
    test_server server{options};
    const auto trickle = [&](std::string_view bytes) {
      auto client = connected(server);
      client.send(bytes.substr(0, 2));
      bytes.remove_prefix(2);
      while (!client.readable_within(10ms) && !bytes.empty()) {
        client.send(bytes.substr(0, 1));
        bytes.remove_prefix(1);
      }
      CHECK(client.read_conclusion().code() == 1008);
    };
    trickle(text_frame(std::string(10'000, 'x')));
    trickle(text_frame("x", false) + repeated_continuation(1'000));
    // The deadline is a message's, not the connection's.
    auto client = connected(server);
    const auto until = std::chrono::steady_clock::now() + 400ms;
    while (std::chrono::steady_clock::now() < until) {
      client.send(text_frame("a", false));
      client.send(continuation_frame("b"));
      REQUIRE(client.read_message()->payload == "ab");
    }
    CHECK(server.serves());
  }

  TEST_CASE("a write that makes no progress ends the connection") {
    auto options = quiet_options();
    options.limits.write_timeout = 200ms;
    options.limits.close_timeout = 200ms;
    skein::server_options where;
    where.socket_write_buffer = 4'096;
    collector all;
    options.on_open = all.on_open();
    test_server server{options, where, route("/mute", read_until_the_end)};
    auto client = connected(server, "/mute", 4'096);
    all.wait_for(0)->post_send(skein::message::binary(std::string(8 << 20, 'x')));
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.code == close_code::slow_consumer);
    CHECK(server.stats().write_timeouts == 1);
    check_settled(server);
  }
}
