// Appending to the message store in memory.

#include "store_bench.hpp"

#include <skein/message_store.hpp>

#include <benchmark/benchmark.h>

namespace {

void memory(benchmark::State& state) {
  const auto store = skein::make_memory_store();
  skein::micro::measure_appends(state, *store);
}
BENCHMARK(memory)->Name("store/memory/append")->ArgName("callers")->Arg(1)->Arg(16)->Arg(256)->UseRealTime();

}  // namespace
