// One allocation fails, each in turn, and nothing but what asked for it is lost.

#include "counting_new.hpp"
#include "hub_fixture.hpp"

#include <skein/topics.hpp>
#include <skein/users.hpp>

#include <boost/asio/detached.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <new>

using namespace hub_test;

namespace {

/// Runs `step` with the first allocation failing, then the second, until none fails.
template <class Step>
void each_failing(Step step) {
  for (std::size_t n = 1;; ++n) {
    if (!step(n)) return;
    REQUIRE(n < 1000);
  }
}

/// Runs what is ready although an allocation fails; whether one did.
bool run_failing(fixture& f) {
  for (int i = 0; i < 20; ++i) {
    try {
      if (f.context.stopped()) f.context.restart();
      f.context.poll();
    } catch (const std::bad_alloc&) {  // of the context itself
    }
  }
  const bool failed = counting::has_failed();
  counting::let_fail(0);
  f.settle();
  return failed;
}

}  // namespace

TEST_SUITE("out of memory" * doctest::skip(!counting::counts)) {
  TEST_CASE("a connection that cannot be opened leaves nothing behind") {
    each_failing([](std::size_t n) {
      fixture f;
      const auto topics = make_topics(f.hub);
      const auto users = make_users(f.hub);
      auto& other = f.connect();
      f.opened.reserve(8);
      f.closed.reserve(8);
      f.problems.reserve(8);
      identity who;
      who.user = "ann";
      counting::let_fail(n);
      std::unique_ptr<testing::memory_peer> peer;
      try {
        peer = testing::connect(*f.hub, ignore, {}, who);
      } catch (const std::bad_alloc&) {
      }
      const bool failed = counting::has_failed();
      counting::let_fail(0);
      f.settle();
      const auto report = f.start(f.hub->broadcast(text("all")));
      REQUIRE(*report);
      CHECK((*report)->balanced());
      CHECK((*report)->matched == f.hub->stats().open);
      const auto ids = f.start(users->connections("ann"));
      REQUIRE(*ids);
      CHECK((*ids)->size() == f.hub->stats().active - 1);
      CHECK(other.received() == std::vector{text("all")});
      peer.reset();
      f.settle();
      CHECK(f.hub->stats().active == 1);
      CHECK(f.opened.size() == f.closed.size() + 1);
      return failed;
    });
  }

  TEST_CASE("a publication that fails says so, and the next one is delivered") {
    each_failing([](std::size_t n) {
      fixture f;
      const auto topics = make_topics(f.hub);
      for (int i = 0; i < 3; ++i) {
        f.connect();
        REQUIRE(*f.start(topics->subscribe(*f.peers.back()->other_end(), "a")));
        REQUIRE(*f.start(topics->subscribe(*f.peers.back()->other_end(), "*")));
      }
      bool done = false;
      std::optional<delivery_report> report;
      const auto publish = [&]() -> asio::awaitable<void> {
        prepared_message what = text("x");
        auto task = topics->publish("a", std::move(what));
        counting::let_fail(n);
        report = co_await std::move(task);
      };
      asio::co_spawn(f.context, publish(), [&](const std::exception_ptr&) { done = true; });
      const bool failed = run_failing(f);
      CHECK_MESSAGE(done, "the publisher waits for ever: ", n);
      if (report) CHECK(report->balanced());
      const auto next = f.start(topics->publish("a", text("y")));
      CHECK(*next);
      if (*next) CHECK((*next)->balanced());
      return failed;
    });
  }

  TEST_CASE("a connection that fails ends, and another one is served") {
    each_failing([](std::size_t n) {
      fixture f;
      auto& one = f.connect(echo);
      auto& other = f.connect(echo);
      f.closed.reserve(8);
      f.problems.reserve(8);
      one.send(text(std::string(5'000, 'x')));
      f.peers[0]->send(text("y"));
      counting::let_fail(n);
      const bool failed = run_failing(f);
      other.send(text("still there"));
      f.settle();
      CHECK(other.received() == std::vector{text("still there")});
      f.peers.clear();
      f.settle();
      CHECK(f.hub->stats().active == 0);
      CHECK(f.closed.size() == 2);
      return failed;
    });
  }

  TEST_CASE("whoever waits for the end of a connection is told of it") {
    int checked = 0;
    each_failing([&](std::size_t n) {
      fixture f;
      bool closed = false;
      bool left = false;
      auto& peer = f.connect([&](connection& client) -> asio::awaitable<void> {
        const std::shared_ptr<void> leaves{nullptr, [&](void*) { left = true; }};
        while (const auto got = co_await client.read()) {
        }
      });
      f.closed.reserve(8);
      f.problems.reserve(8);
      const auto close = [&]() -> asio::awaitable<void> {
        co_await peer.other_end()->close();
        closed = true;
      };
      asio::co_spawn(f.context, close(), asio::detached);
      f.settle();
      peer.cut();
      counting::let_fail(n);
      const bool failed = run_failing(f);
      f.advance(std::chrono::minutes{1});
      // A strand of Asio's that finds no memory for its first handler never runs again.
      const auto alive = f.start(f.hub->broadcast(text("x")));
      if (!*alive) return failed;
      CHECK_MESSAGE(closed, "close waits for ever: ", n);
      CHECK_MESSAGE(left, "the handler waits for ever: ", n);
      CHECK(f.hub->stats().active == 0);
      ++checked;
      return failed;
    });
    CHECK(checked > 3);
  }
}
