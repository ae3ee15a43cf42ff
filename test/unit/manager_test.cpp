// The manager over memory: limit, broadcast, statistics, health, shutdown.

#include "hub_fixture.hpp"

#include <skein/error.hpp>

#include <doctest/doctest.h>

#include <random>
#include <stdexcept>
#include <thread>

using namespace hub_test;

TEST_SUITE("broadcast") {
  TEST_CASE("it reaches everybody and the report says so") {
    fixture f;
    for (int i = 0; i < 10; ++i) f.connect();
    const auto report = f.start(f.hub->broadcast(text("news")));
    REQUIRE(*report);
    CHECK((*report)->matched == 10);
    CHECK((*report)->written == 10);
    CHECK((*report)->balanced());
    for (const auto& peer : f.peers) CHECK(peer->received() == std::vector{text("news")});
    CHECK(f.hub->stats().broadcasts == 1);
  }

  TEST_CASE("without anybody there it completes at once, with zeros") {
    fixture f;
    const auto report = f.start(f.hub->broadcast(text("news")));
    REQUIRE(*report);
    CHECK((*report)->matched == 0);
    CHECK((*report)->balanced());
  }

  TEST_CASE("a predicate, a route and an exception choose the recipients") {
    fixture f;
    for (int i = 0; i < 4; ++i) f.connect();
    const auto chosen = f.peers[1]->other_end()->id();
    const auto only = f.start(f.hub->broadcast(
        text("1"), delivery().where([chosen](const connection& c) { return c.id() == chosen; })));
    CHECK((*only)->matched == 1);
    const auto others = f.start(f.hub->broadcast(text("2"), delivery().except(chosen)));
    CHECK((*others)->matched == 3);
    CHECK((*f.start(f.hub->broadcast(text("3"), delivery().on_route("/"))))->matched == 4);
    CHECK((*f.start(f.hub->broadcast(text("4"), delivery().on_route("/elsewhere"))))->matched == 0);
    CHECK(f.peers[1]->received() == std::vector{text("1"), text("3")});
  }

  TEST_CASE("a predicate that throws matches nobody, and is told of") {
    fixture f;
    f.connect();
    const auto report = f.start(f.hub->broadcast(
        text("x"), delivery().where([](const connection&) -> bool { throw std::runtime_error{"a bug"}; })));
    CHECK((*report)->matched == 0);
    CHECK(f.problems.size() == 1);
  }

  TEST_CASE("it waits for the slow ones until they have read") {
    fixture f;
    f.connect();
    auto& slow = f.connect();
    slow.set_capacity(0);
    const auto report = f.start(f.hub->broadcast(text("x")));
    CHECK(!*report);
    slow.set_capacity(1000);
    f.settle();
    REQUIRE(*report);
    CHECK((*report)->written == 2);
  }

  TEST_CASE("at the deadline it reports what is pending, and the sum holds") {
    fixture f;
    f.connect();
    auto& slow = f.connect();
    slow.set_capacity(0);
    const auto report = f.start(f.hub->broadcast(text("x"), delivery().deadline(200ms)));
    f.advance(200ms - 1ns);
    CHECK(!*report);
    f.advance(1ns);
    REQUIRE(*report);
    CHECK((*report)->written == 1);
    CHECK((*report)->pending == 1);
    CHECK((*report)->balanced());
    CHECK((*report)->elapsed == 200ms);
    slow.set_capacity(1000);
    f.settle();
    CHECK(slow.received() == std::vector{text("x")});
  }

  TEST_CASE("connections that end before their copy is written are reported as closed") {
    fixture f;
    f.connect();
    auto& dying = f.connect();
    dying.set_capacity(0);
    const auto report = f.start(f.hub->broadcast(text("x")));
    CHECK(!*report);
    dying.cut();
    f.settle();
    REQUIRE(*report);
    CHECK((*report)->written == 1);
    CHECK((*report)->closed == 1);
    CHECK((*report)->balanced());
  }

  TEST_CASE("each policy has its own number in the report") {
    manager_options options;
    options.limits.send_queue_messages = 1;
    fixture f{options};
    auto& slow = f.connect();
    slow.set_capacity(0);
    const auto waiting = f.start(f.hub->broadcast(text("1"), delivery().conflate("k")));
    const auto conflating = f.start(f.hub->broadcast(text("2"), delivery().conflate("k")));
    REQUIRE(*waiting);
    CHECK((*waiting)->dropped == 1);
    CHECK((*waiting)->conflated == 1);
    CHECK((*f.start(f.hub->broadcast(text("3"), delivery().drop())))->dropped == 1);
    const auto evicting = f.start(f.hub->broadcast(text("4")));
    REQUIRE(*evicting);
    CHECK((*evicting)->closed == 1);
    CHECK((*evicting)->evicted == 1);
    REQUIRE(*conflating);
    CHECK((*conflating)->closed == 1);
    CHECK((*conflating)->evicted == 0);
    for (const auto& one : {waiting, conflating, evicting}) CHECK((*one)->balanced());
  }

  TEST_CASE("it refuses the policy wait and an empty message") {
    fixture f;
    CHECK_THROWS_AS(testing::run(f.context, f.hub->broadcast(text("x"), delivery().wait())),
                    std::invalid_argument);
    CHECK_THROWS_AS(testing::run(f.context, f.hub->broadcast(prepared_message{})), std::invalid_argument);
    CHECK_THROWS_AS(f.hub->post_broadcast(text("x"), delivery().wait()), std::invalid_argument);
  }

  TEST_CASE("from inside a handler it reaches the sender too, in order with its own messages") {
    fixture f;
    auto hub = f.hub;
    auto& peer = f.connect([hub](connection& client) -> asio::awaitable<void> {
      while (auto got = co_await client.read()) {
        co_await client.send(text("before"));
        const auto report = co_await hub->broadcast(std::move(*got));
        CHECK(report.matched == 1);
        co_await client.send(text("after"));
      }
    });
    peer.send(text("all"));
    f.settle();
    CHECK(peer.received() == std::vector{text("before"), text("all"), text("after")});
  }

  TEST_CASE("the sum holds over thousands of random histories") {
    for (unsigned seed = 1; seed <= 40; ++seed) {
      CAPTURE(seed);
      std::mt19937 random{seed};
      manager_options options;
      options.limits.send_queue_messages = 1 + random() % 4;
      fixture f{options};
      std::vector<std::shared_ptr<std::optional<delivery_report>>> reports;
      for (int step = 0; step < 60; ++step) {
        switch (random() % 8) {
          case 0:
          case 1:
            f.connect();
            break;
          case 2:
            if (!f.peers.empty()) f.peers[random() % f.peers.size()]->cut();
            break;
          case 3:
            if (!f.peers.empty()) f.peers[random() % f.peers.size()]->set_capacity(random() % 20);
            break;
          case 4:
            if (!f.peers.empty()) f.peers[random() % f.peers.size()]->discard();
            break;
          case 5:
            f.advance(std::chrono::milliseconds{random() % 3000});
            break;
          default: {
            delivery how;
            if (random() % 3 == 0) how.drop();
            if (random() % 3 == 0) how.conflate(std::to_string(random() % 2));
            if (random() % 2 == 0) how.deadline(std::chrono::milliseconds{1 + random() % 2000});
            reports.push_back(f.start(f.hub->broadcast(text("payload"), how)));
          }
        }
        if (random() % 2 == 0) f.settle();
      }
      for (const auto& peer : f.peers) peer->cut();
      f.settle();
      for (const auto& report : reports) {
        REQUIRE(*report);
        CHECK((*report)->balanced());
      }
      const auto stats = f.hub->stats();
      CHECK(stats.active == 0);
      CHECK(stats.queued_messages == 0);
      CHECK(stats.queued_bytes == 0);
      CHECK(f.opened.size() == f.closed.size());
    }
  }

  TEST_CASE("across shards with threads of their own the report adds up") {
    manager_options options;
    options.shards = 3;
    auto hub = make_manager(options);
    // No connections here, but every shard takes part.
    const auto report = testing::run(hub->broadcast(text("x")));
    CHECK(report.matched == 0);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&hub] {
        for (int i = 0; i < 50; ++i) CHECK(testing::run(hub->broadcast(text("x"))).balanced());
      });
    }
    for (auto& one : threads) one.join();
    CHECK(hub->stats().broadcasts == 201);
  }
}

TEST_SUITE("manager") {
  TEST_CASE("the limit of connections is strict: at it the last one gets in, past it nobody") {
    manager_options options;
    options.max_connections = 3;
    fixture f{options};
    f.connect();
    f.connect();
    CHECK(f.hub->health().ready);
    f.connect();
    CHECK(!f.hub->health().ready);
    CHECK(f.hub->health().live);
    try {
      f.connect();
      FAIL("a fourth connection got in");
    } catch (const boost::system::system_error& e) {
      CHECK(e.code() == errc::connection_limit);
    }
    f.peers[0]->cut();
    f.settle();
    CHECK(f.hub->health().ready);
    f.connect();
    CHECK(f.hub->stats().active == 3);
  }

  TEST_CASE("an id names its connection and no other, also when its place is taken again") {
    fixture f;
    auto& first = f.connect();
    const auto id = first.other_end()->id();
    CHECK(**f.start(f.hub->send_to(id, text("you"))) == outcome::queued);
    CHECK(first.received() == std::vector{text("you")});
    first.cut();
    f.settle();
    auto& second = f.connect();
    CHECK(second.other_end()->id() != id);
    CHECK(**f.start(f.hub->send_to(id, text("you"))) == outcome::closed);
    CHECK(**f.start(f.hub->send_to(0, text("you"))) == outcome::closed);
    CHECK(second.received().empty());
    CHECK(!**f.start(f.hub->close(id)));
    CHECK(**f.start(f.hub->close(second.other_end()->id(), close_code::policy_violation, "out")));
    second.received();
    CHECK(second.close_received() == close_code::policy_violation);
  }

  TEST_CASE("for_each visits every connection") {
    fixture f;
    for (int i = 0; i < 5; ++i) f.connect();
    std::vector<connection_id> seen;
    testing::run(f.context, f.hub->for_each([&seen](connection& c) { seen.push_back(c.id()); }));
    CHECK(seen == f.opened);
    CHECK_THROWS_AS(
        testing::run(f.context, f.hub->for_each([](connection&) { throw std::runtime_error{"a bug"}; })),
        std::runtime_error);
  }

  TEST_CASE("for_each visits everybody, though a visit throws, and throws that") {
    fixture f;
    for (int i = 0; i < 3; ++i) f.connect();
    int visited = 0;
    bool thrown = false;
    asio::co_spawn(f.context, f.hub->for_each([&visited](connection&) {
      if (++visited == 1) throw std::runtime_error{"first"};
    }),
                   [&thrown](const std::exception_ptr& error) { thrown = error != nullptr; });
    f.settle();
    CHECK(visited == 3);
    CHECK(thrown);
  }

  TEST_CASE("a shard that does not run makes the process not live") {
    fixture f;
    CHECK(f.hub->health().live);
    f.time->advance(6s);  // and nobody runs the context
    CHECK(!f.hub->health().live);
    CHECK(!f.hub->health().ready);
    f.settle();
    CHECK(f.hub->health().live);
  }

  TEST_CASE("options that are not allowed are refused by name") {
    const auto refuses = [](auto change, const std::string& name) {
      manager_options options;
      change(options);
      try {
        static_cast<void>(make_manager(options));
        FAIL("accepted: " << name);
      } catch (const std::invalid_argument& e) {
        CHECK(std::string{e.what()}.find(name) != std::string::npos);
      }
    };
    refuses([](auto& o) { o.max_connections = 0; }, "max_connections");
    refuses([](auto& o) { o.limits.send_queue_messages = 0; }, "send_queue_messages");
    refuses([](auto& o) { o.limits.pong_timeout = 0s; }, "pong_timeout");
    refuses([](auto& o) { o.limits.close_timeout = 0s; }, "close_timeout");
    refuses([](auto& o) { o.compression.level = 10; }, "compression level");
    refuses([](auto& o) { o.shards = 1025; }, "shards");
  }
}

TEST_SUITE("drain") {
  TEST_CASE("it sends what is queued, closes with 1001, and reports everybody as clean") {
    fixture f;
    for (int i = 0; i < 5; ++i) f.connect();
    f.hub->post_broadcast(text("last words"));
    const auto report = f.start(f.hub->drain(10s));
    CHECK(!f.hub->health().ready);
    for (int i = 0; i < 100 && !*report; ++i) {
      for (const auto& peer : f.peers) {
        for (const auto& got : peer->received()) CHECK(got == text("last words"));
      }
      f.advance(10ms);
    }
    REQUIRE(*report);
    CHECK((*report)->clean == 5);
    CHECK((*report)->forced == 0);
    CHECK((*report)->undelivered == 0);
    for (const auto& peer : f.peers) CHECK(peer->close_received() == close_code::going_away);
    CHECK_THROWS_AS(f.connect(), boost::system::system_error);
  }

  TEST_CASE("without connections it completes at once, and a second call gets the same report") {
    fixture f;
    CHECK((*f.start(f.hub->drain(10s)))->clean == 0);
    CHECK(*f.start(f.hub->drain(10s)));
  }

  TEST_CASE("connections are closed at a pace") {
    manager_options options;
    options.drain_rate = 200;  // two each 10 ms
    fixture f{options};
    for (int i = 0; i < 6; ++i) f.connect();
    const auto report = f.start(f.hub->drain(10s));
    CHECK(f.hub->stats().closing == 2);
    f.advance(10ms);
    CHECK(f.hub->stats().closing == 4);
    f.advance(10ms);
    CHECK(f.hub->stats().closing == 6);
    for (const auto& peer : f.peers) peer->received();
    f.settle();
    REQUIRE(*report);
    CHECK((*report)->clean == 6);
  }

  TEST_CASE("who has not ended at the deadline is reset and counted, with what could not be delivered") {
    fixture f;
    auto& good = f.connect();
    auto& stuck = f.connect();
    stuck.set_capacity(0);
    f.hub->post_broadcast(text("x"));
    const auto report = f.start(f.hub->drain(3s));
    good.received();
    f.settle();
    f.advance(3s - 1ns);
    CHECK(!*report);
    f.advance(1ns);
    REQUIRE(*report);
    CHECK((*report)->clean == 1);
    CHECK((*report)->forced == 1);
    CHECK((*report)->undelivered == 1);
    CHECK(stuck.is_cut());
  }

  TEST_CASE("a handler that does not end is cancelled at the deadline, and counts as forced") {
    fixture f;
    bool cancelled = false;
    auto& peer = f.connect([&cancelled](connection&) -> asio::awaitable<void> {
      asio::steady_timer never{co_await asio::this_coro::executor, asio::steady_timer::time_point::max()};
      try {
        co_await never.async_wait(asio::use_awaitable);
      } catch (const boost::system::system_error&) {
        cancelled = true;
        throw;
      }
    });
    const auto report = f.start(f.hub->drain(2s));
    peer.received();
    f.settle();
    CHECK(!*report);
    f.advance(2s);
    CHECK(cancelled);
    REQUIRE(*report);
    CHECK((*report)->forced + (*report)->clean == 1);
    CHECK(f.hub->stats().handler_exceptions == 0);
  }

  TEST_CASE("the sum of a broadcast holds during the shutdown") {
    fixture f;
    for (int i = 0; i < 3; ++i) f.connect();
    auto& stuck = f.connect();
    stuck.set_capacity(0);
    const auto before = f.start(f.hub->broadcast(text("1")));
    const auto report = f.start(f.hub->drain(1s));
    const auto during = f.start(f.hub->broadcast(text("2")));
    for (int i = 0; i < 30; ++i) {
      for (const auto& peer : f.peers) {
        if (peer.get() != &stuck) peer->received();
      }
      f.advance(100ms);
    }
    REQUIRE(*report);
    REQUIRE(*before);
    REQUIRE(*during);
    CHECK((*before)->balanced());
    CHECK((*before)->written == 3);
    CHECK((*before)->closed == 1);
    CHECK((*during)->balanced());
  }
}
