// Crowds of senders and slow receivers.

#include "lifecycle.hpp"

#include <doctest/doctest.h>

using namespace skein::test;
using namespace std::chrono_literals;
using namespace std::string_literals;
using skein::close_code;
using skein::closed_by;
namespace asio = boost::asio;

TEST_SUITE("sending") {
  TEST_CASE("messages of many threads arrive whole and in each thread's order") {
    constexpr int threads = 6, each = 1'000;
    collector all;
    auto options = quiet_options();
    options.limits.send_queue_messages = threads * each;
    options.limits.send_queue_bytes = 64 << 20;
    options.on_open = all.on_open();
    test_server server{options, {}, route("/mute", read_until_the_end)};
    auto client = connected(server, "/mute");
    const auto connection = all.wait_for(0);
    std::vector<std::thread> senders;
    for (int t = 0; t < threads; ++t) {
      senders.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) {
          // Some so long that they need several writes.
          auto payload = std::to_string(t) + ' ' + std::to_string(i) + ' ' +
                         std::string(i % 100 == 0 ? 20'000 : 10, 'x');
          if (t % 3 == 0) {
            connection->post_send(text(std::move(payload)));
          } else if (t % 3 == 1) {
            server.manager().post_broadcast(text(std::move(payload)));
          } else {
            await(connection->write(text(std::move(payload))));
          }
        }
      });
    }
    std::vector<int> next(threads, 0);
    for (int i = 0; i < threads * each; ++i) {
      const auto got = client.read_message();
      REQUIRE(got);
      REQUIRE(got->opcode == op::text);
      const auto space = got->payload.find(' ');
      const auto sender = static_cast<std::size_t>(std::stoi(got->payload));
      REQUIRE(sender < next.size());
      REQUIRE(std::stoi(got->payload.substr(space + 1)) == next[sender]++);
      REQUIRE(got->payload.ends_with('x'));
    }
    for (auto& one : senders) one.join();
    CHECK(eventually([&] { return server.stats().messages_out == threads * each; }));
    client.close();
    check_settled(server);
  }

  TEST_CASE("a sender that waits for room is held back by a slow peer, and nothing is lost") {
    constexpr int messages = 300;
    auto options = quiet_options();
    options.limits.send_queue_messages = 4;
    options.limits.send_queue_bytes = 64 << 10;
    collector all;
    options.on_open = all.on_open();
    skein::server_options where;
    where.socket_write_buffer = 8'192;
    test_server server{options, where, route("/mute", read_until_the_end)};
    auto client = connected(server, "/mute", 8'192);
    const auto connection = all.wait_for(0);
    std::atomic<int> taken{0};
    std::thread sender{[&] {
      for (int i = 0; i < messages; ++i) {
        await(connection->send(text(std::to_string(i) + ' ' + std::string(10'000, 'x')),
                               skein::delivery().wait()));
        ++taken;
      }
    }};
    CHECK(eventually([&] { return server.stats().queued_messages >= 3; }));
    CHECK(taken < messages);
    for (int i = 0; i < messages; ++i) {
      const auto got = client.read_message();
      REQUIRE(got);
      REQUIRE(std::stoi(got->payload) == i);
    }
    sender.join();
    CHECK(server.stats().evictions == 0);
    client.close();
    check_settled(server);
  }

  TEST_CASE("a slow consumer is evicted with 4008, while others get everything") {
    constexpr int messages = 400;
    auto options = quiet_options();
    options.limits.send_queue_bytes = 128 << 10;
    options.limits.close_timeout = 20s;
    skein::server_options where;
    where.socket_write_buffer = 16'384;
    test_server server{options, where, route("/mute", read_until_the_end)};
    auto slow = connected(server, "/mute", 8'192);
    auto quick = connected(server, "/mute");
    skein::delivery_report sum;
    for (int i = 0; i < messages; ++i) {
      // Awaited until the quick one has it; the slow one is pending.
      const auto report = await(server.manager().broadcast(
          text(std::to_string(i) + ' ' + std::string(4'000, 'x')), skein::delivery().deadline(5ms)));
      REQUIRE(report.balanced());
      sum.matched += report.matched;
      sum.evicted += report.evicted;
      const auto got = quick.read_message();
      REQUIRE(got);
      REQUIRE(std::stoi(got->payload) == i);
    }
    CHECK(sum.evicted == 1);
    CHECK(server.stats().evictions == 1);
    CHECK(sum.matched > messages);
    CHECK(sum.matched < 2 * messages);
    // Waking up, it reads what was on its way, whole, and then why.
    int seen = 0;
    std::optional<frame> next;
    while ((next = slow.read_message()) && next->opcode == op::text)
      REQUIRE(std::stoi(next->payload) == seen++);
    REQUIRE(next);
    CHECK(next->opcode == op::close);
    CHECK(close_code_of(next->payload) == 4008);
    CHECK(seen < messages);
    slow.send(close_frame(4008));
    CHECK(slow.read_to_end() == stream_end::closed);
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.code == close_code::slow_consumer);
    CHECK(server.closed().front().reason.by == closed_by::local);
    quick.close();
    check_settled(server);
  }

  TEST_CASE("a full channel drops or conflates if it is told to, and everything is counted") {
    collector all;
    auto options = quiet_options();
    options.shards = 1;
    options.limits.send_queue_messages = 8;
    skein::server_options where;
    where.socket_write_buffer = 8'192;
    options.on_open = all.on_open();
    test_server server{options, where, route("/mute", read_until_the_end)};
    auto client = connected(server, "/mute", 8'192);
    const auto connection = all.wait_for(0);
    const auto send = [&](int i, const skein::delivery& how) {
      return await(connection->send(text(std::to_string(i) + ' ' + std::string(30'000, 'x')), how));
    };
    skein::delivery dropping, conflating;
    dropping.drop();
    conflating.conflate("price");
    int sent = 0, queued = 0;
    skein::outcome last{};
    for (; sent < 2'000; ++sent) {
      last = send(sent, dropping);
      if (last == skein::outcome::dropped) break;
      ++queued;
    }
    REQUIRE(last == skein::outcome::dropped);
    CHECK(send(++sent, dropping) == skein::outcome::dropped);
    CHECK(send(++sent, conflating) == skein::outcome::dropped);  // full, and nothing to replace
    CHECK(server.stats().dropped_overflow == 3);
    CHECK(connection->is_open());
    for (int i = 0; i < queued; ++i) {
      const auto got = client.read_message();
      REQUIRE(got);
      REQUIRE(std::stoi(got->payload) == i);
    }
    // A message is counted a little after the peer can have read it.
    REQUIRE(eventually([&] { return server.stats().messages_out == static_cast<std::uint64_t>(queued); }));
    // Now with messages that replace each other: the peer sees few of them, in order, and always the last.
    const auto before = server.stats();
    for (int i = 0; i < 200; ++i) REQUIRE(send(i, conflating) == skein::outcome::queued);
    int newest = -1, got = 0;
    while (newest < 199) {
      const auto next = client.read_message();
      REQUIRE(next);
      const auto value = std::stoi(next->payload);
      REQUIRE(value > newest);
      newest = value;
      ++got;
    }
    const auto after = server.stats();
    CHECK(after.dropped_conflated - before.dropped_conflated == static_cast<std::uint64_t>(200 - got));
    CHECK(eventually([&] {
      return server.stats().messages_out - before.messages_out == static_cast<std::uint64_t>(got);
    }));
    client.close();
    check_settled(server);
  }

  TEST_CASE("the report of a broadcast adds up, whoever stops reading or dies") {
    auto options = quiet_options();
    options.limits.send_queue_bytes = 64 << 10;
    skein::server_options where;
    where.socket_write_buffer = 8'192;
    test_server server{options, where, route("/mute", read_until_the_end)};
    std::vector<raw_client> readers, sleepers, doomed;
    for (int i = 0; i < 10; ++i) {
      readers.push_back(connected(server, "/mute"));
      sleepers.push_back(connected(server, "/mute", 8'192));
      doomed.push_back(connected(server, "/mute", 8'192));
    }
    std::atomic<bool> over{false};
    std::thread reading{[&] {
      while (!over) {
        for (auto& one : readers) one.take(1 << 20);
        skein::test::detail::pause_briefly();
      }
    }};
    skein::delivery_report sum;
    for (int i = 0; i < 60; ++i) {
      if (i >= 10 && i < 20) doomed[static_cast<std::size_t>(i - 10)].reset();
      skein::delivery how;
      how.deadline(20ms);
      if (i % 3 == 1) how.drop();
      if (i % 3 == 2) how.conflate("k");
      const auto report = await(server.manager().broadcast(text(std::string(20'000, 'x')), how));
      CAPTURE(i);
      CHECK(report.matched == report.written + report.dropped + report.closed + report.pending);
      CHECK(report.balanced());
      CHECK(report.conflated <= report.dropped);
      CHECK(report.evicted <= report.closed);
      CHECK(report.elapsed > 0ns);
      if (i == 0) CHECK(report.matched == 30);
      sum.evicted += report.evicted;
      sum.written += report.written;
      sum.pending += report.pending;
    }
    CHECK(sum.written >= 60 * 5);  // the readers', or nearly all of them
    CHECK(sum.evicted > 0);
    CHECK(sum.pending > 0);
    CHECK(server.stats().evictions == sum.evicted);
    over = true;
    reading.join();
    // To nobody.
    readers.clear();
    sleepers.clear();
    doomed.clear();
    REQUIRE(eventually([&] { return server.stats().active == 0; }));
    const auto empty = await(server.manager().broadcast(text("x"), {}));
    CHECK(empty.matched == 0);
    CHECK(empty.balanced());
    check_settled(server);
  }

  TEST_CASE("a broadcast reaches those that it is meant for") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options, {}, [](skein::server& one) {
                         one.route("/a", read_until_the_end);
                         one.route("/b", read_until_the_end);
                       }};
    std::vector<raw_client> clients;
    for (int i = 0; i < 6; ++i) clients.push_back(connected(server, i % 2 == 0 ? "/a" : "/b"));
    REQUIRE(eventually([&] { return all.all().size() == 6; }));
    // Connections are opened one after the other, so the first is the first client's.
    const auto first = all.wait_for(0)->id();
    const auto count = [&](const skein::delivery& how, const char* what) {
      const auto report = await(server.manager().broadcast(text(what), how));
      CHECK(report.written == report.matched);
      return report.matched;
    };
    CHECK(count({}, "everybody") == 6);
    CHECK(count(skein::delivery().on_route("/a"), "a") == 3);
    CHECK(count(skein::delivery().on_route("/nowhere"), "nobody") == 0);
    CHECK(count(skein::delivery().except(first), "not the first") == 5);
    CHECK(count(skein::delivery().where([](const skein::connection& who) { return who.route() == "/b"; }),
                "b") == 3);
    CHECK(count(skein::delivery().on_route("/a").except(first), "a, not the first") == 2);
    const std::vector<std::vector<std::string>> expected{
        {"everybody", "a"},
        {"everybody", "not the first", "b"},
        {"everybody", "a", "not the first", "a, not the first"}};
    for (std::size_t i = 0; i < expected.size(); ++i) {
      for (const auto& one : expected[i]) CHECK(clients[i].read_message()->payload == one);
    }
    CHECK(await(refuses(server.manager().broadcast({}, {}))));
    CHECK(await(refuses(server.manager().broadcast(text("x"), skein::delivery().wait()))));
  }

  TEST_CASE("a handler that does not read stops the peer, not the server") {
    std::atomic<bool> go{false};
    auto options = quiet_options();
    options.limits.receive_queue_messages = 4;
    options.limits.receive_queue_bytes = 32 << 10;
    skein::server_options where;
    where.socket_read_buffer = 16'384;
    const auto held_back = [](skein::connection& client, std::atomic<bool>& until) -> asio::awaitable<void> {
      asio::steady_timer timer{co_await asio::this_coro::executor};
      while (!until) {
        timer.expires_after(1ms);
        co_await timer.async_wait(asio::use_awaitable);
      }
      co_await echo(client);
    };
    test_server server{options, where,
                       route("/later", [&](skein::connection& who) { return held_back(who, go); })};
    auto client = connected(server, "/later");
    constexpr int messages = 1'000;
    std::thread sending{[&] {
      for (int i = 0; i < messages; ++i)
        client.send(text_frame(std::to_string(i) + ' ' + std::string(2'000, 'x')));
    }};
    REQUIRE(eventually([&] { return server.stats().messages_in >= 4; }));
    CHECK(server.serves());
    CHECK(server.stats().messages_in < 100);
    go = true;
    // Reading and sending share the client, but each has a direction of its own.
    for (int i = 0; i < messages; ++i) {
      const auto next = client.read_message();
      REQUIRE(next);
      REQUIRE(std::stoi(next->payload) == i);
    }
    sending.join();
    client.close();
    check_settled(server);
  }
}
