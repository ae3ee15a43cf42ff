// The manager over connections in memory: everything between a handler and the transport, without a kernel.

#include "check.hpp"
#include "hub/hub.hpp"

#include <skein/manager.hpp>
#include <skein/testing.hpp>
#include <skein/topics.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <benchmark/benchmark.h>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace skein;
using micro::check;

asio::awaitable<void> ignore(connection& client) {
  for (;;) {
    const auto got = co_await client.read();
    if (!got) break;
  }
}

asio::awaitable<void> echo(connection& client) {
  while (auto got = co_await client.read()) co_await client.write(std::move(*got));
}

/// A manager with one shard on a context that the measurement runs.
struct memory_hub {
  explicit memory_hub(std::size_t connections, const handler& what = ignore) : hub(make(connections + 1)) {
    for (std::size_t i = 0; i < connections; ++i) peers.push_back(testing::connect(*hub, what));
    turn();
  }
  ~memory_hub() {
    peers.clear();
    turn();
  }
  std::shared_ptr<manager> make(std::size_t limit) {
    manager_options options;
    options.shards = 1;
    options.time = std::make_shared<testing::virtual_clock>();
    options.max_connections = limit;
    return make_manager(context.get_executor(), std::move(options));
  }
  /// Runs what is ready, until nothing is.
  void turn() {
    context.restart();
    context.poll();
  }

  asio::io_context context{1};
  std::shared_ptr<manager> hub;
  std::vector<std::unique_ptr<testing::memory_peer>> peers;
};

/// The peers take what has arrived, while the clock stands still.
void take(benchmark::State& state, memory_hub& f, std::size_t bytes_each) {
  state.PauseTiming();
  for (const auto& peer : f.peers) check(peer->received_bytes().size() == bytes_each, "everybody got a copy");
  state.ResumeTiming();
}

void broadcast(benchmark::State& state) {
  memory_hub f{static_cast<std::size_t>(state.range(0))};
  const prepared_message what{message::text(std::string(128, 'x'))};
  for (auto _ : state) {
    f.hub->post_broadcast(what);
    f.turn();
    take(state, f, 4 + what.size());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(broadcast)->Name("hub/broadcast")->ArgName("connections")->Arg(100)->Arg(1000);

void broadcast_awaited(benchmark::State& state) {
  const auto connections = static_cast<std::size_t>(state.range(0));
  memory_hub f{connections};
  const prepared_message what{message::text(std::string(128, 'x'))};
  for (auto _ : state) {
    std::optional<delivery_report> report;
    asio::co_spawn(f.context, f.hub->broadcast(what),
                   [&report](const std::exception_ptr&, delivery_report got) { report = got; });
    f.turn();
    check(report && report->written == connections && report->balanced(), "the report knows every outcome");
    take(state, f, 4 + what.size());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(broadcast_awaited)->Name("hub/broadcast_awaited")->ArgName("connections")->Arg(100)->Arg(1000);

/// As a broadcast to as many, but there are ten times as many connections, and each follows ten topics of its
/// own.
void publish(benchmark::State& state) {
  const auto followers = static_cast<std::size_t>(state.range(0));
  memory_hub f{10 * followers};
  const auto topics = make_topics(f.hub);
  const auto subscribe = [&](std::size_t peer, std::string pattern) {
    asio::co_spawn(
        f.context, topics->subscribe(*f.peers[peer]->other_end(), std::move(pattern)),
        [](const std::exception_ptr&, subscribed answer) { check(answer == subscribed::yes, "yes"); });
  };
  for (std::size_t i = 0; i < f.peers.size(); ++i) {
    for (int own = 0; own < 10; ++own) subscribe(i, "own." + std::to_string(i) + '.' + std::to_string(own));
    if (i % 10 == 0) subscribe(i, "market.AAPL");
  }
  f.turn();
  const prepared_message what{message::text(std::string(128, 'x'))};
  for (auto _ : state) {
    topics->post_publish("market.AAPL", what);
    f.turn();
    state.PauseTiming();
    for (std::size_t i = 0; i < f.peers.size(); i += 10) {
      check(f.peers[i]->received_bytes().size() == 4 + what.size(), "every follower got a copy");
    }
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(publish)->Name("hub/publish")->ArgName("followers")->Arg(100)->Arg(1000);

/// Every connection echoes one message in each turn.
void echo_turn(benchmark::State& state) {
  memory_hub f{100, echo};
  const std::string payload(static_cast<std::size_t>(state.range(0)), 'x');
  const auto frame = micro::client_frame(opcode::text, payload);
  const auto give = [&] {
    for (const auto& peer : f.peers) peer->send_bytes(frame);
  };
  give();
  for (auto _ : state) {
    f.turn();
    state.PauseTiming();
    for (const auto& peer : f.peers) {
      check(peer->received_bytes().ends_with(payload), "what was said came back");
    }
    give();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * 100);
  state.SetBytesProcessed(state.iterations() * 100 * state.range(0));
}
BENCHMARK(echo_turn)->Name("hub/echo")->ArgName("size")->Arg(64)->Arg(16384);

/// From the handshake to the end of the last coroutine, beside other connections.
void open_and_end(benchmark::State& state) {
  memory_hub f{1000};
  for (auto _ : state) {
    auto peer = testing::connect(*f.hub, ignore);
    f.turn();
    peer.reset();
    f.turn();
  }
  check(f.hub->stats().active == 1000 &&
            f.hub->stats().closed == static_cast<std::uint64_t>(state.iterations()),
        "what was opened has ended");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(open_and_end)->Name("hub/open_and_end");

void find(benchmark::State& state) {
  memory_hub f{static_cast<std::size_t>(state.range(0))};
  auto& shard = *dynamic_cast<skein::detail::hub&>(*f.hub).shards().front();
  std::vector<connection_id> ids;
  std::minstd_rand random{1};
  for (std::size_t i = 0; i < 4096; ++i) ids.push_back(f.peers[random() % f.peers.size()]->other_end()->id());
  std::size_t at = 0;
  for (auto _ : state) {
    const auto id = ids[at++ % ids.size()];
    const auto* const found = shard.find(id);
    check(found != nullptr, "who is registered is found");
    benchmark::DoNotOptimize(found);
  }
  check(shard.find(0) == nullptr, "nobody has the id 0");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(find)->Name("hub/find")->ArgName("connections")->Arg(100)->Arg(5000);

}  // namespace
