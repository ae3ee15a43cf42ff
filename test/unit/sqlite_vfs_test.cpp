// What an SQLite store does when its disk fails, wherever that happens.

#include "failing_vfs.hpp"
#include "sqlite_support.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <utility>

namespace skein::test {
namespace {

using kind = sqlite_event::kind;

/// What a store has confirmed.
struct confirmed {
  strings history;
  std::map<stored_id, std::string> waiting;
  std::uint64_t failures = 0;
};

/// A few calls of each kind; what fails is left out.
void use(const sqlite_fixture& f, confirmed& all) {
  const auto attempt = [&](auto call) {
    const auto error = error_of(call);
    if (!error) return true;
    CHECK((error == errc::store_unavailable || error == errc::store_full));
    ++all.failures;
    return false;
  };
  for (int i = 0; i < 4; ++i) {
    const auto text = std::to_string(i) + std::string(3'000, 'x');
    topic_position at;
    if (attempt([&] { at = f.append("a", text); })) {
      all.history.push_back(text);
      CHECK(at.offset == all.history.size());
    }
    kept_message kept;
    if (attempt([&] { kept = f.keep("u", text); })) {
      if (!all.waiting.empty()) CHECK(kept.id > all.waiting.rbegin()->first);
      all.waiting.emplace(kept.id, text);
    }
    if (i % 2 == 0 || all.waiting.empty()) continue;
    const auto id = all.waiting.begin()->first;
    bool removed = false;
    if (attempt([&] { removed = f.acknowledge("u", id); })) {
      CHECK(removed);
      all.waiting.erase(id);
    }
  }
}

void check(const sqlite_fixture& f, const confirmed& all) {
  CHECK(f.history("a") == all.history);
  strings waiting;
  for (const auto& each : all.waiting) waiting.push_back(each.second);
  CHECK(texts(f.waiting("u")) == waiting);
}

}  // namespace

TEST_SUITE("sqlite_store") {
  TEST_CASE("whichever write or flush fails, what was confirmed stays and nothing else comes") {
    failing_vfs disk;
    std::uint64_t failed_calls = 0;
    for (const int code : {SQLITE_IOERR_WRITE, SQLITE_FULL}) {
      std::uint64_t failed = 1;
      for (std::uint64_t after = 0; failed != 0; ++after) {
        CAPTURE(code);
        CAPTURE(after);
        sqlite_fixture f;
        confirmed all;
        use(f, all);
        REQUIRE(all.failures == 0);
        disk.fail({.code = code, .after = after, .times = 1 + after % 3, .is_half_done = after % 2 == 0});
        use(f, all);
        failed = disk.heal();
        CHECK((failed == 0) == (all.failures == 0));
        failed_calls += std::exchange(all.failures, 0);
        use(f, all);
        CHECK(all.failures == 0);
        CHECK(f.store->health().available);
        check(f, all);
        f.reopen();
        check(f, all);
        CHECK(f.store->health().moved_aside.empty());
        CHECK(f.look().run("PRAGMA integrity_check") == "ok");
      }
    }
    CHECK(failed_calls > 100);
  }

  TEST_CASE("a disk that fails while a database is opened or closed does not make it a damaged one") {
    failing_vfs disk;
    std::uint64_t refused = 0;
    for (const int code : {SQLITE_IOERR_WRITE, SQLITE_FULL}) {
      std::uint64_t failed = 1;
      for (std::uint64_t after = 0; failed != 0; ++after) {
        CAPTURE(code);
        CAPTURE(after);
        sqlite_fixture f;
        confirmed all;
        use(f, all);
        disk.fail({.code = code, .after = after, .times = 1 + after % 3, .when_reading = true});
        f.close();
        const auto error = error_of([&] { f.open(); });
        failed = disk.heal();
        if (error) {
          CHECK((error == errc::store_unavailable || error == errc::store_full));
          ++refused;
          f.open();
        }
        CHECK(f.store->health().moved_aside.empty());
        CHECK(f.events_so_far().empty());
        check(f, all);
        use(f, all);
        CHECK(all.failures == 0);
        check(f, all);
      }
    }
    CHECK(refused > 10);
  }

  TEST_CASE("a log that cannot be emptied stops nobody, and is reported") {
    failing_vfs disk;
    sqlite_fixture f;
    const std::string text(100'000, 'x');
    const history_limits limits{.max_messages = 3};
    disk.fail(
        {.code = SQLITE_IOERR_WRITE, .after = 0, .times = 1'000'000, .where = failing_vfs::part::database});
    for (int i = 0; i < 60; ++i) f.append("a", text, limits);
    CHECK(disk.heal() > 0);
    CHECK(f.store->health().available);
    CHECK(!f.store->health().problem.empty());
    CHECK(f.store->stats().failed == 0);
    for (int i = 0; i < 60; ++i) f.append("a", text, limits);
    CHECK(f.store->health().available);
    CHECK(f.store->health().problem.empty());
    f.reopen();
    CHECK(f.position("a").offset == 120);
    CHECK(f.history("a").size() == 3);
  }

  TEST_CASE("a read that the disk fails says so, and the next one is answered") {
    failing_vfs disk;
    sqlite_fixture f;
    for (int i = 0; i < 100; ++i)
      f.append("a", std::string(50'000, 'x'), {.max_bytes = 0});  // more than the cache
    const auto at = f.position("a");
    disk.fail({.code = SQLITE_IOERR_READ, .after = 0, .times = 1'000'000, .when_reading = true});
    CHECK(error_of([&] { (void)f.read("a", {at.epoch, 0}, {.max_bytes = 0}); }) == errc::store_unavailable);
    CHECK(disk.heal() > 0);
    CHECK(f.history("a").size() == 100);
    CHECK(f.append("a", "next").offset == 101);
    CHECK(f.store->health().available);
  }
}

}  // namespace skein::test
