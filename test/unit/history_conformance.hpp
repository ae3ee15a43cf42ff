#pragma once

// What every message store promises of the history of topics. Part of message_store_conformance.hpp.

#include "store_support.hpp"

#include <skein/message_store.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <string>

namespace skein::test {

TEST_SUITE("message_store") {
  TEST_CASE(STORE_NAME ": offsets count a topic's publications from 1, in an epoch of its own") {
    store_fixture f;
    const auto first = f.append("a", "1");
    CHECK(first.offset == 1);
    CHECK(!first.epoch.empty());
    CHECK(f.append("a", "2") == topic_position{first.epoch, 2});
    const auto other = f.append("b", "1");
    CHECK(other.offset == 1);
    CHECK(other.epoch != first.epoch);
    CHECK(f.position("a") == topic_position{first.epoch, 2});
    CHECK(f.history("a") == strings{"1", "2"});
  }

  TEST_CASE(STORE_NAME ": a history keeps as many publications as its limit, the latest") {
    store_fixture f;
    const history_limits limits{.max_messages = 3};
    f.append("a", "1", limits);
    f.append("a", "2", limits);
    CHECK(f.history("a") == strings{"1", "2"});
    f.append("a", "3", limits);
    CHECK(f.history("a") == strings{"1", "2", "3"});
    CHECK(f.append("a", "4", limits).offset == 4);
    CHECK(f.history("a") == strings{"2", "3", "4"});
    CHECK(f.store->stats().trimmed == 1);
  }

  TEST_CASE(STORE_NAME ": a history of no publications counts them") {
    store_fixture f;
    const history_limits limits{.max_messages = 0};
    const auto first = f.append("a", "1", limits);
    const auto second = f.append("a", "2", limits);
    CHECK(second.offset == 2);
    CHECK(f.history("a").empty());
    CHECK(f.read("a", second).recovered);
    CHECK(!f.read("a", first).recovered);
    CHECK(f.store->stats().trimmed == 2);
  }

  TEST_CASE(STORE_NAME ": a history keeps as many bytes as its limit") {
    store_fixture f;
    const history_limits limits{.max_bytes = 10};
    f.append("a", "12345", limits);
    f.append("a", "6789", limits);  // 9
    CHECK(f.history("a").size() == 2);
    f.append("a", "0", limits);  // 10
    CHECK(f.history("a").size() == 3);
    f.append("a", "x", limits);  // 11
    CHECK(f.history("a") == strings{"6789", "0", "x"});
  }

  TEST_CASE(STORE_NAME ": a publication that is too large alone leaves an empty history") {
    store_fixture f;
    const history_limits limits{.max_bytes = 10};
    f.append("a", "1", limits);
    f.append("a", std::string(9, 'x'), limits);
    CHECK(f.history("a").size() == 2);
    f.append("a", std::string(10, 'x'), limits);
    CHECK(f.history("a") == strings{std::string(10, 'x')});
    const auto before = f.position("a");
    const auto at = f.append("a", std::string(11, 'x'), limits);
    CHECK(at.offset == 4);
    CHECK(f.history("a").empty());
    CHECK(!f.read("a", before).recovered);
    CHECK(f.read("a", at).recovered);
    f.append("a", "5", limits);
    CHECK(f.history("a") == strings{"5"});
  }

  TEST_CASE(STORE_NAME ": a byte limit of 0 is none") {
    store_fixture f;
    const history_limits limits{.max_bytes = 0};
    f.append("a", std::string(2'000'000, 'x'), limits);
    f.append("a", "2", limits);
    CHECK(f.history("a").size() == 2);
  }

  TEST_CASE(STORE_NAME ": a publication is kept for less than its age") {
    store_fixture f;
    const history_limits limits{.max_age = 10s};
    const auto start = f.position("a");
    f.append("a", "1", limits);
    f.time->advance(1s);
    f.append("a", "2", limits);
    f.time->advance(9s - 1ns);
    CHECK(f.history("a") == strings{"1", "2"});
    CHECK(f.read("a", start).recovered);
    f.time->advance(1ns);
    CHECK(f.history("a") == strings{"2"});
    CHECK(!f.read("a", start).recovered);
    f.time->advance(1s);
    CHECK(f.history("a").empty());
    CHECK(f.position("a").offset == 2);
    CHECK(f.append("a", "3", limits).offset == 3);
    CHECK(f.history("a") == strings{"3"});
  }

  TEST_CASE(STORE_NAME ": no age, and the longest, keep a publication for ever") {
    store_fixture f;
    for (const auto age : {std::chrono::nanoseconds{0}, -1ns, std::chrono::nanoseconds::max()}) {
      CAPTURE(age.count());
      const auto topic = "topic" + std::to_string(age.count());
      f.append(topic, "1", history_limits{.max_age = age});
      f.time->advance(std::chrono::days{365});
      CHECK(f.history(topic) == strings{"1"});
    }
  }

  TEST_CASE(STORE_NAME ": the limits of the latest publication hold for all of a topic") {
    store_fixture f;
    for (int i = 1; i <= 10; ++i) f.append("a", std::to_string(i), history_limits{.max_messages = 20});
    f.append("a", "11", history_limits{.max_messages = 2});
    CHECK(f.history("a") == strings{"10", "11"});
    f.append("a", "12", history_limits{.max_messages = 3, .max_age = 1s});
    CHECK(f.history("a") == strings{"10", "11", "12"});
    f.time->advance(1s);
    f.append("a", "13", history_limits{});
    f.time->advance(1s);
    CHECK(f.history("a") == strings{"13"});
  }

  TEST_CASE(STORE_NAME ": a clock that is set back does not disorder a history") {
    store_fixture f;
    const auto now = f.time->wall_now();
    f.append("a", "1", history_limits{.max_age = 10s});
    f.time->set_wall(now - 1h);
    f.append("a", "2", history_limits{.max_age = 10s});
    const auto page = f.read("a", {});
    REQUIRE(page.publications.size() == 2);
    CHECK(page.publications[0].published_at == now);
    CHECK(page.publications[1].published_at == now);
    f.time->set_wall(now + 10s);
    CHECK(f.history("a").empty());
  }

  TEST_CASE(STORE_NAME ": a history is recovered from where nothing is missing") {
    store_fixture f;
    for (int i = 1; i <= 5; ++i) f.append("a", std::to_string(i), history_limits{.max_messages = 3});
    const auto epoch = f.position("a").epoch;  // 3, 4 and 5 are there
    const auto from = [&](std::uint64_t offset) { return f.read("a", {epoch, offset}); };

    CHECK(!from(1).recovered);
    CHECK(texts(from(1)) == strings{"3", "4", "5"});
    CHECK(from(2).recovered);
    CHECK(texts(from(2)) == strings{"3", "4", "5"});
    CHECK(from(3).recovered);
    CHECK(texts(from(3)) == strings{"4", "5"});
    CHECK(from(4).recovered);
    CHECK(from(5).recovered);
    CHECK(from(5).publications.empty());
    CHECK(!from(6).recovered);
    CHECK(texts(from(6)) == strings{"3", "4", "5"});
    CHECK(!from(std::numeric_limits<std::uint64_t>::max()).recovered);

    const auto elsewhere = f.read("a", {"another", 4});
    CHECK(!elsewhere.recovered);
    CHECK(texts(elsewhere) == strings{"3", "4", "5"});
    CHECK(elsewhere.current == topic_position{epoch, 5});
    CHECK(elsewhere.publications.front().offset == 3);
  }

  TEST_CASE(STORE_NAME ": a page holds as many publications as it may") {
    store_fixture f;
    for (const auto* const text : {"11", "22", "33"}) f.append("a", text);
    const auto epoch = f.position("a").epoch;
    const auto page = [&](std::size_t messages, std::size_t bytes) {
      return f.read("a", {epoch, 0}, {.max_messages = messages, .max_bytes = bytes});
    };
    CHECK(page(0, 0).publications.empty());
    CHECK(page(0, 0).more);
    CHECK(page(2, 0).publications.size() == 2);
    CHECK(page(2, 0).more);
    CHECK(page(3, 0).publications.size() == 3);
    CHECK(!page(3, 0).more);
    CHECK(page(4, 0).publications.size() == 3);
    CHECK(page(9, 1).publications.size() == 1);  // the first one always
    CHECK(page(9, 3).publications.size() == 1);
    CHECK(page(9, 4).publications.size() == 2);
    CHECK(page(9, 5).publications.size() == 2);
    CHECK(page(9, 5).more);
    CHECK(page(9, 6).publications.size() == 3);
    CHECK(!page(9, 6).more);
  }

  TEST_CASE(STORE_NAME ": pages make up the whole history") {
    store_fixture f;
    strings sent;
    for (int i = 0; i < 25; ++i) {
      sent.push_back(std::to_string(i));
      f.append("a", sent.back());
    }
    strings got;
    topic_position at{f.position("a").epoch, 0};
    for (bool more = true; more;) {
      const auto page = f.read("a", at, {.max_messages = 7});
      CHECK(page.recovered);
      for (const auto& each : texts(page)) got.push_back(each);
      at = page.next();
      more = page.more;
    }
    CHECK(got == sent);
    CHECK(at.offset == 25);
  }

  TEST_CASE(STORE_NAME ": who comes before the first publication misses none") {
    store_fixture f;
    const auto position = f.position("a");
    CHECK(position.offset == 0);
    CHECK(f.position("a") == position);
    CHECK(f.read("a", position).recovered);
    CHECK(f.append("a", "1") == topic_position{position.epoch, 1});
    CHECK(f.read("a", position).recovered);
    CHECK(texts(f.read("a", position)) == strings{"1"});

    const auto read = f.read("b", {});
    CHECK(!read.recovered);
    CHECK(!read.more);
    CHECK(f.position("b") == read.current);
  }

  TEST_CASE(STORE_NAME ": who only asks about topics leaves nothing behind") {
    store_fixture f;
    f.append("a", "1");
    const auto bytes = f.store->stats().bytes;
    const auto at = f.position("a");
    for (int i = 0; i < 300; ++i) {
      CHECK(f.position("no" + std::to_string(i)).offset == 0);
      CHECK(f.history("nor" + std::to_string(i)).empty());
    }
    CHECK(f.store->stats().bytes == bytes);
    CHECK(!f.forget("no1"));
    CHECK(f.position("a") == at);
    CHECK(f.position("no1").epoch != f.position("no2").epoch);
  }

  TEST_CASE(STORE_NAME ": a topic that was forgotten begins a new epoch") {
    store_fixture f;
    CHECK(!f.forget("a"));
    const auto before = f.append("a", "1");
    CHECK(f.forget("a"));
    CHECK(!f.forget("a"));
    const auto page = f.read("a", before);
    CHECK(!page.recovered);
    CHECK(page.publications.empty());
    CHECK(page.current.offset == 0);
    const auto after = f.append("a", "2");
    CHECK(after.offset == 1);
    CHECK(after.epoch != before.epoch);
    CHECK(f.history("a") == strings{"2"});
    CHECK(f.store->stats().forgotten == 1);
  }
}

}  // namespace skein::test
