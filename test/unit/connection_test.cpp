// One connection over memory, with a clock that the test turns.

#include "hub_fixture.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <thread>

using namespace hub_test;

namespace {

std::string masked(int first_byte, std::string_view payload, bool final_length = true) {
  std::string frame{static_cast<char>(first_byte), static_cast<char>(0x80U | payload.size())};
  frame += std::string(4, '\0');  // a mask of zeros changes nothing
  if (final_length) frame += payload;
  return frame;
}

manager_options with(void (*change)(manager_options&)) {
  manager_options options;
  change(options);
  return options;
}

}  // namespace

TEST_SUITE("connection") {
  TEST_CASE("what a peer sends comes to the handler, and what the handler writes goes to the peer") {
    fixture f;
    auto& peer = f.connect(echo);
    peer.send(text("one"));
    peer.send(message::binary(std::string("\0\xff", 2)));
    f.settle();
    CHECK(peer.received() == std::vector{text("one"), message::binary(std::string("\0\xff", 2))});
    const auto stats = peer.other_end()->stats();
    CHECK(stats.messages_in == 2);
    CHECK(stats.messages_out == 2);
    CHECK(stats.bytes_in == 5);
    CHECK(stats.bytes_out == 5);
  }

  TEST_CASE("everything that is sent in one turn leaves in one write") {
    fixture f;
    auto& peer = f.connect();
    const auto before = f.hub->stats().writes;
    for (int i = 0; i < 20; ++i) peer.other_end()->post_send(text(std::to_string(i)));
    f.settle();
    CHECK(peer.received().size() == 20);
    CHECK(f.hub->stats().writes - before == 1);
  }

  TEST_CASE("16 KiB are written at once, and do not wait for the end of the turn") {
    for (const auto& [bytes, writes] : {std::pair{16'379, 1U}, {16'380, 2U}, {65'536, 2U}}) {
      CAPTURE(bytes);
      fixture f;
      auto& peer = f.connect();
      const auto before = f.hub->stats().writes;
      peer.other_end()->post_send(text(std::string(static_cast<std::size_t>(bytes), 'x')));
      peer.other_end()->post_send(text("y"));
      f.settle();
      CHECK(peer.received().size() == 2);
      CHECK(f.hub->stats().writes - before == writes);
    }
  }

  TEST_CASE("when the handler returns the connection is closed with 1000, and there is one closed event") {
    fixture f;
    auto& peer = f.connect([](connection&) -> asio::awaitable<void> { co_return; });
    CHECK(peer.received().empty());
    f.settle();
    CHECK(peer.close_received() == close_code::normal);
    CHECK(peer.is_cut());
    REQUIRE(f.closed.size() == 1);
    CHECK(f.closed[0].id == f.opened.at(0));
    CHECK(f.closed[0].reason.by == closed_by::local);
    CHECK(f.hub->stats().active == 0);
  }

  TEST_CASE(
      "a handler that throws closes its connection with 1011; it is counted and told, and the others go on") {
    fixture f;
    auto& other = f.connect(echo);
    auto& peer = f.connect([](connection& client) -> asio::awaitable<void> {
      co_await client.read();
      throw std::runtime_error{"a bug"};
    });
    peer.send(text("x"));
    f.settle();
    peer.received();
    f.settle();
    CHECK(peer.close_received() == close_code::internal_error);
    CHECK(f.hub->stats().handler_exceptions == 1);
    REQUIRE(f.problems.size() == 1);
    CHECK(f.problems[0].find("a bug") != std::string::npos);
    other.send(text("still here"));
    f.settle();
    CHECK(other.received() == std::vector{text("still here")});
  }

  TEST_CASE("a handler that is no coroutine and throws at once is treated alike") {
    fixture f;
    auto& peer = f.connect([](connection&) -> asio::awaitable<void> { throw std::runtime_error{"at once"}; });
    peer.received();
    f.settle();
    CHECK(peer.close_received() == close_code::internal_error);
    CHECK(f.closed.size() == 1);
  }

  TEST_CASE("read gives what arrived before the end, then nothing, and the reason says who closed") {
    fixture f;
    std::vector<std::string> log;
    auto& peer = f.connect([&log](connection& client) -> asio::awaitable<void> {
      while (auto got = co_await client.read()) log.emplace_back(got->payload());
      const auto& reason = client.close_reason();
      log.push_back(reason.by == closed_by::peer ? "peer" : "other");
      log.push_back(std::to_string(static_cast<int>(reason.code)));
      log.push_back(reason.text);
    });
    peer.send(text("last words"));
    peer.send_close(static_cast<close_code>(4321), "done");
    f.settle();
    CHECK(log == std::vector<std::string>{"last words", "peer", "4321", "done"});
    peer.received();
    CHECK(peer.close_received() == static_cast<close_code>(4321));
    CHECK(peer.is_cut());
  }

  TEST_CASE("a transport that goes away without a close frame is 1006 by the transport") {
    fixture f;
    auto& peer = f.connect();
    peer.cut();
    f.settle();
    REQUIRE(f.closed.size() == 1);
    CHECK(f.closed[0].reason.by == closed_by::transport);
    CHECK(f.closed[0].reason.code == close_code::abnormal);
  }

  TEST_CASE("close sends what is queued first, and completes when the peer has answered") {
    fixture f;
    bool closed = false;
    auto& peer = f.connect([&closed](connection& client) -> asio::awaitable<void> {
      co_await client.send(text("before"));
      co_await client.close(close_code::going_away, "later");
      closed = true;
      CHECK(co_await client.send(text("after")) == outcome::closed);
    });
    CHECK(!closed);
    CHECK(peer.received() == std::vector{text("before")});
    CHECK(peer.close_received() == close_code::going_away);
    f.settle();
    CHECK(closed);
  }

  TEST_CASE("a peer that does not answer the close frame is reset at the close timeout, and not before") {
    fixture f;
    auto& peer = f.connect();
    peer.answer_control(false);
    peer.other_end()->post_close(close_code::normal);
    f.settle();
    peer.received();
    CHECK(peer.close_received() == close_code::normal);
    f.advance(5s - 1ns);
    CHECK(!peer.is_cut());
    f.advance(1ns);
    CHECK(peer.is_cut());
    CHECK(f.hub->stats().close_timeouts == 1);
    CHECK(f.closed.size() == 1);
  }

  TEST_CASE("a code that may not be sent is refused at the call") {
    fixture f;
    auto& peer = f.connect();
    CHECK_THROWS_AS(peer.other_end()->post_close(static_cast<close_code>(1005)), std::invalid_argument);
    CHECK_THROWS_AS(peer.other_end()->post_close(static_cast<close_code>(5000)), std::invalid_argument);
    CHECK(peer.other_end()->is_open());
  }

  TEST_CASE("a connection that has ended may still be called") {
    fixture f;
    auto& peer = f.connect();
    const auto kept = peer.other_end();
    peer.cut();
    f.settle();
    CHECK(!kept->is_open());
    kept->post_send(text("x"));
    kept->post_close(close_code::normal);
    const auto result = f.start(kept->send(text("x")));
    CHECK(**result == outcome::closed);
  }

  TEST_CASE("sends from many threads arrive, each thread's in its order") {
    asio::io_context context;
    auto hub = make_manager(context.get_executor());
    auto peer = testing::connect(*hub, ignore);
    const auto client = peer->other_end();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([client, t] {
        for (int i = 0; i < 200; ++i) client->post_send(text(std::to_string(t) + ' ' + std::to_string(i)));
      });
    }
    for (auto& one : threads) one.join();
    testing::settle(context);
    std::vector<int> next(4);
    for (const auto& got : peer->received()) {
      const auto payload = std::string{got.payload()};
      const auto thread = static_cast<std::size_t>(payload[0] - '0');
      CHECK(std::stoi(payload.substr(2)) == next[thread]++);
    }
    CHECK(next == std::vector{200, 200, 200, 200});
    peer.reset();
    testing::settle(context);
  }
}

TEST_SUITE("overflow") {
  manager_options small() {
    return with([](manager_options& options) { options.limits.send_queue_messages = 3; });
  }
  /// A peer whose transport is full.
  testing::memory_peer& full(fixture & f, handler what = ignore) {
    auto& peer = f.connect(std::move(what));
    peer.set_capacity(0);
    peer.other_end()->post_send(text("stuck"));
    f.settle();
    return peer;
  }

  TEST_CASE("a full channel evicts the slow consumer with 4008, when it reads again, and counts it") {
    fixture f{small()};
    auto& peer = full(f);
    peer.other_end()->post_send(text("2"));
    peer.other_end()->post_send(text("3"));
    f.settle();
    CHECK(peer.other_end()->is_open());
    CHECK(**f.start(peer.other_end()->send(text("4"))) == outcome::closed);
    CHECK(!peer.other_end()->is_open());
    CHECK(f.hub->stats().evictions == 1);
    peer.set_capacity(1000);
    f.settle();
    CHECK(peer.received().empty());
    CHECK(peer.close_received() == close_code::slow_consumer);
    f.settle();
    CHECK(f.closed.at(0).reason.code == close_code::slow_consumer);
  }

  TEST_CASE("an evicted peer that never reads again is reset at the close timeout") {
    fixture f{small()};
    auto& peer = full(f);
    for (int i = 0; i < 3; ++i) peer.other_end()->post_send(text("x"));
    f.settle();
    f.advance(5s - 1ns);
    CHECK(!peer.is_cut());
    f.advance(1ns);
    CHECK(peer.is_cut());
    CHECK(f.hub->stats().active == 0);
  }

  TEST_CASE("drop gives up the message and leaves the connection open") {
    fixture f{small()};
    auto& peer = full(f);
    const auto client = peer.other_end();
    CHECK(**f.start(client->send(text("2"), delivery().drop())) == outcome::queued);
    CHECK(**f.start(client->send(text("3"), delivery().drop())) == outcome::queued);
    CHECK(**f.start(client->send(text("4"), delivery().drop())) == outcome::dropped);
    CHECK(client->is_open());
    CHECK(f.hub->stats().dropped_overflow == 1);
    CHECK(client->stats().dropped == 1);
    peer.set_capacity(1000);
    f.settle();
    CHECK(drink(f, peer) == std::vector{text("stuck"), text("2"), text("3")});
  }

  TEST_CASE("conflate keeps the newest of each key, and tells the replaced one that it was dropped") {
    fixture f{small()};
    auto& peer = full(f);
    const auto client = peer.other_end();
    const auto first = f.start(client->send(text("AAPL 1"), delivery().conflate("AAPL").until_written()));
    client->post_send(text("MSFT 1"), delivery().conflate("MSFT"));
    f.settle();
    CHECK(!*first);
    CHECK(**f.start(client->send(text("AAPL 2"), delivery().conflate("AAPL"))) == outcome::queued);
    CHECK(*first == outcome::dropped);
    CHECK(**f.start(client->send(text("GOOG 1"), delivery().conflate("GOOG"))) == outcome::dropped);
    CHECK(f.hub->stats().dropped_conflated == 1);
    peer.set_capacity(1000);
    f.settle();
    CHECK(drink(f, peer) == std::vector{text("stuck"), text("AAPL 2"), text("MSFT 1")});
  }

  TEST_CASE("wait completes when there is room, in the order of asking") {
    fixture f{small()};
    auto& peer = full(f);
    const auto client = peer.other_end();
    client->post_send(text("2"));
    client->post_send(text("3"));
    const auto fourth = f.start(client->send(text("4"), delivery().wait()));
    const auto fifth = f.start(client->write(text("5")));
    CHECK(!*fourth);
    CHECK(!*fifth);
    peer.set_capacity(7);  // one frame
    f.settle();
    CHECK(*fourth == outcome::queued);
    CHECK(!*fifth);
    peer.set_capacity(1000);
    f.settle();
    CHECK(*fifth == outcome::queued);
    CHECK(drink(f, peer) == std::vector{text("stuck"), text("2"), text("3"), text("4"), text("5")});
  }

  TEST_CASE("who waits for room learns that the connection has ended") {
    fixture f{small()};
    auto& peer = full(f);
    const auto client = peer.other_end();
    client->post_send(text("2"));
    client->post_send(text("3"));
    const auto waiting = f.start(client->write(text("4")));
    CHECK(!*waiting);
    peer.cut();
    f.settle();
    CHECK(*waiting == outcome::closed);
  }

  TEST_CASE("who waits for room has a deadline, and the message is then not sent") {
    fixture f{small()};
    auto& peer = full(f);
    const auto client = peer.other_end();
    client->post_send(text("2"));
    client->post_send(text("3"));
    const auto waiting = f.start(client->send(text("4"), delivery().wait().deadline(50ms)));
    f.advance(50ms - 1ns);
    CHECK(!*waiting);
    f.advance(1ns);
    CHECK(*waiting == outcome::dropped);
    peer.set_capacity(1000);
    f.settle();
    CHECK(drink(f, peer).size() == 3);
  }

  TEST_CASE("a message that waits to be written is pending at the deadline, and may still be written") {
    fixture f{small()};
    auto& peer = full(f);
    const auto waiting =
        f.start(peer.other_end()->send(text("2"), delivery().until_written().deadline(50ms)));
    f.advance(50ms);
    CHECK(*waiting == outcome::pending);
    peer.set_capacity(1000);
    f.settle();
    CHECK(drink(f, peer) == std::vector{text("stuck"), text("2")});
  }

  TEST_CASE("until written means that the transport took the last byte") {
    fixture f;
    auto& peer = f.connect();
    peer.set_capacity(6);
    const auto waiting = f.start(peer.other_end()->send(text("hello"), delivery().until_written()));
    CHECK(!*waiting);
    peer.set_capacity(7);
    f.settle();
    CHECK(*waiting == outcome::written);
  }

  TEST_CASE("a burst within one turn does not evict a peer that keeps up") {
    fixture f{small()};
    auto& peer = f.connect();
    for (int i = 0; i < 50; ++i) peer.other_end()->post_send(text("x"));
    f.settle();
    CHECK(drink(f, peer).size() == 50);
    CHECK(f.hub->stats().evictions == 0);
  }

  TEST_CASE(
      "a peer that takes one byte at a time gets everything, and control frames never split a message") {
    fixture f;
    auto& peer = f.connect(echo);
    peer.set_capacity(1);
    peer.send(text("hello"));
    peer.send_ping("p");
    peer.send(text("world"));
    f.settle();
    std::string wire;
    for (int i = 0; i < 100; ++i) {
      wire += peer.received_bytes();
      f.settle();
    }
    const std::string hello{"\x81\x05hello"};
    const std::string world{"\x81\x05world"};
    const std::string pong{"\x8a\x01p"};
    CHECK(wire.size() == hello.size() + world.size() + pong.size());
    for (const auto& one : {hello, world, pong}) CHECK(wire.find(one) != std::string::npos);
    CHECK(wire.find(hello) < wire.find(world));
  }
}

TEST_SUITE("limits of a connection") {
  TEST_CASE(
      "a handler that does not read stops the reading, within a bound of messages, and goes on afterwards") {
    fixture f{with([](manager_options& options) { options.limits.receive_queue_messages = 4; })};
    connection* client = nullptr;
    auto& peer = f.connect([&client](connection& c) -> asio::awaitable<void> {
      client = &c;
      asio::steady_timer never{co_await asio::this_coro::executor, asio::steady_timer::time_point::max()};
      boost::system::error_code ec;
      co_await never.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    });
    for (int i = 0; i < 10; ++i) {
      peer.send(text(std::to_string(i)));
      f.settle();
    }
    CHECK(client->stats().messages_in == 4);
    for (int i = 0; i < 10; ++i) {
      const auto got = f.start(client->read());
      REQUIRE(*got);
      CHECK((**got)->payload() == std::to_string(i));
    }
    peer.cut();
    f.settle();
    const auto none = f.start(client->read());
    REQUIRE(*none);
    CHECK(!**none);
    // The handler still waits for its timer; shutting down ends it.
    const auto report = f.start(f.hub->drain(1s));
    f.advance(1s);
    f.advance(1s);
    REQUIRE(*report);
    CHECK((*report)->forced == 1);
  }

  TEST_CASE("a message that is not complete in time is a policy violation") {
    fixture f;
    auto& peer = f.connect();
    peer.send_bytes(masked(0x01, "first part"));
    f.settle();
    f.advance(25s);
    peer.received();  // answers the ping
    peer.send_bytes(masked(0x00, "more"));
    f.settle();
    f.advance(5s - 1ns);
    CHECK(peer.other_end()->is_open());
    f.advance(1ns);
    CHECK(!peer.other_end()->is_open());
    peer.received();
    CHECK(peer.close_received() == close_code::policy_violation);
  }

  TEST_CASE("a message complete in time leaves no deadline behind") {
    fixture f;
    auto& peer = f.connect(echo);
    peer.send_bytes(masked(0x01, "a"));
    f.settle();
    f.advance(5s);
    peer.send_bytes(masked(0x80, "b"));
    f.settle();
    CHECK(peer.received() == std::vector{text("ab")});
    for (int i = 0; i < 60; ++i) {
      f.advance(1s);
      peer.received();
      f.settle();
    }
    CHECK(peer.other_end()->is_open());
  }

  TEST_CASE("the frames of a message are counted: at the limit it passes, past it 1008") {
    for (const int frames : {3, 4, 5}) {
      fixture f{with([](manager_options& options) { options.limits.max_message_frames = 4; })};
      auto& peer = f.connect(echo);
      peer.send_bytes(masked(0x01, ""));
      for (int i = 2; i < frames; ++i) peer.send_bytes(masked(0x00, ""));
      peer.send_bytes(masked(0x80, "end"));
      f.settle();
      const auto got = peer.received();
      if (frames <= 4) {
        CHECK(got == std::vector{text("end")});
      } else {
        CHECK(got.empty());
        CHECK(peer.close_received() == close_code::policy_violation);
        CHECK(f.hub->stats().protocol_failures == 1);
      }
    }
  }

  TEST_CASE("endless empty fragments end with 1008 as well") {
    fixture f;
    auto& peer = f.connect();
    peer.send_bytes(masked(0x01, ""));
    for (int i = 0; i < 2000 && !peer.is_cut(); ++i) peer.send_bytes(masked(0x00, ""));
    f.settle();
    peer.received();
    CHECK(peer.close_received() == close_code::policy_violation);
  }

  TEST_CASE("a message is as large as it may be, and one byte more is 1009") {
    for (const std::size_t size : {99UL, 100UL, 101UL}) {
      fixture f{with([](manager_options& options) { options.limits.max_message_bytes = 100; })};
      auto& peer = f.connect(echo);
      peer.send(text(std::string(size, 'x')));
      f.settle();
      const auto got = peer.received();
      CHECK(got.size() == (size <= 100 ? 1 : 0));
      CHECK(peer.close_received() ==
            (size <= 100 ? std::nullopt : std::optional{close_code::message_too_big}));
    }
  }

  TEST_CASE("a ping is answered with its payload; more than the burst at once is 1008") {
    fixture f{with([](manager_options& options) { options.limits.ping_burst = 5; })};
    auto& peer = f.connect();
    for (int i = 0; i < 5; ++i) peer.send_ping(std::to_string(i));
    f.settle();
    CHECK(peer.received_bytes() ==
          std::string("\x8a\x01\x30\x8a\x01\x31\x8a\x01\x32\x8a\x01\x33\x8a\x01\x34"));
    f.advance(100ms);  // one more is allowed each 100 ms
    peer.send_ping("x");
    f.settle();
    CHECK(peer.received_bytes() == "\x8a\x01x");
    peer.send_ping("y");
    f.settle();
    peer.received();
    CHECK(peer.close_received() == close_code::policy_violation);
  }

  TEST_CASE(
      "what comes behind a violation is read and thrown away, until the peer leaves or the time is up") {
    fixture f;
    auto& peer = f.connect();
    peer.answer_control(false);
    peer.send_bytes(masked(0x83, "reserved opcode"));
    f.settle();
    peer.received();
    CHECK(peer.close_received() == close_code::protocol_error);
    for (int i = 0; i < 100; ++i) peer.send(text("still talking"));
    f.settle();
    CHECK(!peer.is_cut());
    CHECK(peer.other_end()->stats().messages_in == 0);
    f.advance(5s);
    CHECK(peer.is_cut());
  }
}

TEST_SUITE("heartbeat of a connection") {
  TEST_CASE("a silent peer is pinged, found dead at the pong timeout, and removed") {
    fixture f;
    auto& peer = f.connect();
    peer.answer_control(false);
    duration waited{};
    while (peer.pings() == 0) {
      f.advance(100ms);
      waited += 100ms;
      peer.received();
      REQUIRE(waited <= 25s);
    }
    f.advance(7900ms - 1ns);
    CHECK(peer.other_end()->is_open());
    f.advance(100ms + 1ns);
    CHECK(!peer.other_end()->is_open());
    peer.received();
    CHECK(peer.close_received() == close_code::pong_timeout);
    CHECK(peer.is_cut());
    CHECK(f.hub->stats().pong_timeouts == 1);
    CHECK(f.hub->stats().active == 0);
  }

  TEST_CASE("a peer that answers lives on, and its round trip is known") {
    fixture f;
    auto& peer = f.connect();
    for (int i = 0; i < 300; ++i) {
      f.advance(1s);
      peer.received();
      f.settle();
    }
    CHECK(peer.other_end()->is_open());
    CHECK(peer.pings() >= 11);
    CHECK(f.hub->stats().pongs_received == peer.pings());
    CHECK(peer.other_end()->stats().rtt >= 0ns);
  }

  TEST_CASE("a peer that sends a byte now and then is no more alive than a silent one") {
    fixture f;
    auto& peer = f.connect();
    peer.answer_control(false);
    peer.send_bytes(std::string{"\x01\x8a", 2} + std::string(4, '\0'));  // a fragment of ten bytes
    for (int i = 0; i < 70 && !peer.is_cut(); ++i) {
      f.advance(500ms);
      if (i % 8 == 0 && i < 64) peer.send_bytes("x");
      f.settle();
    }
    CHECK(peer.is_cut());
  }

  TEST_CASE("pongs that nobody asked for prove nothing") {
    fixture f;
    auto& peer = f.connect();
    peer.answer_control(false);
    for (int i = 0; i < 40 && !peer.is_cut(); ++i) {
      f.advance(1s);
      peer.send_bytes(masked(0x8a, "alive!"));
      f.settle();
    }
    CHECK(peer.is_cut());
    CHECK(f.hub->stats().pong_timeouts == 1);
  }

  TEST_CASE("a peer that reads nothing is reset when a write has made no progress for the write timeout") {
    fixture f;
    auto& peer = f.connect();
    peer.set_capacity(10);
    peer.other_end()->post_send(text(std::string(100, 'x')));
    f.settle();
    f.advance(4s);
    peer.discard();  // takes ten bytes: that is progress
    f.settle();
    f.advance(10s - 1ns);
    CHECK(!peer.is_cut());
    f.advance(1ns);
    CHECK(peer.is_cut());
    CHECK(f.closed.at(0).reason.code == close_code::slow_consumer);
    CHECK(f.hub->stats().write_timeouts == 1);
    CHECK(f.hub->stats().discarded == 1);
  }

  TEST_CASE("pongs that nobody asked for cost a tenth of what pings do") {
    for (const int count : {490, 491, 492}) {
      CAPTURE(count);
      fixture f;
      auto& peer = f.connect(echo);
      std::string pongs;
      for (int i = 0; i < count; ++i) pongs += std::string{"\x8a\x80\0\0\0\0", 6};
      peer.send_bytes(pongs);
      peer.send(text("and a word"));
      f.settle();
      CHECK(peer.received().size() == (count <= 491 ? 1U : 0U));
      if (count <= 491) {
        CHECK(!peer.close_received());
      } else {
        CHECK(peer.close_received() == close_code::policy_violation);
      }
      CHECK(f.hub->stats().protocol_failures == (count <= 491 ? 0U : 1U));
    }
  }

  TEST_CASE("pings are spread over the interval, never in a herd") {
    fixture f;
    for (int i = 0; i < 200; ++i) f.connect();
    std::size_t most = 0;
    std::uint64_t before = 0;
    for (int second = 0; second < 25; ++second) {
      f.advance(1s);
      const auto now = f.hub->stats().pings_sent;
      most = std::max<std::size_t>(most, static_cast<std::size_t>(now - before));
      before = now;
    }
    CHECK(before >= 190);
    CHECK(most <= 24);
  }

  TEST_CASE("while the handler does not read, a pong cannot be seen and nobody is called dead") {
    fixture f{with([](manager_options& options) { options.limits.receive_queue_messages = 1; })};
    connection* client = nullptr;
    auto& peer = f.connect([&client](connection& c) -> asio::awaitable<void> {
      client = &c;
      asio::steady_timer never{co_await asio::this_coro::executor, asio::steady_timer::time_point::max()};
      boost::system::error_code ec;
      co_await never.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    });
    peer.send(text("1"));
    peer.send(text("2"));
    f.settle();
    for (int i = 0; i < 100; ++i) {
      f.advance(1s);
      peer.received();
      f.settle();
    }
    CHECK(client->is_open());
    const auto first = f.start(client->read());
    const auto second = f.start(client->read());
    CHECK(**second);
    f.advance(30s);
    peer.received();
    f.settle();
    CHECK(client->is_open());
    const auto report = f.start(f.hub->drain(1s));
    f.advance(1s);
    f.advance(1s);
    CHECK(*report);
  }
}
