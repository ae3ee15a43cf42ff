// Frames: a header, a message encoded for all, a message deflated for all.

#include "check.hpp"
#include "wire/deflate.hpp"
#include "wire/frame.hpp"
#include "wire/frame_block.hpp"

#include <skein/message.hpp>

#include <benchmark/benchmark.h>
#include <cstdint>
#include <string>

namespace {

using namespace skein;
using namespace skein::detail;
using micro::check;

void header(benchmark::State& state) {
  const auto size = static_cast<std::uint64_t>(state.range(0));
  std::uint64_t bytes = 0;
  for (auto _ : state) {
    auto asked = size;
    benchmark::DoNotOptimize(asked);
    const auto made = encode_header(opcode::text, asked);
    bytes += made.size;
    benchmark::DoNotOptimize(made);
  }
  check(bytes == static_cast<std::uint64_t>(state.iterations()) * encode_header(opcode::text, size).size,
        "every header has its size");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(header)->Name("frame/header")->Arg(64)->Arg(16384)->Arg(1 << 20);

/// From the payload to the bytes of a frame; making the payload counts too, as it does for whoever sends it.
void prepare(benchmark::State& state) {
  const std::string payload(static_cast<std::size_t>(state.range(0)), 'x');
  const auto whole = encode_header(opcode::text, payload.size()).size + payload.size();
  for (auto _ : state) {
    const prepared_message made{message::text(payload)};
    check(made.block()->plain().size() == whole, "a prepared message is a whole frame");
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(prepare)->Name("frame/prepare")->Arg(128)->Arg(4096)->Arg(16384);

void deflate(benchmark::State& state) {
  const auto payload = micro::json_of(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    const auto made = deflate_message(payload, 6);
    check(made && made->size() < payload.size(), "JSON becomes smaller");
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(deflate)->Name("deflate/json")->Arg(1024)->Arg(16384);

}  // namespace
