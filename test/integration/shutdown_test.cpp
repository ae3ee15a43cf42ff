// Peers that come and go, and the end of everything.

#include "lifecycle.hpp"

#include <doctest/doctest.h>

using namespace skein::test;
using namespace std::chrono_literals;
using namespace std::string_literals;
using skein::close_code;
using skein::closed_by;
namespace asio = boost::asio;

TEST_SUITE("churn") {
  TEST_CASE("peers that vanish at any stage leave nothing behind, and each has its one closed event") {
    auto options = quiet_options();
    options.limits.close_timeout = 500ms;
    skein::server_options where;
    where.handshake_timeout = 500ms;
    test_server server{options, where, [](skein::server& one) {
                         one.route("/mute", read_until_the_end);
                         one.route("/greeting", greet_and_return);
                         one.route("/throws", throw_at_once);
                       }};
    auto witness = connected(server);
    const auto request = upgrade_request("/echo");
    const std::vector<std::function<void(raw_client&)>> stages{
        [](raw_client&) {},
        [&](raw_client& c) { c.send(request.substr(0, 1)); },
        [&](raw_client& c) { c.send(request.substr(0, request.size() / 2)); },
        [&](raw_client& c) { c.send(request); },
        [&](raw_client& c) { c.send(request + text_frame("x")); },
        [](raw_client& c) { c.open(); },
        [](raw_client& c) {
          c.open();
          c.send("\x81");
        },
        [](raw_client& c) {
          c.open();
          c.send(text_frame("hello").substr(0, 4));
        },
        [](raw_client& c) {
          c.open();
          c.send(binary_frame(std::string(60'000, 'x')).substr(0, 30'000));
        },
        [](raw_client& c) {
          c.open();
          c.send(text_frame("half", false));
        },
        [](raw_client& c) {
          c.open();
          c.send(text_frame("x"));
          c.read_message();
        },
        [](raw_client& c) {
          c.open();
          c.send(repeated_text("y", 2'000));
        },
        [](raw_client& c) {
          c.open();
          c.send(close_frame());
        },
        [](raw_client& c) {
          c.open();
          c.send(close_frame());
          c.read_to_end();
        },
        [](raw_client& c) {
          c.open();
          c.send(text_frame("\xff"));
        },
        [](raw_client& c) {
          c.open();
          c.send(text_frame("\xff"));
          c.read_to_end();
        },
        [](raw_client& c) {
          c.open();
          c.send(ping_frame("p"));
        },
        [](raw_client& c) {
          c.open();
          c.finish_sending();
        },
        [](raw_client& c) {
          c.open();
          c.send(text_frame("x"));
          c.finish_sending();
        },
        [](raw_client& c) { c.open("/greeting"); },
        [](raw_client& c) {
          c.open("/greeting");
          c.read_frame();
        },
        [](raw_client& c) { c.open("/throws"); },
        [](raw_client& c) { c.open("/nowhere"); },
    };
    std::atomic<std::size_t> failures{0};
    std::vector<std::thread> pool;
    for (unsigned t = 0; t < 3; ++t) {
      pool.emplace_back([&, t] {
        for (unsigned round = 0; round < 8; ++round) {
          for (std::size_t i = 0; i < stages.size(); ++i) {
            try {
              raw_client client{server.port()};
              stages[(i + t * 7) % stages.size()](client);
              if ((round + i) % 3 != 0) {
                client.reset();
              } else {
                client.close();
              }
            } catch (const std::exception&) {
              ++failures;
            }
          }
        }
      });
    }
    // Meanwhile the others are served.
    for (int i = 0; i < 200; ++i) {
      witness.send(text_frame(std::to_string(i)));
      const auto echo_of_it = witness.read_message();
      REQUIRE(echo_of_it);
      REQUIRE(echo_of_it->payload == std::to_string(i));
    }
    for (auto& one : pool) one.join();
    CHECK(failures == 0);
    CHECK(server.serves());
    witness.close();
    check_settled(server);
    CHECK(server.stats().total > 3 * 8 * 15);
  }

  TEST_CASE("broadcasts while connections come and go") {
    test_server server{quiet_options(), {}, route("/mute", read_until_the_end)};
    std::atomic<bool> over{false};
    std::vector<std::thread> pool;
    for (unsigned t = 0; t < 2; ++t) {
      pool.emplace_back([&, t] {
        for (unsigned i = 0; !over; ++i) {
          raw_client client{server.port()};
          client.open("/mute");
          if (i % 2 == t) client.read_frame();
          if (i % 3 == 0) client.reset();
        }
      });
    }
    for (int i = 0; i < 500; ++i) {
      const auto report = await(server.manager().broadcast(text("tick"), {}));
      REQUIRE(report.balanced());
      REQUIRE(report.pending == 0);
    }
    over = true;
    // Nobody must wait for a message that does not come any more.
    std::atomic<bool> all_gone{false};
    std::thread ticking{[&] {
      while (!all_gone) {
        server.manager().post_broadcast(text("tick"));
        skein::test::detail::pause_briefly();
      }
    }};
    for (auto& one : pool) one.join();
    all_gone = true;
    ticking.join();
    check_settled(server);
  }
}

TEST_SUITE("drain") {
  TEST_CASE("a shutdown closes everybody with 1001, behind what was queued, and reports") {
    auto options = quiet_options();
    test_server server{options, {}, route("/mute", read_until_the_end)};
    std::vector<raw_client> clients;
    for (int i = 0; i < 30; ++i) clients.push_back(connected(server, i % 2 == 0 ? "/mute" : "/echo"));
    server.manager().post_broadcast(text("the last message"));
    auto draining = std::async(std::launch::async, [&] { return await(server.manager().drain(20s)); });
    for (auto& one : clients) {
      const auto last = one.read_message();
      REQUIRE(last);
      CHECK(last->payload == "the last message");
      const auto close = one.read_message();
      REQUIRE(close);
      CHECK(close->opcode == op::close);
      CHECK(close_code_of(close->payload) == 1001);
      one.send(close_frame(1001));
      CHECK(one.read_to_end() == stream_end::closed);
    }
    const auto report = draining.get();
    CHECK(report.clean == 30);
    CHECK(report.forced == 0);
    CHECK(report.undelivered == 0);
    CHECK(report.elapsed < 20s);
    for (const auto& one : server.closed()) CHECK(one.reason.code == close_code::going_away);
    check_settled(server);
  }

  TEST_CASE("those that do not answer are reset at the deadline, and counted") {
    auto options = quiet_options();
    options.limits.close_timeout = 60s;
    skein::server_options where;
    where.socket_write_buffer = 8'192;
    test_server server{options, where, route("/mute", read_until_the_end)};
    auto polite = connected(server, "/mute");
    auto mute = connected(server, "/mute");
    auto asleep = connected(server, "/mute", 8'192);
    // More than the sockets hold, so that it is never written to the one that sleeps.
    for (int i = 0; i < 3; ++i)
      server.manager().post_broadcast(skein::message::binary(std::string(300'000, 'x')));
    std::thread answering{[&] {
      std::optional<frame> next;
      while ((next = polite.read_message()) && next->opcode != op::close) {
      }
      polite.send(close_frame(1001));
      polite.read_to_end();
    }};
    std::thread reading{[&] { mute.read_to_end(); }};
    const auto begun = std::chrono::steady_clock::now();
    const auto report = await(server.manager().drain(500ms));
    CHECK(std::chrono::steady_clock::now() - begun < 5s);
    CHECK(report.clean == 1);
    CHECK(report.forced == 2);
    CHECK(report.undelivered >= 1);
    answering.join();
    reading.join();
    check_settled(server);
  }

  TEST_CASE("a handler that hangs is cancelled, and does not hold the shutdown up") {
    shared notes;
    const auto hang = [](skein::connection&, shared& where) -> asio::awaitable<void> {
      const running_guard guard{where};
      asio::steady_timer timer{co_await asio::this_coro::executor, 1h};
      co_await timer.async_wait(asio::use_awaitable);
    };
    test_server server{
        quiet_options(), {}, route("/hang", [&](skein::connection& who) { return hang(who, notes); })};
    auto client = connected(server, "/hang");
    auto draining = std::async(std::launch::async, [&] { return await(server.manager().drain(300ms)); });
    CHECK(close_code_of(client.read_message()->payload) == 1001);
    client.send(close_frame(1001));
    CHECK(client.read_to_end() != stream_end::open);
    const auto report = draining.get();
    CHECK(report.clean + report.forced == 1);
    CHECK(report.elapsed < 10s);
    CHECK(eventually([&] { return notes.running == 0; }));
    check_settled(server);
  }

  TEST_CASE("a second call waits for the same shutdown, and both get its report") {
    test_server server;
    auto client = connected(server);
    auto first = std::async(std::launch::async, [&] { return await(server.manager().drain(20s)); });
    CHECK(close_code_of(client.read_message()->payload) == 1001);
    auto second = std::async(std::launch::async, [&] { return await(server.manager().drain(20s)); });
    client.send(close_frame(1001));
    CHECK(client.read_to_end() == stream_end::closed);
    CHECK(first.get().clean == 1);
    CHECK(second.get().clean == 1);
    CHECK(await(server.manager().drain(1s)).clean == 1);
  }

  TEST_CASE("a shutdown keeps its pace") {
    auto options = quiet_options();
    options.shards = 1;
    options.drain_rate = 100;
    test_server server{options};
    std::vector<raw_client> clients;
    for (int i = 0; i < 30; ++i) clients.push_back(connected(server));
    auto draining = std::async(std::launch::async, [&] { return await(server.manager().drain(20s)); });
    for (auto& one : clients) {
      CHECK(close_code_of(one.read_message()->payload) == 1001);
      one.send(close_frame(1001));
      one.read_to_end();
    }
    const auto report = draining.get();
    CHECK(report.clean == 30);
    CHECK(report.elapsed >= 200ms);
  }

  TEST_CASE("destroying the manager resets what is open") {
    std::vector<raw_client> clients;
    {
      test_server server;
      for (int i = 0; i < 5; ++i) clients.push_back(connected(server));
    }
    for (auto& one : clients) CHECK(one.read_to_end() != stream_end::open);
  }
}
