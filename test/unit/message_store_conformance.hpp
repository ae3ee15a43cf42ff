#pragma once

// What every message store promises. Each implementation's test includes this once, after it has defined
// `STORE_NAME`, a string literal, and in namespace skein::test a class `store_fixture` with
//   std::shared_ptr<testing::virtual_clock> time;
//   std::shared_ptr<message_store> store;  // new and empty, uses `time`
//   static constexpr int model_steps;      // how many steps the model test takes

#include "history_conformance.hpp"
#include "store_support.hpp"

#include <skein/message_store.hpp>
#include <skein/testing.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace skein::test {

// g++ 12 destroys a temporary aggregate in an await expression twice; these have no destructor to call.
static_assert(std::is_trivially_destructible_v<history_limits>);
static_assert(std::is_trivially_destructible_v<offline_limits>);
static_assert(std::is_trivially_destructible_v<page_limits>);

TEST_SUITE("message_store") {
  TEST_CASE(STORE_NAME ": names and payloads are any bytes") {
    store_fixture f;
    using namespace std::string_literals;
    const auto odd = "a\0b"s;
    const strings payloads{"", odd, "\xff\xfe", std::string(100'000, 'x'), "'; DROP TABLE topics; --"};
    for (const auto& name : {odd, "a\0c"s, "a"s, "\xff"s, std::string(5'000, 'n'), "%"s}) {
      CAPTURE(name);
      for (const auto& payload : payloads) {
        f.append(name, payload);
        f.keep(name, payload);
      }
      CHECK(f.history(name) == payloads);
      CHECK(texts(f.waiting(name)) == payloads);
    }
    f.await(f.store->append("binary", message::binary(odd), {}));
    const auto page = f.read("binary", {});
    REQUIRE(page.publications.size() == 1);
    CHECK(page.publications[0].what.type() == opcode::binary);
    CHECK(page.publications[0].what.payload() == odd);
    f.await(f.store->keep("binary", message::binary(""), {}));
    CHECK(f.waiting("binary").at(0).what.type() == opcode::binary);
  }

  TEST_CASE(STORE_NAME ": who has no name, and nothing, are refused") {
    store_fixture f;
    CHECK_THROWS_AS(f.append("", "1"), std::invalid_argument);
    CHECK_THROWS_AS((void)f.read("", {}), std::invalid_argument);
    CHECK_THROWS_AS((void)f.position(""), std::invalid_argument);
    CHECK_THROWS_AS(f.forget(""), std::invalid_argument);
    CHECK_THROWS_AS(f.keep("", "1"), std::invalid_argument);
    CHECK_THROWS_AS((void)f.waiting(""), std::invalid_argument);
    CHECK_THROWS_AS(f.acknowledge("", 1), std::invalid_argument);
    CHECK_THROWS_AS(f.keep("a", "1", {.max_messages = 0}), std::invalid_argument);
    CHECK_THROWS_AS(f.await(f.store->append("a", prepared_message{}, {})), std::invalid_argument);
    CHECK_THROWS_AS(f.await(f.store->keep("a", prepared_message{}, {})), std::invalid_argument);
    CHECK(f.store->stats().failed == 0);
    CHECK(f.store->stats().refused == 0);
  }

  TEST_CASE(STORE_NAME ": a call does nothing, and refuses nothing, before it is awaited") {
    store_fixture f;
    { const auto never = f.store->append("a", message::text("1"), {}); }
    CHECK(f.position("a").offset == 0);
    auto wrong = f.store->append("", message::text("1"), {});  // does not throw
    CHECK_THROWS_AS(f.await(std::move(wrong)), std::invalid_argument);
    auto too_large = f.store->keep("a", message::text("12"), {.max_messages = 1, .max_bytes = 1});
    CHECK(error_of([&] { f.await(std::move(too_large)); }) == errc::message_too_big);
  }

  TEST_CASE(STORE_NAME ": a call that has not begun may outlive its store") {
    store_fixture f;
    auto late = f.store->keep("u", message::text("1"), {});
    f.store.reset();
    stored_id id = 0;
    const auto error = error_of([&] { id = f.await(std::move(late)).id; });
    CHECK(error == (id == 0 ? make_error_code(errc::store_unavailable) : error_code{}));
  }

  TEST_CASE(STORE_NAME ": several are acknowledged at once, and only those that were waiting count") {
    store_fixture f;
    std::vector<stored_id> ids;
    for (int i = 0; i < 5; ++i) ids.push_back(f.keep("ann", std::to_string(i)).id);
    const auto others = f.keep("bob", "x").id;
    const std::vector<stored_id> some{ids[0], ids[3], ids[0], others, 1};
    CHECK(f.await(f.store->acknowledge_all("ann", some)) == 2);
    CHECK(texts(f.waiting("ann")) == strings{"1", "2", "4"});
    CHECK(texts(f.waiting("bob")) == strings{"x"});
    CHECK(f.await(f.store->acknowledge_all("ann", {})) == 0);
    CHECK(f.await(f.store->acknowledge_all("nobody", some)) == 0);
    CHECK(f.store->stats().acknowledged == 2);
  }

  TEST_CASE(STORE_NAME ": a user's messages wait in order, until each is acknowledged") {
    store_fixture f;
    const auto now = f.time->wall_now();
    const auto one = f.keep("ann", "1").id;
    const auto two = f.keep("bob", "2").id;
    const auto three = f.keep("ann", "3").id;
    CHECK(one < two);
    CHECK(two < three);
    const auto page = f.waiting("ann");
    REQUIRE(page.size() == 2);
    CHECK(page[0].id == one);
    CHECK(page[0].kept_at == now);
    CHECK(page[1].id == three);
    CHECK(texts(page) == strings{"1", "3"});

    CHECK(!f.acknowledge("bob", one));
    CHECK(!f.acknowledge("ann", 0));
    CHECK(!f.acknowledge("ann", std::numeric_limits<stored_id>::max()));
    CHECK(!f.acknowledge("cyd", one));
    CHECK(texts(f.waiting("ann")) == strings{"1", "3"});
    CHECK(f.acknowledge("ann", one));
    CHECK(!f.acknowledge("ann", one));
    CHECK(texts(f.waiting("ann")) == strings{"3"});
    CHECK(texts(f.waiting("bob")) == strings{"2"});
    CHECK(f.waiting("cyd").empty());
  }

  TEST_CASE(STORE_NAME ": waiting messages come in pages") {
    store_fixture f;
    std::vector<stored_id> ids;
    for (const auto* const text : {"11", "22", "33"}) ids.push_back(f.keep("a", text).id);
    CHECK(texts(f.waiting("a", ids[0])) == strings{"22", "33"});
    CHECK(f.waiting("a", ids[2]).empty());
    CHECK(f.waiting("a", std::numeric_limits<stored_id>::max()).empty());
    CHECK(f.waiting("a", 0, {.max_messages = 0}).empty());
    CHECK(f.waiting("a", 0, {.max_messages = 2}).size() == 2);
    CHECK(f.waiting("a", 0, {.max_messages = 3}).size() == 3);
    CHECK(f.waiting("a", 0, {.max_messages = 4}).size() == 3);
    CHECK(f.waiting("a", 0, {.max_bytes = 1}).size() == 1);
    CHECK(f.waiting("a", 0, {.max_bytes = 3}).size() == 1);
    CHECK(f.waiting("a", 0, {.max_bytes = 4}).size() == 2);
    CHECK(f.waiting("a", 0, {.max_bytes = 5}).size() == 2);
    CHECK(f.waiting("a", 0, {.max_bytes = 6}).size() == 3);
  }

  TEST_CASE(STORE_NAME ": past a user's number of messages the oldest is pushed out") {
    store_fixture f;
    const offline_limits limits{.max_messages = 3};
    CHECK(f.keep("a", "1", limits).pushed_out == 0);
    f.keep("b", "other", limits);
    CHECK(f.keep("a", "2", limits).pushed_out == 0);
    CHECK(f.keep("a", "3", limits).pushed_out == 0);
    CHECK(f.keep("a", "4", limits).pushed_out == 1);
    CHECK(texts(f.waiting("a")) == strings{"2", "3", "4"});
    CHECK(f.keep("a", "5", {.max_messages = 1}).pushed_out == 3);
    CHECK(texts(f.waiting("a")) == strings{"5"});
    CHECK(texts(f.waiting("b")) == strings{"other"});
    CHECK(f.store->stats().pushed_out == 4);
  }

  TEST_CASE(STORE_NAME ": past a user's number of bytes the oldest are pushed out") {
    store_fixture f;
    const offline_limits limits{.max_bytes = 10};
    f.keep("a", "123", limits);
    CHECK(f.keep("a", "456", limits).pushed_out == 0);
    CHECK(f.keep("a", "789", limits).pushed_out == 0);  // 9
    CHECK(f.keep("a", "0", limits).pushed_out == 0);    // 10
    CHECK(f.keep("a", "x", limits).pushed_out == 1);    // 11
    CHECK(texts(f.waiting("a")) == strings{"456", "789", "0", "x"});
    CHECK(f.keep("a", std::string(9, 'y'), limits).pushed_out == 3);
    CHECK(texts(f.waiting("a")) == strings{"x", std::string(9, 'y')});
    CHECK(f.keep("a", std::string(10, 'z'), limits).pushed_out == 2);
    CHECK(error_of([&] { f.keep("a", std::string(11, 'z'), limits); }) == errc::message_too_big);
    CHECK(f.waiting("a").size() == 1);
    CHECK(f.keep("a", std::string(2'000'000, 'z'), {.max_bytes = 0}).pushed_out == 0);
  }

  TEST_CASE(STORE_NAME ": a message waits for less than its expiry") {
    store_fixture f;
    const auto one = f.keep("a", "1", {.expiry = 10s}).id;
    f.keep("a", "2", {.expiry = 20s});
    f.keep("b", "for ever", {.expiry = 0s});
    f.keep("b", "longest", {.expiry = std::chrono::nanoseconds::max()});
    f.time->advance(10s - 1ns);
    CHECK(texts(f.waiting("a")) == strings{"1", "2"});
    f.time->advance(1ns);
    CHECK(texts(f.waiting("a")) == strings{"2"});
    CHECK(!f.acknowledge("a", one));
    f.time->advance(10s);
    CHECK(f.waiting("a").empty());
    f.time->advance(std::chrono::days{3650});
    CHECK(texts(f.waiting("b")) == strings{"for ever", "longest"});
  }

  TEST_CASE(STORE_NAME ": an expired message is not pushed out, it is gone") {
    store_fixture f;
    f.keep("a", "later", {.max_messages = 2, .expiry = 1min});
    f.keep("a", "soon", {.max_messages = 2, .expiry = 1s});
    f.time->advance(1s);
    CHECK(f.keep("a", "3", {.max_messages = 2}).pushed_out == 0);
    CHECK(texts(f.waiting("a")) == strings{"later", "3"});
    CHECK(f.store->stats().expired == 1);
    CHECK(f.store->stats().pushed_out == 0);
  }

  TEST_CASE(STORE_NAME ": an id is never used again") {
    store_fixture f;
    stored_id last = 0;
    for (int round = 0; round < 3; ++round) {
      const auto id = f.keep("a", "1").id;
      CHECK(id > last);
      last = id;
      CHECK(f.acknowledge("a", id));
    }
    CHECK(last < (stored_id{1} << 53U));
  }

  TEST_CASE(STORE_NAME ": what is done is counted") {
    store_fixture f;
    f.append("a", "12");
    f.append("a", "34");
    const auto id = f.keep("u", "567").id;
    f.acknowledge("u", id);
    const auto stats = f.store->stats();
    CHECK(stats.appends == 2);
    CHECK(stats.kept == 1);
    CHECK(stats.acknowledged == 1);
    CHECK(stats.bytes_in == 7);
    CHECK(stats.failed == 0);
    CHECK(stats.queued == 0);
    CHECK(stats.bytes > 0);
    CHECK(f.store->health().available);
    CHECK(f.store->health().problem.empty());
  }

  TEST_CASE(STORE_NAME ": callers on many threads go on where they were, and none takes another's place") {
    constexpr int threads = 4;
    constexpr int callers = 8;
    constexpr int rounds = 10;
    store_fixture f;
    struct found {
      std::set<std::uint64_t> offsets;
      std::set<stored_id> ids;
      bool elsewhere = false;
    };
    const auto work = [](message_store& store, found& mine) -> asio::awaitable<void> {
      const auto home = std::this_thread::get_id();
      const auto note = [&] { mine.elsewhere = mine.elsewhere || std::this_thread::get_id() != home; };
      for (int i = 0; i < rounds; ++i) {
        prepared_message what = message::text("x");
        mine.offsets.insert((co_await store.append("shared", what, history_limits())).offset);
        note();
        mine.ids.insert((co_await store.keep("shared", what, offline_limits())).id);
        note();
        topic_position start;
        co_await store.read("shared", start, page_limits());
        note();
        const auto own = (co_await store.keep("own", what, offline_limits())).id;
        if (!(mine.ids.insert(own).second)) mine.elsewhere = true;
        const bool removed = co_await store.acknowledge("own", own);
        if (!removed) mine.elsewhere = true;
        note();
      }
    };
    std::vector<found> all(threads);
    std::vector<std::thread> pool;
    for (auto& mine : all) {
      pool.emplace_back([&] {
        asio::io_context context{1};
        for (int i = 0; i < callers; ++i) {
          asio::co_spawn(context, work(*f.store, mine), [&](std::exception_ptr error) {
            if (error) mine.elsewhere = true;
          });
        }
        context.run();
      });
    }
    for (auto& each : pool) each.join();

    std::set<std::uint64_t> offsets;
    std::set<stored_id> ids;
    for (const auto& each : all) {
      CHECK(!each.elsewhere);
      offsets.insert(each.offsets.begin(), each.offsets.end());
      ids.insert(each.ids.begin(), each.ids.end());
    }
    constexpr std::size_t calls = threads * callers * rounds;
    CHECK(offsets.size() == calls);
    CHECK(*offsets.rbegin() == calls);
    CHECK(ids.size() == 2 * calls);
    CHECK(f.waiting("shared", 0, {.max_messages = 2 * calls}).size() == calls);
    CHECK(f.waiting("own").empty());
  }

  TEST_CASE(STORE_NAME ": behaves as a simple model does") {
    for (const auto seed : model_seeds()) {
      CAPTURE(seed);
      store_fixture f;
      run_model(f, seed, store_fixture::model_steps);
    }
  }
}

}  // namespace skein::test
