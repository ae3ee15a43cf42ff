// Databases that are damaged, older, newer, or somebody else's.

#include "sqlite_support.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace skein::test {
namespace {

namespace fs = std::filesystem;
using kind = sqlite_event::kind;

std::string contents(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

void write(const std::string& path, const std::string& bytes) {
  std::ofstream out{path, std::ios::binary | std::ios::trunc};
  out << bytes;
}

/// A closed store with a history of `count` publications and as many offline messages.
struct filled_fixture : sqlite_fixture {
  explicit filled_fixture(int count = 200) {
    for (int i = 0; i < count; ++i) {
      append("a", std::string(100, 'x') + std::to_string(i), {.max_messages = 1'000});
      keep("u", std::string(100, 'x') + std::to_string(i));
    }
    before = position("a");
    last_id = waiting("u").back().id;
    close();
  }

  void check_begins_anew() {
    time->advance(1min);
    open();
    const auto moved = store->health().moved_aside;
    CHECK(moved == options.path + ".corrupt-20300101T000100Z");
    CHECK(fs::exists(moved));
    CHECK(store->health().available);
    CHECK(events_so_far() == std::vector{kind::moved_aside});
    CHECK(events.back().text == moved);
    CHECK(position("a").epoch != before.epoch);
    CHECK(history("a").empty());
    CHECK(keep("u", "1").id > last_id);
    CHECK(append("a", "1").offset == 1);
    reopen();
    CHECK(store->health().moved_aside.empty());
    CHECK(history("a") == strings{"1"});
  }

  topic_position before;
  stored_id last_id = 0;
};

// The schema as it was in version 1.
constexpr auto version_1 = R"(
  CREATE TABLE topics (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, bytes INTEGER NOT NULL,
    max_age INTEGER NOT NULL, last_at INTEGER NOT NULL) STRICT;
  CREATE TABLE publications (
    topic INTEGER NOT NULL, position INTEGER NOT NULL, published_at INTEGER NOT NULL,
    opcode INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (topic, position)) STRICT, WITHOUT ROWID;
  CREATE TABLE forgotten (topic INTEGER PRIMARY KEY) STRICT;
  INSERT INTO topics VALUES (1, 'a', 'an epoch', 1, 2, 2, 0, 1000);
  INSERT INTO publications VALUES (1, 1, 1000, 1, x'31'), (1, 2, 1000, 2, x'32');
  PRAGMA application_id = 0x536b6569;
  PRAGMA user_version = 1)";

}  // namespace

TEST_SUITE("sqlite_store") {
  TEST_CASE("a file that is no database is moved aside") {
    filled_fixture f;
    write(f.options.path, std::string(10'000, '?'));
    f.check_begins_anew();
  }

  TEST_CASE("a database that was cut off is moved aside") {
    filled_fixture f;
    const auto whole = contents(f.options.path);
    write(f.options.path, whole.substr(0, whole.size() / 2));
    f.check_begins_anew();
  }

  TEST_CASE("a database with a page of rubbish is moved aside") {
    filled_fixture f;
    auto bytes = contents(f.options.path);
    REQUIRE(bytes.size() > 8 * 4'096);
    bytes.replace(bytes.size() - 4'096, 4'096, 4'096, '\xa5');
    bytes.replace(6 * 4'096, 4'096, 4'096, '\xa5');
    write(f.options.path, bytes);
    f.check_begins_anew();
  }

  TEST_CASE("what belongs to a damaged database is moved aside with it") {
    filled_fixture f;
    write(f.options.path, std::string(10'000, '?'));
    write(f.options.path + "-wal", "a log");
    f.check_begins_anew();
    CHECK(contents(f.options.path + ".corrupt-20300101T000100Z-wal") == "a log");
  }

  TEST_CASE("two databases that are moved aside in the same second keep their names") {
    sqlite_fixture f;
    for (const auto* const text : {"one", "two", "three"}) {
      f.close();
      write(f.options.path, std::string(10'000, '?') + text);
      f.open();
    }
    const auto name = f.options.path + ".corrupt-20300101T000000Z";
    CHECK(contents(name).ends_with("one"));
    CHECK(contents(name + "-2").ends_with("two"));
    CHECK(contents(name + "-3").ends_with("three"));
  }

  TEST_CASE("an empty file becomes a database") {
    sqlite_fixture f;
    f.close();
    write(f.options.path, "");
    f.open();
    CHECK(f.store->health().moved_aside.empty());
    CHECK(f.append("a", "1").offset == 1);
  }

  TEST_CASE("a torn log loses at most what stands behind the tear") {
    sqlite_fixture f;
    for (int i = 1; i <= 20; ++i) f.append("a", std::to_string(i));
    const auto copy = f.directory.file("copy.db");
    const auto log = contents(f.options.path + "-wal");
    const auto database = contents(f.options.path);
    std::size_t most = 0;
    auto reopen = [&](const std::string& torn) {
      for (const auto& each : {copy, copy + "-wal", copy + "-shm"}) fs::remove(each);
      write(copy, database);
      write(copy + "-wal", torn);
      store_caller g;
      auto options = f.options;
      options.path = copy;
      g.store = make_sqlite_store(options);
      const auto got = g.history("a");
      for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == std::to_string(i + 1));
      if (!got.empty()) CHECK(g.append("a", "next").offset == got.size() + 1);
      CHECK(other_program{copy}.run("PRAGMA integrity_check") == "ok");
      most = std::max(most, got.size());
      return got.size();
    };
    CHECK(reopen(log) == 20);
    for (std::size_t part = 0; part < 16; ++part) {
      const auto at = log.size() * part / 16 + part;
      CAPTURE(at);
      reopen(log.substr(0, at));
      auto bent = log;
      bent[at] = static_cast<char>(~bent[at]);
      reopen(bent);
    }
    CHECK(most == 20);
  }

  TEST_CASE("a database of an older version is brought up to date, with what it holds") {
    sqlite_fixture f;
    f.close();
    for (const auto& each : f.directory.names()) fs::remove(f.directory.file(each));
    f.look().run(version_1);
    f.open();
    CHECK(f.look().run("PRAGMA user_version") == "3");
    CHECK(f.position("a") == topic_position{"an epoch", 2});
    CHECK(f.history("a") == strings{"1", "2"});
    CHECK(f.append("a", "3").offset == 3);
    CHECK(f.keep("u", "1").id > 0);
    CHECK(f.events_so_far().empty());
  }

  TEST_CASE("a database of a newer version is refused and left as it is") {
    sqlite_fixture f;
    f.append("a", "1");
    f.close();
    f.look().run("PRAGMA user_version = 4");
    const auto before = contents(f.options.path);
    CHECK(error_of([&] { f.open(); }) == errc::store_incompatible);
    CHECK(contents(f.options.path) == before);
    CHECK(f.directory.names() == strings{"store.db"});
    f.look().run("PRAGMA user_version = 3");
    f.open();
    CHECK(f.history("a") == strings{"1"});
  }

  TEST_CASE("another program's database is refused and left as it is") {
    sqlite_fixture f;
    f.close();
    for (const auto* const theirs : {"CREATE TABLE notes (text)", "PRAGMA user_version = 1",
                                     "CREATE TABLE t (x); PRAGMA application_id = 5"}) {
      CAPTURE(theirs);
      for (const auto& each : f.directory.names()) fs::remove(f.directory.file(each));
      f.look().run(theirs);
      const auto before = contents(f.options.path);
      CHECK(error_of([&] { f.open(); }) == errc::store_incompatible);
      CHECK(contents(f.options.path) == before);
    }
  }
}

}  // namespace skein::test
