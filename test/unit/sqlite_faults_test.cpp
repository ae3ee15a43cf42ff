// What an SQLite store does when its queue is full, its callers go, or its disk fails.

#include "sqlite_support.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

namespace skein::test {
namespace {

using kind = sqlite_event::kind;

/// A store whose worker waits for another program, until that is released.
struct held_fixture : sqlite_fixture {
  using sqlite_fixture::sqlite_fixture;

  void hold() {
    other.emplace(options.path);
    other->run("BEGIN IMMEDIATE");
    begin("held", "1");
    testing::settle(context);
    wait_until_taken();
  }
  void release() {
    other->run("COMMIT");
    other.reset();
  }
  /// Begins an append; what became of it is in `ends`, in the order in which they end.
  void begin(const std::string& topic, const std::string& text) { begin_on(context, topic, text); }
  void begin_on(asio::io_context& where, const std::string& topic, const std::string& text,
                asio::cancellation_slot slot = {}) {
    auto ended = [this](const std::exception_ptr& error, const topic_position&) {
      ends.push_back(error_of([&] {
        if (error) std::rethrow_exception(error);
      }));
    };
    asio::co_spawn(where, store->append(topic, message::text(text), {}),
                   asio::bind_cancellation_slot(slot, std::move(ended)));
  }

  std::optional<other_program> other;
  asio::io_context context{1};
  std::vector<error_code> ends;
};

}  // namespace

TEST_SUITE("sqlite_store") {
  TEST_CASE("the queue holds as many calls as it may, and refuses the next") {
    held_fixture f{[](auto& options) { options.max_queued = 3; }};
    f.hold();
    f.begin("a", "1");
    f.begin("a", "2");
    f.begin("a", "3");
    testing::settle(f.context);
    CHECK(f.ends.empty());
    CHECK(f.store->stats().queued == 3);
    f.begin("a", "4");
    testing::settle(f.context);
    REQUIRE(f.ends.size() == 1);
    CHECK(f.ends[0] == errc::store_full);
    CHECK(f.store->stats().refused == 1);

    f.release();
    f.context.run();
    CHECK(f.ends.size() == 5);
    CHECK(f.history("a") == strings{"1", "2", "3"});
    CHECK(f.store->health().available);
  }

  TEST_CASE("the queue holds as many bytes as it may") {
    for (const std::size_t size : {743, 744, 745}) {
      CAPTURE(size);
      held_fixture f{[](auto& options) { options.max_queued_bytes = 2'000; }};
      f.hold();
      f.begin("a", std::string(744, 'x'));  // 256 more for each call
      f.begin("a", std::string(size, 'x'));
      testing::settle(f.context);
      CHECK(f.ends.size() == (size > 744 ? 1 : 0));
      f.release();
      f.context.run();
      CHECK(f.history("a").size() == (size > 744 ? 1 : 2));
    }
  }

  TEST_CASE("a read never sees what is not committed, not even in the same batch") {
    held_fixture f;
    f.append("a", "1");
    f.hold();
    f.begin("a", "2");
    std::size_t seen = 0;
    asio::co_spawn(
        f.context, f.store->read("a", topic_position(), page_limits()),
        [&](const std::exception_ptr&, const history_page& page) { seen = page.publications.size(); });
    testing::settle(f.context);
    CHECK(f.store->stats().queued == 2);
    f.release();
    f.context.run();
    CHECK(seen == 1);
    CHECK(f.history("a") == strings{"1", "2"});
  }

  TEST_CASE("a call that waits is withdrawn when it is cancelled; one that has begun is not") {
    held_fixture f;
    asio::cancellation_signal begun;
    asio::cancellation_signal waits;
    f.other.emplace(f.options.path);
    f.other->run("BEGIN IMMEDIATE");
    f.begin_on(f.context, "begun", "1", begun.slot());
    testing::settle(f.context);
    f.wait_until_taken();
    f.begin_on(f.context, "waits", "1", waits.slot());
    testing::settle(f.context);
    begun.emit(asio::cancellation_type::terminal);
    waits.emit(asio::cancellation_type::terminal);
    testing::settle(f.context);
    REQUIRE(f.ends.size() == 1);
    CHECK(f.ends[0] == asio::error::operation_aborted);

    f.release();
    f.context.run();
    REQUIRE(f.ends.size() == 2);
    CHECK(!f.ends[1]);
    CHECK(f.history("begun") == strings{"1"});
    CHECK(f.history("waits").empty());
  }

  TEST_CASE("a store that goes does what was asked for, and refuses what comes later") {
    held_fixture f;
    f.hold();
    for (int i = 0; i < 100; ++i) f.begin("a", std::to_string(i));
    testing::settle(f.context);
    auto late = f.store->append("a", message::text("late"), {});
    std::thread closer{[&] { f.close(); }};
    f.release();
    closer.join();
    f.context.run();
    CHECK(f.ends.size() == 101);
    for (const auto& each : f.ends) CHECK(!each);
    CHECK(error_of([&] { f.await(std::move(late)); }) == errc::store_unavailable);
    f.open();
    CHECK(f.history("a").size() == 100);
  }

  TEST_CASE("a caller whose context has ended is left alone") {
    held_fixture f;
    f.hold();
    auto gone = std::make_unique<asio::io_context>(1);
    f.begin_on(*gone, "a", "1");
    bool went_on = false;
    asio::co_spawn(asio::make_strand(*gone), f.store->append("a", message::text("2"), {}),
                   [&](const std::exception_ptr&, const topic_position&) { went_on = true; });
    testing::settle(*gone);
    gone.reset();
    f.release();
    f.context.run();
    CHECK(f.ends.size() == 1);  // of the one who is still there
    CHECK(!went_on);
    f.append("b", "behind them");  // nobody else tells when they are committed
    CHECK(f.history("a") == strings{"1", "2"});
  }

  TEST_CASE("contexts may end while their callers are on the way back") {
    sqlite_fixture f;
    std::atomic<int> ended{0};
    for (int round = 0; round < 50; ++round) {
      asio::thread_pool pool{2};
      for (int i = 0; i < 8; ++i) {
        asio::co_spawn(pool, f.store->append("a", message::text("x"), {}),
                       [&](const std::exception_ptr&, const topic_position&) { ++ended; });
      }
      if (round % 2 == 0) pool.stop();
      pool.join();
    }
    CHECK(ended >= 200);  // those of the pools that were not stopped
    CHECK(f.append("a", "last").offset <= 401);
  }

  TEST_CASE("a call that fails alone leaves nothing, and the others are kept") {
    held_fixture f;
    f.look().run(
        "CREATE TRIGGER poison BEFORE INSERT ON publications WHEN NEW.payload = CAST('poison' AS BLOB) "
        "BEGIN SELECT RAISE(ABORT, 'poison'); END");
    f.hold();
    f.begin("a", "1");
    f.begin("a", "poison");
    f.begin("b", "poison");
    f.begin("a", "2");
    testing::settle(f.context);
    f.release();
    f.context.run();
    REQUIRE(f.ends.size() == 5);
    CHECK(std::count(f.ends.begin(), f.ends.end(), make_error_code(errc::store_unavailable)) == 2);
    CHECK(f.store->stats().commits == 2);
    CHECK(f.store->stats().failed == 2);
    CHECK(f.store->stats().appends == 3);
    CHECK(f.store->health().available);
    CHECK(f.position("a").offset == 2);
    CHECK(f.history("a") == strings{"1", "2"});
    CHECK(f.look().run("SELECT count(*) FROM topics WHERE name = 'b'") == "0");
  }

  TEST_CASE("another program that does not let go makes the store unavailable, until it does") {
    sqlite_fixture f{[](auto& options) { options.busy_timeout = 0ms; }};
    {
      auto other = f.look();
      other.run("BEGIN IMMEDIATE");
      CHECK(error_of([&] { f.append("a", "1"); }) == errc::store_unavailable);
      CHECK(!f.store->health().available);
      CHECK(!f.store->health().problem.empty());
      other.run("COMMIT");
    }
    CHECK(f.append("a", "2").offset == 1);
    CHECK(f.store->health().available);
    CHECK(f.events_so_far() == std::vector{kind::unavailable, kind::available});
  }

  TEST_CASE("a full database fails the calls of its batch, loses nothing, and recovers when there is room") {
    sqlite_fixture f{[](auto& options) { options.max_bytes = 400'000; }};
    const std::string large(20'000, 'x');
    const offline_limits limits{.max_bytes = 0};
    std::vector<stored_id> ids;
    const auto error = error_of([&] {
      while (true) ids.push_back(f.keep("u", large, limits).id);
    });
    CHECK(error == errc::store_full);
    CHECK(ids.size() > 10);
    CHECK(!f.store->health().available);
    CHECK(f.store->stats().bytes <= 400'000);
    CHECK(f.waiting("u").size() == ids.size());
    CHECK(error_of([&] { f.append("a", large); }) == errc::store_full);
    CHECK(f.events_so_far() == std::vector{kind::unavailable});

    f.acknowledge("u", ids[0]);
    f.acknowledge("u", ids[1]);
    CHECK(f.keep("u", large, limits).id > ids.back());
    CHECK(f.waiting("u").size() == ids.size() - 1);
    CHECK(f.store->health().available);
    CHECK(f.events_so_far() == std::vector{kind::unavailable, kind::available});
    f.reopen();
    CHECK(f.waiting("u").size() == ids.size() - 1);
  }

  TEST_CASE("what makes room does not fail together with what needs it") {
    held_fixture f{[](auto& options) { options.max_bytes = 400'000; }};
    const std::string large(20'000, 'x');
    const offline_limits limits{.max_bytes = 0};
    const auto first = f.keep("u", large, limits).id;
    (void)error_of([&] {
      while (true) f.keep("u", large, limits);
    });
    f.hold();
    f.begin("a", large);
    bool acknowledged = false;
    asio::co_spawn(f.context, f.store->acknowledge("u", first),
                   [&](const std::exception_ptr&, bool done) { acknowledged = done; });
    testing::settle(f.context);
    f.release();
    f.context.run();
    REQUIRE(f.ends.size() == 2);
    CHECK(f.ends[1] == errc::store_full);
    CHECK(acknowledged);
  }

  TEST_CASE("the sweep finds out that a store is available again, if nobody else does") {
    sqlite_fixture f{[](auto& options) {
      options.busy_timeout = 0ms;
      options.sweep_interval = 1ms;
    }};
    {
      auto other = f.look();
      other.run("BEGIN IMMEDIATE");
      CHECK(error_of([&] { f.append("a", "1"); }) == errc::store_unavailable);
      other.run("COMMIT");
    }
    f.time->advance(1s);
    while (f.events_so_far().size() < 2) std::this_thread::yield();
    CHECK(f.events_so_far() == std::vector{kind::unavailable, kind::available});
    CHECK(f.store->health().available);
  }
}

}  // namespace skein::test
