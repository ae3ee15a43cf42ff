// What happens while one side is slower than the other: senders that wait for room, and a handler that does
// not read.

#include "hub_fixture.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>

#include <doctest/doctest.h>

#include <malloc.h>
using namespace hub_test;

namespace {

asio::awaitable<void> write_and_count(std::shared_ptr<connection> to, message what, int& queued) {
  const auto answer = co_await to->write(std::move(what));
  if (answer == outcome::queued) ++queued;
}

/// Starts this many writers at once; returns how many have been told `queued`, now and later.
std::shared_ptr<int> start_writers(fixture& f, const std::shared_ptr<connection>& to, int count,
                                   const std::function<message(int)>& what) {
  auto queued = std::make_shared<int>(0);
  for (int i = 0; i < count; ++i) {
    asio::co_spawn(to->executor(), write_and_count(to, what(i), *queued),
                   [queued](const std::exception_ptr&) {});
  }
  f.settle();
  return queued;
}

manager_options without_timeouts() {
  manager_options options;
  options.limits.write_timeout = 0s;
  options.limits.ping_interval = 0s;
  return options;
}

/// Waits for ever, but for the end of the connection.
asio::awaitable<void> sit(connection&) {
  asio::steady_timer never{co_await asio::this_coro::executor, asio::steady_timer::time_point::max()};
  boost::system::error_code ec;
  co_await never.async_wait(asio::redirect_error(asio::use_awaitable, ec));
}

/// Sends more than the handler reads ahead, and some that stay in the transport.
void fill_inbox(fixture& f, testing::memory_peer& peer, int messages = 100) {
  for (int i = 0; i < messages; ++i) peer.send(text("x"));
  f.settle();
}

/// Ends the handlers that wait for ever.
void shut_down(fixture& f) {
  const auto report = f.start(f.hub->drain(1s));
  for (int i = 0; i < 4 && !*report; ++i) f.advance(1s);
  CHECK(*report);
}

std::size_t heap_in_use() {
  const auto all = mallinfo2();
  return all.uordblks + all.hblkhd;
}

}  // namespace

TEST_SUITE("senders that wait") {
  TEST_CASE("however many wait, each message is sent once, in order") {
    fixture f{without_timeouts()};
    auto& peer = f.connect();
    peer.set_capacity(0);
    constexpr int count = 1024 + 400;  // the channel, and several turns of writing
    const auto queued =
        start_writers(f, peer.other_end(), count, [](int i) { return text("m" + std::to_string(i)); });
    CHECK(*queued == 1024);
    peer.set_capacity(std::size_t{64} << 20U);
    f.settle();
    const auto got = drink(f, peer);
    CHECK(*queued == count);
    REQUIRE(got.size() == count);
    for (int i = 0; i < count; ++i)
      REQUIRE(got[static_cast<std::size_t>(i)].payload() == "m" + std::to_string(i));
    CHECK(f.hub->stats().messages_out == count);
    CHECK(f.hub->stats().queued_messages == 0);
    CHECK(f.hub->stats().queued_bytes == 0);
  }

  TEST_CASE("also when each message alone is a write") {
    fixture f{without_timeouts()};
    auto& peer = f.connect();
    peer.set_capacity(0);
    const auto queued = start_writers(f, peer.other_end(), 9, [](int i) {
      return message::binary(std::string(300 * 1024, static_cast<char>('a' + i)));
    });
    peer.set_capacity(std::size_t{64} << 20U);
    f.settle();
    const auto got = drink(f, peer);
    CHECK(*queued == 9);
    REQUIRE(got.size() == 9);
    for (std::size_t i = 0; i < 9; ++i) CHECK(got[i].payload()[0] == static_cast<char>('a' + i));
  }

  TEST_CASE("who could go on writing lets the others have their turn after eight writes") {
    fixture f{without_timeouts()};
    auto& peer = f.connect();
    peer.set_capacity(1);
    constexpr std::size_t all = 700;
    for (std::size_t i = 0; i < all; ++i) peer.other_end()->post_send(text(std::string(1'100, 'x')));
    f.settle();
    REQUIRE(f.hub->stats().queued_messages == all);
    const auto before = f.hub->stats().writes;
    peer.set_capacity(std::size_t{1} << 20U);
    f.context.restart();
    while (f.hub->stats().writes == before) REQUIRE(f.context.poll_one() == 1);
    CHECK(f.hub->stats().writes == before + 8);
    CHECK(f.hub->stats().queued_messages > 0);
    f.settle();
    CHECK(f.hub->stats().queued_messages == 0);
    CHECK(peer.received().size() == all);
  }

  TEST_CASE("a message that is written at once settles its sender, and the connection is let go") {
    std::weak_ptr<connection> connection_left;
    std::optional<outcome> answer;
    std::size_t size = 0;
    SUBCASE("because it is small") {
      size = 10;
    }
    SUBCASE("because it fills a write") {
      size = 300 * 1024;
    }
    {
      fixture f;
      auto& peer = f.connect([&](connection& client) -> asio::awaitable<void> {
        connection_left = client.weak_from_this();
        delivery how;
        how.until_written();
        answer = co_await client.send(message::binary(std::string(size, 'x')), how);
      });
      drink(f, peer);
      f.settle();
      CHECK(f.closed.size() == 1);
    }
    CHECK(answer == outcome::written);
    CHECK(connection_left.expired());
  }

  TEST_CASE("who waits in vain is counted") {
    auto options = without_timeouts();
    options.limits.send_queue_messages = 1;
    fixture f{options};
    auto& peer = f.connect();
    peer.set_capacity(0);
    const auto client = peer.other_end();
    client->post_send(text("1"));
    f.settle();
    const auto waiting = f.start(client->send(text("2"), delivery().wait().deadline(50ms)));
    f.advance(50ms);
    CHECK(*waiting == outcome::dropped);
    CHECK(f.hub->stats().dropped_overflow == 1);
    CHECK(client->stats().dropped == 1);
  }

  TEST_CASE("who is cancelled while waiting sends nothing, from wherever it waits") {
    auto options = without_timeouts();
    options.limits.send_queue_messages = 1;
    fixture f{options};
    auto& peer = f.connect();
    peer.set_capacity(0);
    const auto client = peer.other_end();
    client->post_send(text("1"));
    f.settle();
    boost::system::error_code ended;
    const auto note = [&ended](const std::exception_ptr& error, outcome) {
      try {
        if (error) std::rethrow_exception(error);
      } catch (const boost::system::system_error& e) {
        ended = e.code();
      }
    };
    asio::cancellation_signal cancel;
    SUBCASE("on the connection's executor") {
      asio::co_spawn(client->executor(), client->write(text("2")),
                     asio::bind_cancellation_slot(cancel.slot(), note));
    }
    SUBCASE("on another one") {
      asio::co_spawn(f.context, client->write(text("2")), asio::bind_cancellation_slot(cancel.slot(), note));
    }
    f.settle();
    CHECK(!ended);
    cancel.emit(asio::cancellation_type::terminal);
    f.settle();
    CHECK(ended == asio::error::operation_aborted);
    peer.set_capacity(1000);
    f.settle();
    CHECK(drink(f, peer) == std::vector{text("1")});
  }

  TEST_CASE("a message that had to wait for a write is in the sums once") {
    manager_options options;
    options.limits.send_queue_messages = 16;
    fixture f{options};
    auto& peer = f.connect();
    const auto client = peer.other_end();
    asio::post(client->executor(), [client] {
      for (int i = 0; i < 17; ++i) client->post_send(text("hello"));
    });
    f.settle();
    CHECK(drink(f, peer).size() == 17);
    CHECK(f.hub->stats().queued_messages == 0);
    CHECK(f.hub->stats().queued_bytes == 0);
  }
}

TEST_SUITE("a handler that does not read") {
  TEST_CASE("what was read ahead takes no more memory, however long the peer is ahead") {
    fixture f;
    auto& peer = f.connect([](connection& client) -> asio::awaitable<void> {
      for (;;) {
        const auto got = co_await client.read();
        if (!got) break;
        co_await asio::post(client.executor(), asio::use_awaitable);
      }
    });
    std::string lot;
    for (int i = 0; i < 1000; ++i) lot += std::string{"\x81\x80\0\0\0\0", 6};
    const auto client = peer.other_end();
    std::uint64_t sent = 0;
    std::size_t before = 0;
    for (int round = 0; round < 100; ++round) {
      if (round == 10) before = heap_in_use();
      peer.send_bytes(lot);
      sent += 1000;
      // The handler never catches up.
      while (sent - client->stats().messages_in > 200) {
        if (f.context.stopped()) f.context.restart();
        REQUIRE(f.context.poll_one() > 0);
      }
    }
    const auto after = heap_in_use();
    CHECK(after < before + 100'000);  // 90,000 places would be 3.6 MB
    f.settle();
    CHECK(client->stats().messages_in == sent);
  }

  TEST_CASE("everything arrives in order, however the reader pauses") {
    auto options = without_timeouts();
    for (const std::size_t queue : {1, 2, 3, 64}) {
      CAPTURE(queue);
      options.limits.receive_queue_messages = queue;
      fixture f{options};
      std::vector<std::string> got;
      auto& peer = f.connect([&got](connection& client) -> asio::awaitable<void> {
        for (int i = 0;; ++i) {
          auto next = co_await client.read();
          if (!next) break;
          got.emplace_back(next->payload());
          for (int pause = i % 5; pause > 0; --pause) {
            co_await asio::post(client.executor(), asio::use_awaitable);
          }
        }
      });
      std::vector<std::string> expected;
      for (int i = 0; i < 1000; ++i) {
        expected.push_back(std::to_string(i));
        peer.send(text(expected.back()));
        if (i % 100 == 0) f.settle();
      }
      f.settle();
      CHECK(got == expected);
    }
  }

  TEST_CASE("it can close: what is unread is thrown away, and the peer's answer is seen") {
    fixture f;
    auto& peer = f.connect([](connection& client) -> asio::awaitable<void> {
      co_await client.read();
      for (int i = 0; i < 20; ++i) co_await asio::post(client.executor(), asio::use_awaitable);
      co_await client.close(static_cast<close_code>(4401));
    });
    fill_inbox(f, peer);
    peer.received();
    f.settle();
    CHECK(peer.close_received() == static_cast<close_code>(4401));
    REQUIRE(f.closed.size() == 1);
    CHECK(f.closed[0].reason.code == static_cast<close_code>(4401));
    CHECK(f.hub->stats().close_timeouts == 0);
  }

  TEST_CASE("it can return") {
    fixture f;
    auto& peer = f.connect([](connection& client) -> asio::awaitable<void> {
      co_await client.read();
      for (int i = 0; i < 20; ++i) co_await asio::post(client.executor(), asio::use_awaitable);
    });
    fill_inbox(f, peer);
    peer.received();
    f.settle();
    CHECK(peer.close_received() == close_code::normal);
    CHECK(f.closed.size() == 1);
  }

  TEST_CASE("a peer that has gone meanwhile is found dead by the heartbeat") {
    fixture f;
    auto& peer = f.connect(sit);
    fill_inbox(f, peer);
    peer.answer_control(false);
    peer.vanish();
    f.advance(25s);
    CHECK(f.hub->stats().pings_sent == 1);
    CHECK(f.closed.empty());
    f.advance(8s);
    REQUIRE(f.closed.size() == 1);
    CHECK(f.closed[0].reason.code == close_code::pong_timeout);
    CHECK(f.hub->stats().pong_timeouts == 1);
    shut_down(f);
  }

  TEST_CASE("a peer that talks but answers no ping is found dead, though reading stops now and then") {
    manager_options options;
    options.limits.receive_queue_messages = 2;
    fixture f{options};
    auto& peer = f.connect(sit);
    peer.answer_control(false);
    const auto client = peer.other_end();
    int second = 0;
    for (; f.closed.empty() && second < 100; ++second) {
      for (int i = 0; i < 5; ++i) {
        peer.send(text("x"));
        f.advance(200ms);
      }
      for (int i = 0; i < 5 && f.closed.empty(); ++i) f.start(client->read());
      peer.received();
    }
    REQUIRE(f.closed.size() == 1);
    CHECK(f.closed[0].reason.code == close_code::pong_timeout);
    CHECK(second <= 25 + 8 + 25 + 1);
    shut_down(f);
  }

  TEST_CASE("a peer that is there is not, and is pinged on") {
    fixture f;
    auto& peer = f.connect(sit);
    fill_inbox(f, peer);
    for (int i = 0; i < 600; ++i) {
      f.advance(1s);
      peer.received();
    }
    CHECK(f.closed.empty());
    CHECK(peer.pings() >= 600 / (25 + 8) - 1);
    shut_down(f);
  }
}
