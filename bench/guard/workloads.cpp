#include "workloads.hpp"

#include <skein/manager.hpp>
#include <skein/testing.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <valgrind/callgrind.h>
#include <vector>

namespace skein::guard {
namespace {

// Buffers grow to their size and code is paged in first.
constexpr int warm_up_rounds = 4;

void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error{what};
}

/// While it lives, instructions are counted: what the library does, not what the peers do.
class counted {
 public:
  explicit counted(bool yes) : yes_(yes) {
    if (yes_) CALLGRIND_TOGGLE_COLLECT;
  }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() {
    if (yes_) CALLGRIND_TOGGLE_COLLECT;
  }

 private:
  bool yes_;
};

asio::awaitable<void> echo(connection& client) {
  while (auto got = co_await client.read()) co_await client.write(std::move(*got));
}

asio::awaitable<void> ignore(connection& client) {
  for (;;) {
    const auto got = co_await client.read();
    if (!got) break;
  }
}

struct memory_hub {
  memory_hub(engine reads, std::size_t connections, const handler& what) : hub(make(reads)) {
    for (std::size_t i = 0; i < connections; ++i) peers.push_back(testing::connect(*hub, what));
    turn();
  }
  ~memory_hub() {
    peers.clear();
    turn();
  }
  std::shared_ptr<manager> make(engine reads) {
    manager_options options;
    options.engine = reads;
    options.shards = 1;
    options.time = std::make_shared<testing::virtual_clock>();
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

/// Each connection gets one message in each round, and its handler sends it back.
std::uint64_t echo_of(engine reads, std::size_t size, std::size_t connections, int rounds) {
  memory_hub f{reads, connections, echo};
  const auto said = message::text(std::string(size, 'x'));
  for (int round = -warm_up_rounds; round < rounds; ++round) {
    for (const auto& peer : f.peers) peer->send(said);
    {
      const counted here{round >= 0};
      f.turn();
    }
    for (const auto& peer : f.peers) {
      require(peer->received() == std::vector{said}, "what was said did not come back");
    }
  }
  return connections * static_cast<std::uint64_t>(rounds);
}

std::uint64_t echo_small(engine reads) {
  return echo_of(reads, 64, 50, 40);
}
std::uint64_t echo_large(engine reads) {
  return echo_of(reads, 16 * 1024, 16, 20);
}

/// Each connection gets several messages at once, as a busy peer sends them.
std::uint64_t echo_burst(engine reads) {
  constexpr std::size_t burst = 16;
  constexpr std::size_t connections = 20;
  constexpr int rounds = 10;
  memory_hub f{reads, connections, echo};
  const auto said = message::text(std::string(64, 'x'));
  for (int round = -warm_up_rounds; round < rounds; ++round) {
    for (const auto& peer : f.peers) {
      for (std::size_t i = 0; i < burst; ++i) peer->send(said);
    }
    {
      const counted here{round >= 0};
      f.turn();
    }
    for (const auto& peer : f.peers) {
      require(peer->received() == std::vector(burst, said), "what was said did not come back");
    }
  }
  return burst * connections * rounds;
}

constexpr std::size_t audience = 1000;

std::uint64_t fan_out(engine reads) {
  constexpr int rounds = 10;
  memory_hub f{reads, audience, ignore};
  const auto news = message::text(std::string(128, 'x'));
  const prepared_message what{news};
  for (int round = -warm_up_rounds; round < rounds; ++round) {
    {
      const counted here{round >= 0};
      f.hub->post_broadcast(what);
      f.turn();
    }
    for (const auto& peer : f.peers) require(peer->received() == std::vector{news}, "somebody got no copy");
  }
  return audience * rounds;
}

std::uint64_t fan_out_awaited(engine reads) {
  constexpr int rounds = 10;
  memory_hub f{reads, audience, ignore};
  const auto news = message::text(std::string(128, 'x'));
  const prepared_message what{news};
  for (int round = -warm_up_rounds; round < rounds; ++round) {
    std::optional<delivery_report> report;
    {
      const counted here{round >= 0};
      asio::co_spawn(f.context, f.hub->broadcast(what),
                     [&report](const std::exception_ptr&, delivery_report got) { report = got; });
      f.turn();
    }
    require(report && report->written == audience && report->balanced(), "the report is wrong");
    for (const auto& peer : f.peers) require(peer->received() == std::vector{news}, "somebody got no copy");
  }
  return audience * rounds;
}

/// From the engine's handshake to the end of the last coroutine, with a closing handshake.
std::uint64_t open_and_close(engine reads) {
  constexpr int rounds = 200;
  memory_hub f{reads, 10, ignore};
  for (int round = -warm_up_rounds; round < rounds; ++round) {
    std::unique_ptr<testing::memory_peer> peer;
    {
      const counted here{round >= 0};
      peer = testing::connect(*f.hub, ignore);
      f.turn();
    }
    peer->send_close();
    {
      const counted here{round >= 0};
      f.turn();
    }
    static_cast<void>(peer->received());
    require(peer->close_received() == close_code::normal && peer->is_cut(), "the connection did not end");
  }
  require(f.hub->stats().active == 10, "a connection stayed");
  return rounds;
}

constexpr workload all[] = {
    {"echo", "64 B message read and sent back", echo_small},
    {"echo-burst", "64 B message of 16 at once", echo_burst},
    {"echo-16k", "16 KiB message read and sent back", echo_large},
    {"fanout", "copy of 128 B to one of 1,000", fan_out, false},
    {"fanout-awaited", "copy of 128 B, outcome awaited", fan_out_awaited, false},
    {"open-close", "connection opened and closed", open_and_close},
};

}  // namespace

std::span<const workload> workloads() {
  return all;
}

}  // namespace skein::guard
