// The send channel of one connection: in, out, and a newer message in the place of an older one.

#include "check.hpp"
#include "connection/send_channel.hpp"

#include <skein/message.hpp>

#include <array>
#include <benchmark/benchmark.h>
#include <cstdint>
#include <string>
#include <vector>

namespace {

using namespace skein;
using namespace skein::detail;
using micro::check;

send_channel::item item_of(const prepared_message& what) {
  send_channel::item made;
  made.frame = frame_ref{what.block()};
  made.wire_size = static_cast<std::uint32_t>(what.block()->plain().size());
  return made;
}

/// What a turn does: messages come in, are gathered for one write, and are gone.
void turn(benchmark::State& state) {
  const auto count = static_cast<std::uint64_t>(state.range(0));
  const prepared_message what{message::text(std::string(static_cast<std::size_t>(state.range(1)), 'x'))};
  const auto wire = what.block()->plain().size();
  const channel_limits limits{1024, std::size_t{64} << 20U};
  send_channel channel{limits};
  std::array<iovec, 64> buffers;
  std::vector<char> scratch(32 * 1024);
  std::uint64_t written = 0;
  for (auto _ : state) {
    for (std::uint64_t i = 0; i < count; ++i) {
      auto item = item_of(what);
      check(channel.push(item) == send_channel::admission::queued, "there is room");
    }
    while (channel.anything_to_write()) {
      const auto used = channel.gather(buffers, 256 * 1024, scratch);
      std::size_t bytes = 0;
      for (std::size_t i = 0; i < used; ++i) bytes += buffers[i].iov_len;
      benchmark::DoNotOptimize(buffers);
      benchmark::ClobberMemory();
      channel.consume(bytes, [&](send_channel::item& done) { written += done.wire_size; });
    }
  }
  const auto messages = static_cast<std::uint64_t>(state.iterations()) * count;
  check(written == messages * wire, "every message went out");
  state.SetItemsProcessed(static_cast<std::int64_t>(messages));
}
BENCHMARK(turn)
    ->Name("send_channel/turn")
    ->ArgNames({"messages", "size"})
    ->Args({1, 128})
    ->Args({64, 128})
    ->Args({1, 16384})
    ->Args({64, 16384});

/// A consumer that does not read, and `keys` instruments whose newest quote replaces the one that waits.
void conflate(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  const prepared_message what{message::text(std::string(128, 'x'))};
  const channel_limits limits{1024, std::size_t{1} << 20U};
  send_channel channel{limits};
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < count; ++i) {
    keys.push_back("instrument-" + std::to_string(i));
    auto item = item_of(what);
    send_channel::item none;
    check(channel.push(item, keys.back(), none) == send_channel::admission::queued, "there is room");
  }
  std::size_t next = 0;
  for (auto _ : state) {
    auto item = item_of(what);
    send_channel::item old;
    check(channel.push(item, keys[next], old) == send_channel::admission::replaced && old.frame,
          "the newer message takes the place of the older one");
    next = next + 1 == count ? 0 : next + 1;
  }
  check(channel.size() == count, "there is one message for each key");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(conflate)->Name("send_channel/conflate")->ArgName("keys")->Arg(1)->Arg(64)->Arg(1000);

}  // namespace
