#include "sqlite_support.hpp"

#include <skein/sqlite.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <memory>
#include <string>

namespace skein::test {
namespace {

using store_fixture = sqlite_fixture;

/// Calls `step` until it says that it is done. Each call lets the worker do a slice of its sweep.
template <class Step>
void until(Step is_done) {
  for (int i = 0; i < 10'000; ++i) {
    if (is_done()) return;
  }
  FAIL("it does not happen");
}

}  // namespace
}  // namespace skein::test

#define STORE_NAME "sqlite"
#include "message_store_conformance.hpp"

namespace skein::test {

TEST_SUITE("sqlite_store") {
  TEST_CASE("everything is there after a restart") {
    sqlite_fixture f;
    const auto first = f.append("a", "1");
    const auto last = f.append("a", "2");
    const auto empty = f.position("b");
    const auto one = f.keep("u", "1").id;
    const auto two = f.keep("u", "2").id;
    f.acknowledge("u", one);
    const auto published_at = f.read("a", {}).publications.at(0).published_at;
    f.time->advance(1h);
    f.reopen();

    CHECK(f.store->health().available);
    CHECK(f.store->health().moved_aside.empty());
    CHECK(f.position("a") == last);
    CHECK(f.position("b") == empty);
    const auto page = f.read("a", first);
    CHECK(page.recovered);
    CHECK(texts(page) == strings{"2"});
    CHECK(f.read("a", {}).publications.at(0).published_at == published_at);
    CHECK(f.append("a", "3") == topic_position{first.epoch, 3});
    const auto waiting = f.waiting("u");
    REQUIRE(waiting.size() == 1);
    CHECK(waiting[0].id == two);
    CHECK(f.acknowledge("u", two));
    CHECK(f.events_so_far().empty());
  }

  TEST_CASE("what is stored is nobody else's to read") {
    sqlite_fixture f;
    f.keep("u", "1");
    std::size_t files = 0;
    for (const auto& each :
         std::filesystem::directory_iterator{std::filesystem::path{f.options.path}.parent_path()}) {
      if (!each.path().filename().string().starts_with(
              std::filesystem::path{f.options.path}.filename().string()))
        continue;
      ++files;
      CAPTURE(each.path());
      CHECK((each.status().permissions() & std::filesystem::perms::all) ==
            (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
    }
    CHECK(files >= 2);  // and its log
  }

  TEST_CASE("time goes on while the store is closed") {
    sqlite_fixture f;
    f.append("a", "1", {.max_age = 10s});
    f.keep("u", "1", {.expiry = 10s});
    f.close();
    f.time->advance(10s - 1ns);
    f.open();
    CHECK(f.history("a") == strings{"1"});
    CHECK(texts(f.waiting("u")) == strings{"1"});
    f.close();
    f.time->advance(1ns);
    f.open();
    CHECK(f.history("a").empty());
    CHECK(f.waiting("u").empty());
  }

  TEST_CASE("an id is not used again after a restart, whatever was removed") {
    sqlite_fixture f;
    const auto id = f.keep("u", "1").id;
    f.acknowledge("u", id);
    f.reopen();
    const auto next = f.keep("u", "1").id;
    CHECK(next > id);
  }

  TEST_CASE("a forgotten topic has a new epoch after a restart, too") {
    sqlite_fixture f;
    const auto before = f.append("a", "1");
    f.forget("a");
    f.reopen();
    CHECK(f.position("a").epoch != before.epoch);
    CHECK(f.history("a").empty());
  }

  TEST_CASE("calls that wait together share a commit, as many as it may hold") {
    sqlite_fixture f{[](auto& options) { options.max_batch = 10; }};
    asio::io_context context{1};
    int done = 0;
    const auto add = [&](const char* topic) {
      asio::co_spawn(context, f.store->append(topic, message::text("x"), {}),
                     [&](const std::exception_ptr& error, const topic_position&) { done += error ? 0 : 1; });
    };
    {
      auto other = f.look();
      other.run("BEGIN IMMEDIATE");
      add("first");
      testing::settle(context);
      f.wait_until_taken();  // it waits for the other program
      for (int i = 0; i < 21; ++i) add("more");
      testing::settle(context);
      CHECK(f.store->stats().queued == 21);
      other.run("COMMIT");
    }
    context.run();
    CHECK(done == 22);
    CHECK(f.store->stats().commits == 4);  // 1, 10, 10, 1
    CHECK(f.history("more").size() == 21);
  }

  TEST_CASE("the sweep removes what is over, from the file") {
    sqlite_fixture f{[](auto& options) { options.forget_idle_topics = 1h; }};
    for (int i = 0; i < 600; ++i) f.append("old", "1", {.max_messages = 1000, .max_age = 10s});
    for (int i = 0; i < 20; ++i) f.keep("u" + std::to_string(i), "1", {.expiry = 10s});
    f.append("kept", "1");
    const auto idle = f.append("idle", "1", {.max_messages = 0});
    f.keep("kept", "1");
    auto other = f.look();
    CHECK(other.run("SELECT count(*) FROM publications") == "601");
    CHECK(other.run("SELECT count(*) FROM offline") == "21");

    f.time->advance(1min);
    until([&] {
      (void)f.position("kept");
      return other.run("SELECT count(*) FROM offline") == "1";
    });
    CHECK(other.run("SELECT count(*) FROM publications") == "1");
    CHECK(other.run("SELECT count(*) FROM mailboxes") == "1");
    CHECK(f.store->stats().trimmed == 601);
    CHECK(f.store->stats().expired == 20);
    CHECK(f.store->stats().forgotten == 0);
    CHECK(f.position("old").offset == 600);

    f.time->advance(59min);
    until([&] {
      (void)f.position("kept");
      return f.store->stats().forgotten == 2;
    });
    CHECK(f.position("idle").epoch != idle.epoch);
    CHECK(f.position("old").offset == 0);
    CHECK(f.history("kept") == strings{"1"});
  }

  TEST_CASE("what a forgotten topic and a lower limit leave behind is swept away") {
    sqlite_fixture f;
    const history_limits many{.max_messages = 1000};
    for (int i = 0; i < 600; ++i) f.append("gone", "1", many);
    for (int i = 0; i < 600; ++i) f.append("small", "1", many);
    f.forget("gone");
    f.append("small", "2", {.max_messages = 1});
    CHECK(f.history("small") == strings{"2"});
    auto other = f.look();
    CHECK(other.run("SELECT count(*) FROM publications") == "945");  // 256 went at once
    f.time->advance(1min);
    until([&] {
      (void)f.position("small");
      return other.run("SELECT count(*) FROM publications") == "1";
    });
    until([&] {
      (void)f.position("small");
      return other.run("SELECT count(*) FROM forgotten") == "0";
    });
    CHECK(f.history("small") == strings{"2"});
  }

  TEST_CASE("the log is moved into the database before it grows large") {
    sqlite_fixture f;
    const std::string text(100'000, 'x');
    for (int i = 0; i < 300; ++i) f.append("a", text, {.max_messages = 3});
    CHECK(std::filesystem::file_size(f.options.path + "-wal") < 10'000'000);
    f.close();
    CHECK(f.directory.names() == strings{"store.db"});
  }

  TEST_CASE("two stores share a database") {
    sqlite_fixture f;
    const auto other = make_sqlite_store(f.options);
    const auto first = f.append("a", "1");
    CHECK(f.await(other->append("a", message::text("2"), {})) == topic_position{first.epoch, 2});
    CHECK(f.history("a") == strings{"1", "2"});
    const auto id = f.keep("u", "1").id;
    CHECK(f.await(other->keep("u", message::text("2"), {})).id > id);
  }

  TEST_CASE("options that are not allowed are refused by name") {
    sqlite_fixture f;
    const auto refused = [&](auto change) {
      auto options = f.options;
      change(options);
      CHECK_THROWS_AS((void)make_sqlite_store(options), std::invalid_argument);
    };
    refused([](auto& options) { options.path.clear(); });
    refused([](auto& options) { options.path.push_back('\0'); });
    refused([](auto& options) { options.max_queued = 0; });
    refused([](auto& options) { options.max_queued_bytes = 0; });
    refused([](auto& options) { options.max_batch = 0; });
    refused([](auto& options) { options.sweep_interval = 0ms; });
    refused([](auto& options) { options.sweep_interval = std::chrono::days{1} + 1ms; });
    auto smallest = f.options;
    smallest.path = f.directory.file("other.db");
    smallest.sweep_interval = 1ms;
    smallest.max_queued = 1;
    smallest.max_batch = 1;
    const auto store = make_sqlite_store(smallest);
    CHECK(f.await(store->append("a", message::text("1"), {})).offset == 1);
  }

  TEST_CASE("a database that cannot be opened says so") {
    sqlite_fixture f;
    auto options = f.options;
    options.path = f.directory.file("missing/store.db");
    CHECK(error_of([&] { (void)make_sqlite_store(options); }) == errc::store_unavailable);
    options.path = f.directory.file("");
    CHECK(error_of([&] { (void)make_sqlite_store(options); }) == errc::store_unavailable);
    options.path = ":memory:";
    CHECK(error_of([&] { (void)make_sqlite_store(options); }) == errc::store_unavailable);
  }
}

}  // namespace skein::test
