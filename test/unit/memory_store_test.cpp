#include "store_support.hpp"

#include <skein/message_store.hpp>
#include <skein/testing.hpp>

#include <boost/asio/this_coro.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace skein::test {
namespace {

struct store_fixture : store_caller {
  static constexpr int model_steps = 5'000;
  explicit store_fixture(std::size_t max_bytes = memory_store_options{}.max_bytes) {
    memory_store_options options;
    options.max_bytes = max_bytes;
    options.time = time;
    store = make_memory_store(options);
  }
};

// What the documentation says that things take.
constexpr std::size_t of_message = 128;
constexpr std::size_t of_owner = 512 + 1;  // names of one byte

}  // namespace
}  // namespace skein::test

#define STORE_NAME "memory"
#include "message_store_conformance.hpp"

namespace skein::test {

TEST_SUITE("memory_store") {
  TEST_CASE("a payload is shared, not copied") {
    store_fixture f;
    const prepared_message what = message::text("hello");
    f.await(f.store->append("a", what, {}));
    f.await(f.store->keep("a", what, {}));
    CHECK(f.read("a", {}).publications.at(0).what.block() == what.block());
    CHECK(f.waiting("a").at(0).what.block() == what.block());
  }

  TEST_CASE("past the total the least recently used topic loses its oldest publications, then itself") {
    const auto topic_of_two = of_owner + 2 * (of_message + 10);
    const std::string text(10, 'x');
    store_fixture f{2 * topic_of_two};
    const auto first = f.append("a", text);
    f.append("a", text);
    f.append("b", text);
    f.append("b", text);
    CHECK(f.store->stats().bytes == 2 * topic_of_two);
    CHECK(f.store->stats().shed == 0);

    f.append("b", text);
    CHECK(f.store->stats().shed == 1);
    CHECK(f.store->stats().bytes == 2 * topic_of_two);
    CHECK(f.history("b").size() == 3);
    f.append("b", text);
    f.append("b", text);
    CHECK(f.store->stats().shed == 2);
    CHECK(f.store->stats().forgotten == 1);
    CHECK(f.history("b").size() == 5);
    CHECK(f.position("a").epoch != first.epoch);
  }

  TEST_CASE("reading a topic is using it") {
    store_fixture f{2 * of_owner + 2 * (of_message + 1)};
    f.append("a", "1");
    f.append("b", "1");
    CHECK(f.history("a") == strings{"1"});
    f.append("a", "2");
    CHECK(f.history("a") == strings{"1", "2"});
    CHECK(f.history("b").empty());
  }

  TEST_CASE("the total is kept to, to the byte") {
    const auto needed = of_owner + of_message + 100;
    for (const auto extra : {-1, 0, 1}) {
      CAPTURE(extra);
      store_fixture f{needed + static_cast<std::size_t>(extra + 1) - 1};
      CHECK(f.append("a", std::string(100, 'x')).offset == 1);
      CHECK(f.store->stats().shed == (extra < 0 ? 1 : 0));
      CHECK(f.history("a").size() == (extra < 0 ? 0 : 1));
      CHECK(f.store->stats().bytes <= needed + 1);
    }
  }

  TEST_CASE("offline messages are refused past the total, and nothing of them remains") {
    const auto needed = of_owner + of_message + 100;
    for (const auto extra : {-1, 0, 1}) {
      CAPTURE(extra);
      store_fixture f{needed + static_cast<std::size_t>(extra + 1) - 1};
      const auto error = error_of([&] { f.keep("a", std::string(100, 'x')); });
      CHECK((error == errc::store_full) == (extra < 0));
      CHECK(f.store->stats().refused == (extra < 0 ? 1 : 0));
      CHECK(f.store->stats().bytes == (extra < 0 ? 0 : needed));
    }
  }

  TEST_CASE("history makes room for offline messages, not the other way round") {
    store_fixture f{2 * of_owner + 2 * (of_message + 1)};
    f.append("a", "1");
    f.keep("u", "1");
    f.keep("u", "2");
    CHECK(f.store->stats().shed == 1);
    CHECK(f.history("a").empty());
    CHECK(f.append("a", "2").offset != 0);
    CHECK(texts(f.waiting("u")) == strings{"1", "2"});
    CHECK(f.history("a").empty());
  }

  TEST_CASE("what was pushed out makes room") {
    store_fixture f{of_owner + 2 * (of_message + 1)};
    f.keep("a", "1");
    f.keep("a", "2");
    CHECK(error_of([&] { f.keep("a", "3"); }) == errc::store_full);
    CHECK(f.keep("a", "3", {.max_messages = 2}).pushed_out == 1);
    CHECK(texts(f.waiting("a")) == strings{"2", "3"});
  }

  TEST_CASE("what has expired makes room, whosever it is") {
    store_fixture f{70'000};
    for (int i = 0; i < 100; ++i) f.keep("u" + std::to_string(i), "1", {.expiry = 1s});
    CHECK(f.store->stats().expired == 0);
    f.time->advance(1s);
    CHECK(f.keep("x", std::string(60'000, 'x')).pushed_out == 0);
    CHECK(f.store->stats().expired == 100);
    CHECK(f.store->stats().bytes == of_owner + of_message + 60'000);
  }

  TEST_CASE("everything that goes gives its bytes back") {
    store_fixture f;
    f.append("a", "1", {.max_age = 1s});
    const auto id = f.keep("u", "1").id;
    f.keep("v", "1", {.expiry = 1s});
    f.acknowledge("u", id);
    f.time->advance(1s);
    CHECK(f.waiting("v").empty());
    CHECK(f.history("a").empty());
    CHECK(f.store->stats().bytes == of_owner);
    f.forget("a");
    CHECK(f.store->stats().bytes == 0);
  }

  TEST_CASE("a store of no bytes is refused") {
    CHECK_THROWS_AS((void)make_memory_store({.max_bytes = 0, .time = {}}), std::invalid_argument);
  }

  TEST_CASE("a clock knows the time of day, and a test sets it") {
    CHECK(steady_clock()->wall_now() > std::chrono::sys_days{std::chrono::year{2020} / 1 / 1});
    testing::virtual_clock time;
    const auto before = time.wall_now();
    const auto steady = time.now();
    time.advance(1s);
    CHECK(time.wall_now() == before + 1s);
    time.set_wall(before - 1h);
    CHECK(time.wall_now() == before - 1h);
    CHECK(time.now() == steady + 1s);
  }
}

}  // namespace skein::test
