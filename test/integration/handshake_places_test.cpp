// Who may keep a place among those that are in TLS or HTTP while others wait for one.

#include "timed_server.hpp"

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <vector>

namespace asio = boost::asio;
using namespace skein::test;
using namespace std::chrono_literals;
using skein::refusal_reason;

namespace {

skein::server_options with_handshakes(std::size_t most, std::size_t of_one_address) {
  skein::server_options where;
  where.max_handshakes = most;
  where.clients.handshakes_per_address = of_one_address;
  return where;
}

/// Clients that begin a request and leave it at that.
struct slow_clients {
  raw_client& comes(const test_server& to, std::uint32_t from = 0, std::string_view before = {}) {
    all.push_back(std::make_unique<raw_client>(to.port(), 0, from));
    all.back()->send(std::string{before} + "GET");
    return *all.back();
  }
  static void finishes(raw_client& one) {
    one.send(upgrade_request("/echo").substr(3));
    CHECK(one.read_answer().status == 101);
  }
  std::vector<std::unique_ptr<raw_client>> all;
};

/// Turns the clock on in steps of 5 ms, together less than a second, until it is so.
template <class Condition>
bool comes_to_pass(timed_server& one, Condition condition, int steps = 199) {
  int step = 0;
  return eventually([&] {
    if (condition()) return true;
    if (step++ < steps) one.time->advance(5ms);
    return false;
  });
}

/// Waits until it is cancelled, and then goes on within the call that cancels it.
struct until_cancelled {
  template <class Handler>
  void operator()(Handler handler) const {
    auto slot = asio::get_associated_cancellation_slot(handler);
    const auto kept = std::make_shared<Handler>(std::move(handler));
    slot.assign([kept](asio::cancellation_type) {
      auto goes_on = std::move(*kept);
      std::move(goes_on)();
    });
  }
};

asio::awaitable<skein::admission> never(const skein::request&) {
  constexpr until_cancelled begin;
  auto waiting = asio::async_initiate<const asio::use_awaitable_t<>, void()>(begin, asio::use_awaitable);
  co_await std::move(waiting);
  co_return skein::identity{};
}

}  // namespace

TEST_SUITE("handshake places") {
  TEST_CASE("who has had an answer makes room for who comes; who has not does not") {
    auto single = quiet_options();
    single.shards = 1;
    const auto time = std::make_shared<skein::testing::virtual_clock>();
    single.time = time;
    skein::server_options where;
    where.max_handshakes = 2;
    test_server server{single, where};
    raw_client idle{server.port()}, slow{server.port()};
    slow.send("GET");
    idle.send(get("/nothing"));
    CHECK(idle.read_answer().status == 404);
    raw_client third{server.port()};
    third.send(get("/nothing"));
    CHECK(third.read_answer().status == 404);
    CHECK(idle.read_to_end() != stream_end::open);
    // The third one is idle now; the one that is in a request is answered.
    CHECK(server.serves());
    CHECK(third.read_to_end() != stream_end::open);
    slow.send(upgrade_request("/echo").substr(3));
    CHECK(slow.read_answer().status == 101);
  }

  TEST_CASE("who becomes idle makes room for who waits already") {
    auto single = quiet_options();
    single.shards = 1;
    single.time = std::make_shared<skein::testing::virtual_clock>();
    skein::server_options where;
    where.max_handshakes = 1;
    test_server server{single, where};
    raw_client first{server.port()};
    first.send("GET");
    REQUIRE(eventually([&] { return server.stats().handshaking == 1; }));
    raw_client second{server.port()};
    second.send(get("/nothing"));
    CHECK_FALSE(second.readable_within(50ms));
    first.send(get("/nothing").substr(3));
    CHECK(first.read_answer().status == 404);
    CHECK(second.read_answer().status == 404);
    CHECK(first.read_to_end() != stream_end::open);
  }

  TEST_CASE("however many come at once from one address, all of them are served") {
    timed_server one{with_handshakes(8, 2), {}, 1};
    std::vector<std::unique_ptr<raw_client>> storm;
    for (int i = 0; i < 40; ++i) storm.push_back(std::make_unique<raw_client>(one.server.port()));
    for (const auto& each : storm) CHECK(each->open("/echo").status == 101);
    CHECK(refused(one.server, refusal_reason::address_limit) == 0);
  }

  TEST_CASE("who keeps others out is held to its number of handshakes: one below, at, and one above") {
    for (const std::size_t held : {2U, 3U, 4U}) {
      CAPTURE(held);
      timed_server one{with_handshakes(8, 3), {}, 1};
      slow_clients slow;
      for (std::uint32_t i = 0; i < 8; ++i) {
        slow.comes(one.server, i < held ? address_a : address_a + 1 + i);
        REQUIRE(eventually([&] { return one.server.stats().handshaking == slow.all.size(); }));
      }
      raw_client other{one.server.port(), 0, address_b};
      other.send(upgrade_request("/echo"));
      one.time->advance(1'999ms);
      CHECK_FALSE(other.readable_within(50ms));
      one.time->advance(101ms);
      if (held > 3) {
        CHECK(other.read_answer().status == 101);
        CHECK(slow.all.front()->read_to_end() != stream_end::open);  // the oldest
      } else {
        CHECK_FALSE(other.readable_within(50ms));
      }
      CHECK(refused(one.server, refusal_reason::address_limit) == (held > 3 ? 1 : 0));
      // All the others may finish.
      for (std::size_t i = held > 3 ? 1 : 0; i < slow.all.size(); ++i) slow_clients::finishes(*slow.all[i]);
      if (held <= 3) CHECK(other.read_answer().status == 101);
    }
  }

  TEST_CASE(
      "an address that kept others out has no more than its number for ten seconds, if there is a rush") {
    auto where = with_handshakes(4, 1);
    where.handshake_timeout = 60s;
    timed_server one{where, {}, 1};
    slow_clients slow, others;
    for (int i = 0; i < 4; ++i) slow.comes(one.server);
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 4; }));
    others.comes(one.server, address_b);
    one.time->advance(2s);
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 2; }));
    CHECK(refused(one.server, refusal_reason::address_limit) == 3);
    // Half of the places are taken: it is held to its number.
    CHECK(status_or_reset(one.server) == 0);
    CHECK(refused(one.server, refusal_reason::address_limit) == 4);
    one.time->advance(5ms);  // who is reset is reset in batches
    slow_clients::finishes(*slow.all.back());
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 1; }));
    CHECK(status_of(one.server, {}) == 101);  // below its number
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 1; }));
    auto& own = slow.comes(one.server);
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 2; }));
    one.time->advance(9'994ms);
    CHECK(status_or_reset(one.server) == 0);  // and from now on ten seconds again
    one.time->advance(5ms);
    // Fewer than half are taken: whoever comes is served, and gains or loses nothing by that.
    slow_clients::finishes(*others.all.front());
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 1; }));
    CHECK(status_of(one.server, {}) == 101);
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 1; }));
    others.comes(one.server, address_b);
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 2; }));
    one.time->advance(9'994ms);
    CHECK(status_or_reset(one.server) == 0);
    one.time->advance(10s);
    CHECK(status_of(one.server, {}) == 101);
    CHECK(refused(one.server, refusal_reason::address_limit) == 6);
    slow_clients::finishes(own);
  }

  TEST_CASE("one address cannot lock out the others, if nothing else is said") {
    skein::server_options where;
    where.max_handshakes = 64;
    timed_server one{where};  // two shards with half of that each
    std::vector<std::unique_ptr<raw_client>> crowd;
    for (int i = 0; i < 128; ++i) crowd.push_back(std::make_unique<raw_client>(one.server.port()));
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 64; }));
    std::vector<std::unique_ptr<raw_client>> others;
    for (int i = 0; i < 4; ++i) {
      others.push_back(std::make_unique<raw_client>(one.server.port(), 0, address_b));
      others.back()->send(upgrade_request("/echo"));
    }
    one.time->advance(2s);
    // Those of the crowd that still come are reset in batches.
    for (const auto& each : others) {
      CHECK(eventually([&] {
        one.time->advance(5ms);
        return each->readable_within(1ms);
      }));
      CHECK(each->read_answer().status == 101);
    }
    CHECK(refused(one.server, refusal_reason::address_limit) >= 32);
    CHECK(comes_to_pass(one, [&] { return one.server.stats().handshaking <= 32; }));
  }

  TEST_CASE("who asks and does not take the answer makes room") {
    timed_server one{with_handshakes(4, 1),
                     [](skein::server& server) {
                       server.get("/much", [](const skein::request&) -> asio::awaitable<skein::response> {
                         skein::response much;
                         much.body = std::string(std::size_t{32} << 20U, 'x');
                         co_return much;
                       });
                     },
                     1};
    std::vector<std::unique_ptr<raw_client>> deaf;
    for (int i = 0; i < 4; ++i) {
      deaf.push_back(std::make_unique<raw_client>(one.server.port(), 4096));
      deaf.back()->send("GET /much HTTP/1.1\r\nHost: a\r\n\r\n");
      CHECK(deaf.back()->readable_within(10s));
    }
    raw_client other{one.server.port(), 0, address_b};
    other.send(upgrade_request("/echo"));
    CHECK_FALSE(other.readable_within(50ms));
    one.time->advance(2s);
    CHECK(other.read_answer().status == 101);
    CHECK(refused(one.server, refusal_reason::address_limit) == 3);
  }

  TEST_CASE("who has had an answer and takes its time with the next request makes room") {
    skein::server_options where;
    where.max_handshakes = 2;
    timed_server one{where, {}, 1};
    raw_client slow{one.server.port()}, first{one.server.port(), 0, address_b};
    slow.send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\nGET");
    CHECK(slow.read_answer().status == 404);
    first.send("GET");
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 2; }));
    raw_client other{one.server.port()};
    other.send(upgrade_request("/echo"));
    CHECK_FALSE(other.readable_within(50ms));
    one.time->advance(2s);
    CHECK(other.read_answer().status == 101);
    CHECK(slow.read_to_end() != stream_end::open);
    CHECK(refused(one.server, refusal_reason::timeout) == 1);
    slow_clients::finishes(first);
  }

  TEST_CASE("who renews its connections before they are slow is held all the same") {
    for (const bool gets_in : {false, true}) {
      CAPTURE(gets_in);
      timed_server one{with_handshakes(8, 2), {}, 1};
      slow_clients slow;
      // Eight are in, which is shown by an answer, and four wait, all the time.
      for (int i = 0; i < 12; ++i) slow.comes(one.server, 0, get("/nothing"));
      for (std::size_t i = 0; i < 8; ++i) CHECK(slow.all[i]->read_answer().status == 404);
      std::size_t next = 0;
      for (int round = 0; round < 4; ++round) {
        CHECK(refused(one.server, refusal_reason::address_limit) == 0);
        for (int i = 0; i < 4; ++i, ++next) {
          slow.comes(one.server, 0, get("/nothing"));
          if (gets_in) {
            slow_clients::finishes(*slow.all[next]);
          } else {
            slow.all[next]->reset();
          }
          CHECK(slow.all[next + 8]->read_answer().status == 404);
        }
        one.time->advance(500ms);
      }
      if (gets_in) {
        for (; next < slow.all.size(); ++next) {
          slow_clients::finishes(*slow.all[next]);
          if (next + 8 < slow.all.size()) CHECK(slow.all[next + 8]->read_answer().status == 404);
        }
        CHECK(refused(one.server, refusal_reason::address_limit) == 0);
        continue;
      }
      // Past its number at once, also those that are young. It gets no more than half of the places.
      CHECK(comes_to_pass(one, [&] {
        return refused(one.server, refusal_reason::address_limit) >= 6 && one.server.stats().handshaking <= 4;
      }));
      raw_client other{one.server.port(), 0, address_b};
      other.send(upgrade_request("/echo"));
      CHECK(eventually([&] {
        one.time->advance(5ms);
        return other.readable_within(1ms);
      }));
      CHECK(other.read_answer().status == 101);
    }
  }

  TEST_CASE("so many of an address must get in while it is past its number: one below, at, and one above") {
    for (const std::size_t good : {1U, 2U, 3U}) {
      CAPTURE(good);
      timed_server one{with_handshakes(4, 2), {}, 1};
      slow_clients slow;
      for (int i = 0; i < 5; ++i) slow.comes(one.server, 0, get("/nothing"));
      for (std::size_t i = 0; i < 4; ++i) CHECK(slow.all[i]->read_answer().status == 404);
      one.time->advance(1s);
      for (std::size_t i = 0; i < 4; ++i) {
        slow.comes(one.server, 0, get("/nothing"));
        if (i < good) {
          slow_clients::finishes(*slow.all[i]);
        } else {
          slow.all[i]->reset();
        }
        CHECK(slow.all[i + 4]->read_answer().status == 404);
      }
      one.time->advance(1s);
      if (good < 2) {
        // The time of the address began when it was first seen, which may have been after a second only.
        CHECK(comes_to_pass(
            one, [&] { return refused(one.server, refusal_reason::address_limit) >= 2; }, 201));
        continue;
      }
      for (std::size_t i = 4; i < 9; ++i) {
        if (i == 8) CHECK(slow.all[i]->read_answer().status == 404);
        slow_clients::finishes(*slow.all[i]);
      }
      CHECK(refused(one.server, refusal_reason::address_limit) == 0);
    }
  }

  TEST_CASE("nobody is sent away while nobody waits, and no more than are needed") {
    timed_server one{with_handshakes(3, 1), {}, 1};
    std::vector<std::unique_ptr<raw_client>> idle;
    for (int i = 0; i < 3; ++i) {
      idle.push_back(std::make_unique<raw_client>(one.server.port()));
      idle.back()->send(get("/nothing"));
      CHECK(idle.back()->read_answer().status == 404);
    }
    for (const auto& each : idle) {
      each->send(get("/nothing").substr(0, 3));
      CHECK_FALSE(each->readable_within(10ms));
    }
    slow_clients newcomer;
    newcomer.comes(one.server, address_b);
    // They become idle one after the other, and one of them goes: the first or, if it had not come to that
    // when the others were, another.
    for (const auto& each : idle) each->send(get("/nothing").substr(3));
    for (const auto& each : idle) CHECK(each->read_answer().status == 404);
    std::size_t gone = 0;
    REQUIRE(eventually([&] {
      gone = 0;
      for (const auto& each : idle) gone += each->readable_within(1ms) ? 1 : 0;
      return gone != 0;
    }));
    CHECK(eventually([&] { return one.server.stats().handshaking == 3; }));
    for (const auto& each : idle) {
      if (each->readable_within(0ms)) continue;
      each->send(get("/nothing"));
      CHECK(each->read_answer().status == 404);
    }
    CHECK(gone == 1);
    slow_clients::finishes(*newcomer.all.front());
  }

  TEST_CASE("who has been told that its request is wrong makes room while it takes its leave") {
    timed_server one{with_handshakes(1, 1), {}, 1};
    raw_client wrong{one.server.port()};
    wrong.send("nonsense\r\n\r\n");
    CHECK(wrong.read_answer().status == 400);
    raw_client other{one.server.port()};
    CHECK(other.open("/echo").status == 101);
    CHECK(refused(one.server, refusal_reason::malformed) == 1);
    CHECK(refused(one.server, refusal_reason::timeout) == 0);
    CHECK(refused(one.server, refusal_reason::address_limit) == 0);
  }

  TEST_CASE("an authenticator that takes its time keeps nobody out but the address that asks it") {
    static std::atomic<int> cancelled;
    cancelled = 0;
    auto where = with_handshakes(4, 1);
    where.handshake_timeout = 60s;
    timed_server one{
        where,
        [](skein::server& server) {
          skein::route_options slowly;
          slowly.authenticator = [](const skein::request& what) -> asio::awaitable<skein::admission> {
            try {
              auto result = co_await in_an_hour(what);
              co_return result;
            } catch (...) {
              ++cancelled;
              throw;
            }
          };
          server.route("/slow", echo, slowly);
        },
        1};
    std::vector<std::unique_ptr<raw_client>> asking;
    for (int i = 0; i < 4; ++i) {
      asking.push_back(std::make_unique<raw_client>(one.server.port()));
      asking.back()->send(upgrade_request("/slow"));
      REQUIRE(eventually([&] { return one.server.stats().handshaking == asking.size(); }));
    }
    raw_client other{one.server.port(), 0, address_b};
    other.send(upgrade_request("/echo"));
    CHECK_FALSE(other.readable_within(20ms));
    one.time->advance(2s);
    CHECK(other.read_answer().status == 101);
    for (std::size_t i = 0; i < 3; ++i) CHECK(asking[i]->read_to_end() != stream_end::open);
    CHECK_FALSE(asking[3]->readable_within(0ms));
    CHECK(cancelled == 3);
    CHECK(refused(one.server, refusal_reason::address_limit) == 3);
    CHECK(refused(one.server, refusal_reason::authentication) == 0);
    CHECK(one.server.problems() == 0);
    one.time->advance(58s);
    CHECK(asking[3]->read_answer().status == 408);
    CHECK(cancelled == 4);
  }

  TEST_CASE("those who are told to go may be gone at once, and the others are found all the same") {
    auto where = with_handshakes(8, 1);
    timed_server one{where,
                     [](skein::server& server) {
                       skein::route_options waits;
                       waits.authenticator = never;
                       server.route("/never", echo, waits);
                     },
                     1};
    std::vector<std::unique_ptr<raw_client>> asking;
    for (int i = 0; i < 8; ++i) {
      asking.push_back(std::make_unique<raw_client>(one.server.port()));
      asking.back()->send(upgrade_request("/never"));
      REQUIRE(eventually([&] { return one.server.stats().handshaking == asking.size(); }));
    }
    raw_client other{one.server.port(), 0, address_b};
    other.send(upgrade_request("/echo"));
    CHECK_FALSE(other.readable_within(20ms));
    one.time->advance(2s);
    CHECK(other.read_answer().status == 101);
    for (std::size_t i = 0; i < 7; ++i) CHECK(asking[i]->read_to_end() != stream_end::open);
    CHECK(refused(one.server, refusal_reason::address_limit) == 7);
    CHECK(eventually([&] { return one.server.stats().handshaking == 1; }));
    one.time->advance(3s);
    CHECK(asking[7]->read_answer().status == 408);
  }

  TEST_CASE("an endpoint has so much time for its answer: a moment before, and then") {
    skein::server_options where;
    where.handshake_timeout = 5s;
    timed_server one{where,
                     [](skein::server& server) {
                       server.get("/slow", [](const skein::request&) -> asio::awaitable<skein::response> {
                         asio::steady_timer timer{co_await asio::this_coro::executor, 1h};
                         co_await timer.async_wait(asio::use_awaitable);
                         co_return skein::response{};
                       });
                     },
                     1};
    raw_client client{one.server.port()};
    client.send(get("/nothing"));
    CHECK(client.read_answer().status == 404);
    one.time->advance(4s);  // the answer has a time of its own
    client.send(get("/slow"));
    CHECK_FALSE(client.readable_within(20ms));
    one.time->advance(4'999'999'999ns);
    CHECK_FALSE(client.readable_within(20ms));
    one.time->advance(1ns);
    CHECK(client.read_answer().status == 503);
    CHECK(refused(one.server, refusal_reason::timeout) == 1);
    CHECK(one.server.problems() == 1);
    client.send(get("/nothing"));
    CHECK(client.read_answer().status == 404);
  }

  TEST_CASE("a trusted proxy is many clients, and may be in as many handshakes as it likes") {
    auto where = with_handshakes(4, 1);
    where.proxies.trusted = {"127.0.0.1"};
    timed_server one{where, {}, 1};
    slow_clients slow;
    for (int i = 0; i < 5; ++i) slow.comes(one.server);
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 4; }));
    one.time->advance(4'999ms);
    for (const auto& each : slow.all) slow_clients::finishes(*each);
  }

  TEST_CASE("behind a proxy that says who comes, each of those may be in so many handshakes") {
    auto where = with_handshakes(4, 1);
    where.handshake_timeout = 60s;
    where.proxies.trusted = {"127.0.0.1"};
    where.proxies.proxy_protocol = true;
    timed_server one{where, {}, 1};
    slow_clients made;
    const auto comes = [&](const std::string& client) -> raw_client& {
      return made.comes(one.server, 0, "PROXY TCP4 " + client + " 192.0.2.200 56324 443\r\n");
    };
    auto& a = comes("192.0.2.1");
    auto& b = comes("192.0.2.1");
    auto& c = comes("192.0.2.2");
    auto& d = comes("192.0.2.3");
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 4; }));
    auto& e = comes("192.0.2.4");
    one.time->advance(2s);
    // Who they are is known when the proxy's header has been read.
    CHECK(eventually([&] {
      one.time->advance(100ms);
      return refused(one.server, refusal_reason::address_limit) == 1;
    }));
    slow_clients::finishes(e);
    CHECK(a.read_to_end() != stream_end::open);
    auto& again = comes("192.0.2.1");
    CHECK(again.read_to_end() != stream_end::open);
    CHECK(refused(one.server, refusal_reason::address_limit) == 2);
    for (auto* const each : {&b, &c, &d}) slow_clients::finishes(*each);
    slow_clients::finishes(comes("192.0.2.1"));
  }
}
