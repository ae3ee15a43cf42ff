// How managers, shards and connections end, and what callbacks may do meanwhile.

#include "hub/broadcast.hpp"
#include "hub/hub.hpp"
#include "hub/shard.hpp"
#include "hub_fixture.hpp"
#include "testing/memory_transport.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>

using namespace hub_test;

namespace {

/// A connection but for its transport.
detail::connection_parts parts_of(detail::shard& where) {
  const request opening{"GET",
                        "/",
                        {{"Host", "localhost"},
                         {"Connection", "Upgrade"},
                         {"Upgrade", "websocket"},
                         {"Sec-WebSocket-Version", "13"},
                         {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}},
                        "memory"};
  detail::connection_parts parts;
  parts.runs = std::make_shared<const handler>(ignore);
  parts.engine = detail::accept_upgrade(opening, {}, where.engine(), where.engine_scratch()).engine;
  return parts;
}

/// A shard whose thread never runs, as one whose thread was halted in the middle of something.
struct halted_shard {
  halted_shard() {
    shared->options.on_closed = [this](connection& who, const close_reason&) { closed.push_back(who.id()); };
    shared->time = std::make_shared<testing::virtual_clock>();
    shard = detail::thread_shard::make(shared, 0);
  }
  std::shared_ptr<detail::connection_impl> open() {
    auto parts = parts_of(*shard);
    parts.transport = testing::detail::make_memory_transport(
        std::make_shared<testing::detail::memory_pipe>(shard->executor()));
    return shard->open("/", std::move(parts));
  }

  std::shared_ptr<detail::hub_shared> shared = std::make_shared<detail::hub_shared>();
  std::vector<connection_id> closed;
  std::shared_ptr<detail::thread_shard> shard;
};

}  // namespace

TEST_SUITE("ending") {
  TEST_CASE("what a halted shard can no longer end has its closed event and its outcome all the same") {
    halted_shard where;
    const auto kept = where.open();
    std::weak_ptr<connection> forgotten = where.open();
    asio::io_context context{1};
    const prepared_message what{text("x")};
    const auto total = std::make_shared<detail::broadcast_total>(1, context.get_executor());
    detail::broadcast_part::start(*where.shard, total, what.block(), delivery{}, time_point::max(), nullptr);
    CHECK(!total->report());
    where.shard->halt();
    where.shard->let_go(true);
    where.shard->release();
    CHECK(where.closed.size() == 2);
    REQUIRE(total->report());
    CHECK(total->report()->closed == 2);
    CHECK(where.shared->taken == 0);
    CHECK(!kept->is_open());
    CHECK(forgotten.expired());
    kept->post_send(text("nobody"), {});
    kept->post_close(close_code::normal, {});
    CHECK(kept->stats().queued_messages == 0);
  }

  TEST_CASE("a connection whose descriptor cannot be watched ends at once") {
    fixture f;
    const auto where = dynamic_cast<detail::hub&>(*f.hub).shards().front();
    asio::post(where->executor(), [&] {
      auto parts = parts_of(*where);
      // No descriptor for epoll: EPERM.
      parts.transport = detail::make_tcp_transport(::open("/dev/null", O_RDWR | O_CLOEXEC), where->poller());
      where->open("/", std::move(parts));
    });
    f.settle();
    REQUIRE(f.closed.size() == 1);
    CHECK(f.closed[0].reason.by == closed_by::transport);
    CHECK(f.hub->stats().active == 0);
  }

  TEST_CASE("a context that is destroyed without a shutdown leaves nothing behind") {
    std::weak_ptr<connection> left;
    std::unique_ptr<testing::memory_peer> peer;
    {
      asio::io_context context{1};
      manager_options options;
      options.shards = 1;
      const auto hub = make_manager(context.get_executor(), options);
      peer = testing::connect(*hub, echo);
      left = peer->other_end()->weak_from_this();
      testing::settle(context);
      peer->send(text("x"));
      testing::settle(context);
      CHECK(peer->received() == std::vector{text("x")});
      peer.reset();
    }
    CHECK(left.expired());
  }

  TEST_CASE("a callback may throw whatever it likes") {
    manager_options options;
    int opened = 0;
    std::vector<std::string> problems;
    asio::io_context context{1};
    options.shards = 1;
    options.on_open = [&opened](connection&) {
      if (++opened == 1) throw 42;
    };
    options.on_closed = [](connection&, const close_reason&) { throw 42; };
    options.on_problem = [&problems](std::string_view line) { problems.emplace_back(line); };
    const auto hub = make_manager(context.get_executor(), options);
    auto first = testing::connect(*hub, ignore);
    auto second = testing::connect(*hub, ignore);
    testing::settle(context);
    CHECK(problems.size() == 1);
    std::optional<delivery_report> report;
    const auto keep = [&report](const std::exception_ptr&, const delivery_report& r) { report = r; };
    asio::co_spawn(context, hub->broadcast(text("x")), keep);
    testing::settle(context);
    REQUIRE(report);
    CHECK(report->written == 2);
    delivery how;
    how.where([](const connection&) -> bool { throw 42; });
    asio::co_spawn(context, hub->broadcast(text("x"), how), keep);
    testing::settle(context);
    CHECK(report->matched == 0);
    CHECK(problems.size() == 3);
    first->cut();
    second->cut();
    testing::settle(context);
    CHECK(hub->stats().closed == 2);
    CHECK(problems.size() == 5);
  }

  TEST_CASE("on_open may close, and the deadline of that holds") {
    fixture f;
    manager_options options;
    options.shards = 1;
    options.time = f.time;
    options.on_open = [](connection& who) { who.post_close(close_code::policy_violation); };
    const auto hub = make_manager(f.context.get_executor(), options);
    auto peer = testing::connect(*hub, ignore);
    peer->answer_control(false);
    f.settle();
    CHECK(hub->stats().open == 0);
    CHECK(hub->stats().closing == 1);
    f.advance(5s - 1ns);
    CHECK(!peer->is_cut());
    f.advance(1ns);
    CHECK(peer->is_cut());
    CHECK(hub->stats().close_timeouts == 1);
    CHECK(hub->stats().open == 0);
    CHECK(hub->stats().closing == 0);
  }

  TEST_CASE("times without end are times without end") {
    constexpr auto ever = std::chrono::nanoseconds::max();
    manager_options options;
    options.limits.message_timeout = options.limits.ping_interval = options.limits.pong_timeout = ever;
    options.limits.write_timeout = options.limits.close_timeout = ever;
    fixture f{options};
    auto& peer = f.connect();
    peer.set_capacity(0);
    peer.send_bytes(std::string{"\x01\x80\0\0\0\0", 6});  // a message has begun
    f.settle();
    delivery how;
    how.deadline(ever);
    const auto report = f.start(f.hub->broadcast(text("x"), how));
    const auto client = peer.other_end();
    const auto sent = f.start(client->send(text("y"), delivery().until_written().deadline(ever)));
    f.advance(24h * 365);
    CHECK(!*report);
    CHECK(!*sent);
    client->post_close();
    f.advance(24h * 365);
    CHECK(!peer.is_cut());
    peer.set_capacity(1000);
    f.settle();
    REQUIRE(*report);
    CHECK((*report)->written == 1);
    const auto drained = f.start(f.hub->drain(ever));
    f.advance(24h * 365);
    CHECK(!*drained);
    peer.received();
    f.settle();
    CHECK(*drained);
  }

  TEST_CASE("who is cancelled while a broadcast is under way learns nothing of it, and it goes on") {
    fixture f;
    auto& slow = f.connect();
    slow.set_capacity(0);
    boost::system::error_code ended;
    asio::cancellation_signal cancel;
    asio::co_spawn(f.context, f.hub->broadcast(text("x")),
                   asio::bind_cancellation_slot(
                       cancel.slot(), [&ended](const std::exception_ptr& error, const delivery_report&) {
                         try {
                           if (error) std::rethrow_exception(error);
                         } catch (const boost::system::system_error& e) {
                           ended = e.code();
                         }
                       }));
    f.settle();
    CHECK(!ended);
    cancel.emit(asio::cancellation_type::terminal);
    f.settle();
    CHECK(ended == asio::error::operation_aborted);
    slow.set_capacity(1000);
    f.settle();
    CHECK(drink(f, slow) == std::vector{text("x")});
  }

  TEST_CASE("a slow shutdown is as slow as it was told to be") {
    manager_options options;
    options.drain_rate = 5;  // a second: one in twenty steps
    fixture f{options};
    for (int i = 0; i < 6; ++i) f.connect();
    const auto report = f.start(f.hub->drain(10s));
    const auto gone = [&f] { return 6 - f.hub->stats().open; };
    CHECK(gone() == 0);
    f.advance(190ms);
    CHECK(gone() == 1);
    f.advance(199ms);
    CHECK(gone() == 1);
    f.advance(1s);
    CHECK(gone() == 6);
    for (const auto& peer : f.peers) peer->received();
    f.settle();
    CHECK(*report);
  }
}
