// Who owns what, and in which order it ends: managers with threads, servers, HTTP sessions.

#include "test_server.hpp"

#include <skein/server.hpp>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <thread>
#include <utility>

using namespace skein::test;
using namespace std::chrono_literals;
namespace asio = boost::asio;

namespace {

skein::server_options on_any_port() {
  skein::server_options options;
  options.port = 0;
  return options;
}

/// Sets a promise when it is destroyed: kept by what belongs to a manager.
struct end_note {
  explicit end_note(std::promise<void>& told) : done(told) {}
  end_note(const end_note&) = delete;
  end_note& operator=(const end_note&) = delete;
  ~end_note() { done.set_value(); }
  std::promise<void>& done;
};

skein::manager_options noted(std::promise<void>& gone) {
  skein::manager_options options;
  options.engine = test_engine();
  options.shards = 2;
  options.on_problem = [note = std::make_shared<end_note>(gone)](std::string_view) {};
  return options;
}

template <class T>
bool comes(std::future<T>& what) {
  return what.wait_for(patience) == std::future_status::ready;
}

asio::awaitable<void> read_on(skein::connection& client) {
  for (;;) {
    const auto got = co_await client.read();
    if (!got) break;
  }
}

}  // namespace

TEST_SUITE("ownership") {
  TEST_CASE("the last owner of a manager may let go on one of its own threads") {
    std::promise<void> promise;
    auto gone = promise.get_future();
    auto hub = skein::make_manager(noted(promise));
    SUBCASE("in a route of a server that has gone") {
      {
        skein::server serving{hub, on_any_port()};
        serving.route("/", [hub](skein::connection& who) { return read_on(who); });
        serving.start();
      }
      hub.reset();
    }
    SUBCASE("in a handler") {
      std::promise<void> known;
      auto runs = known.get_future();
      {
        auto held = std::make_shared<std::shared_ptr<skein::manager>>(hub);
        skein::server serving{hub, on_any_port()};
        serving.route("/", [&known, held](skein::connection& who) -> asio::awaitable<void> {
          const auto mine = std::exchange(*held, nullptr);
          known.set_value();
          co_await read_on(who);
        });
        serving.start();
        raw_client client{serving.port()};
        REQUIRE(client.open("/").status == 101);
        REQUIRE(comes(runs));
        serving.stop();
        hub.reset();
        client.send(close_frame());
        CHECK(client.read_conclusion().code() == 1000);
      }
    }
    SUBCASE("in what somebody posted") {
      std::promise<asio::any_io_executor> known;
      auto executor = known.get_future();
      {
        skein::server serving{hub, on_any_port()};
        serving.route("/", [&known](skein::connection& who) -> asio::awaitable<void> {
          known.set_value(who.executor());
          co_await read_on(who);
        });
        serving.start();
        raw_client client{serving.port()};
        REQUIRE(client.open("/").status == 101);
        REQUIRE(comes(executor));
      }
      asio::post(executor.get(), [last = std::move(hub)]() mutable { last.reset(); });
    }
    CHECK(comes(gone));
  }

  TEST_CASE("a context that goes takes along the listener that waited for room among its sessions") {
    std::weak_ptr<int> left;
    std::optional<raw_client> peer;
    {
      asio::io_context context{1};
      skein::manager_options options;
      options.shards = 1;
      auto hub = skein::make_manager(context.get_executor(), options);
      auto where = on_any_port();
      where.max_handshakes = 1;
      auto held = std::make_shared<int>(1);
      left = held;
      {
        skein::server serving{hub, where};
        serving.route("/", [held = std::move(held)](skein::connection& who) { return read_on(who); });
        serving.start();
        peer.emplace(serving.port());
        while (hub->stats().handshaking == 0) context.run_one();
        context.poll();
      }
      hub.reset();
      CHECK(!left.expired());
    }
    CHECK(left.expired());
  }

  TEST_CASE("an HTTP session may outlive the manager, if that was embedded") {
    asio::io_context context{1};
    skein::manager_options options;
    options.shards = 1;
    auto hub = skein::make_manager(context.get_executor(), options);
    auto serving = std::make_unique<skein::server>(hub, on_any_port());
    serving->route("/", read_on);
    serving->add_standard_endpoints();
    serving->start();
    raw_client peer{serving->port()};
    while (hub->stats().handshaking == 0) context.run_one();
    // The session waits for the rest of this.
    std::string rest;
    SUBCASE("idle") {}
    SUBCASE("asking") {
      peer.send("GET /ws/stats HTTP/1.1\r\nHost: ");
      rest = "a\r\nConnection: close\r\n\r\n";
    }
    SUBCASE("upgrading") {
      const auto request = upgrade_request("/");
      peer.send(request.substr(0, 20));
      rest = request.substr(20);
    }
    context.run_for(20ms);
    bool drained = false;
    asio::co_spawn(context, hub->drain(1s),
                   [&drained](const std::exception_ptr&, const skein::drain_report&) { drained = true; });
    while (!drained) context.run_one();
    hub.reset();
    // The server holds the manager, and goes while the session stays: its socket is no longer idle.
    peer.send(rest);
    if (!rest.empty()) {
      while (!peer.readable_within(0ms)) context.run_one();
      CHECK(peer.read_answer().status == (rest.starts_with('a') ? 200 : 503));
    }
    serving.reset();
    context.run_for(2s);
    CHECK(peer.read_to_end() != stream_end::open);
  }

  TEST_CASE("what a user posts to a shard may throw whatever it likes") {
    std::promise<std::string> promise;
    auto told = promise.get_future();
    auto options = quiet_options();
    options.on_problem = [&promise](std::string_view line) { promise.set_value(std::string{line}); };
    std::promise<asio::any_io_executor> known;
    auto executor = known.get_future();
    test_server server{options, {}, [&known](skein::server& serving) {
                         serving.route("/", [&known](skein::connection& who) -> asio::awaitable<void> {
                           known.set_value(who.executor());
                           co_await read_on(who);
                         });
                       }};
    raw_client client{server.port()};
    REQUIRE(client.open("/").status == 101);
    REQUIRE(comes(executor));
    asio::post(executor.get(), [] { throw 42; });
    REQUIRE(comes(told));
    CHECK(told.get() == "an exception reached the shard: not a std::exception");
    CHECK(server.serves());
  }

  TEST_CASE("a connection that somebody keeps may be called while its manager ends, from any thread") {
    for (int round = 0; round < 20; ++round) {
      std::promise<std::shared_ptr<skein::connection>> known;
      auto kept = known.get_future();
      skein::manager_options options;
      options.shards = 2;
      auto hub = skein::make_manager(options);
      auto serving = std::make_unique<skein::server>(hub, on_any_port());
      serving->route("/", [&known](skein::connection& who) -> asio::awaitable<void> {
        known.set_value(who.shared_from_this());
        co_await read_on(who);
      });
      serving->start();
      raw_client client{serving->port()};
      REQUIRE(client.open("/").status == 101);
      REQUIRE(comes(kept));
      const auto connection = kept.get();
      std::atomic<bool> stop{false};
      std::atomic<bool> busy{false};
      std::thread posting{[&] {
        while (!stop) {
          connection->post_send(skein::message::text("x"), skein::delivery().drop());
          busy = true;
        }
        connection->post_close();
      }};
      // Each of these ends, with whatever outcome: the context below runs out of work.
      asio::io_context context{1};
      const auto send_on = [](std::shared_ptr<skein::connection> to,
                              const std::atomic<bool>& until) -> asio::awaitable<void> {
        while (!until) {
          skein::delivery how;
          how.until_written();
          co_await to->send(skein::message::text("y"), how);
        }
        co_await to->close(skein::close_code::normal, std::string());
      };
      const auto broadcast_on = [](skein::manager& to,
                                   const std::atomic<bool>& until) -> asio::awaitable<void> {
        while (!until) co_await to.broadcast(skein::message::text("z"));
      };
      std::exception_ptr error;
      const auto ended = [&error](const std::exception_ptr& why) { error = why; };
      asio::co_spawn(context, send_on(connection, stop), ended);
      std::atomic<bool> enough{false};
      asio::co_spawn(context, broadcast_on(*hub, enough), ended);
      std::thread awaiting{[&context] { context.run(); }};
      CHECK(eventually([&] { return busy.load(); }));
      enough = true;  // calls of the manager itself may not outlive it
      std::promise<void> done;
      auto last_broadcast = done.get_future();
      asio::post(context, [&done] { done.set_value(); });
      REQUIRE(comes(last_broadcast));
      serving.reset();
      hub.reset();
      stop = true;
      posting.join();
      awaiting.join();
      CHECK(!error);
      CHECK(!connection->is_open());
    }
  }

  TEST_CASE("a server may be stopped by several threads at once") {
    for (int round = 0; round < 20; ++round) {
      skein::server serving{skein::make_manager(quiet_options()), on_any_port()};
      serving.start();
      std::thread other{[&serving] { serving.stop(); }};
      serving.stop();
      other.join();
    }
  }
}
