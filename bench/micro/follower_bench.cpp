// Finding who follows a topic, whatever else there is.

#include "check.hpp"
#include "hub/follower_index.hpp"

#include <benchmark/benchmark.h>
#include <cstddef>
#include <string>
#include <vector>

namespace {

using skein::detail::connection_impl;
using skein::detail::follower_index;
using skein::micro::check;

/// Connections that are only ever pointed at.
struct crowd {
  explicit crowd(std::size_t count) : places(count) {}
  connection_impl& operator[](std::size_t i) { return *reinterpret_cast<connection_impl*>(&places[i]); }
  struct alignas(16) place {
    char nothing[16];
  };
  std::vector<place> places;
};

void measure(benchmark::State& state, follower_index& index, std::size_t followers) {
  std::vector<connection_impl*> found;
  for (auto _ : state) {
    found.clear();
    index.match("market.us.AAPL", found);
    benchmark::DoNotOptimize(found.data());
  }
  check(found.size() == followers, "everybody was found");
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(followers));
}

/// `topics` others, each with a follower of its own.
void exact(benchmark::State& state) {
  const auto topics = static_cast<std::size_t>(state.range(0));
  const auto followers = static_cast<std::size_t>(state.range(1));
  crowd all{topics + followers};
  follower_index index{follower_index::names::patterns};
  for (std::size_t i = 0; i < topics; ++i) index.add(all[followers + i], "other." + std::to_string(i));
  for (std::size_t i = 0; i < followers; ++i) index.add(all[i], "market.us.AAPL");
  measure(state, index, followers);
}
BENCHMARK(exact)
    ->Name("follow/exact")
    ->ArgNames({"topics", "followers"})
    ->ArgsProduct({{1, 1'000, 1'000'000}, {10, 10'000}});

/// `patterns` others that match nothing; each follower follows by two patterns.
void by_pattern(benchmark::State& state) {
  const auto patterns = static_cast<std::size_t>(state.range(0));
  const auto followers = static_cast<std::size_t>(state.range(1));
  crowd all{patterns + followers};
  follower_index index{follower_index::names::patterns};
  for (std::size_t i = 0; i < patterns; ++i)
    index.add(all[followers + i], "other.*." + std::to_string(i) + ".>");
  for (std::size_t i = 0; i < followers; ++i) {
    index.add(all[i], "market.*.AAPL");
    index.add(all[i], "market.>");
  }
  measure(state, index, followers);
}
BENCHMARK(by_pattern)
    ->Name("follow/pattern")
    ->ArgNames({"patterns", "followers"})
    ->ArgsProduct({{1, 1'000, 1'000'000}, {10, 10'000}});

void subscribe_and_unsubscribe(benchmark::State& state) {
  const auto topics = static_cast<std::size_t>(state.range(0));
  crowd all{topics + 1};
  follower_index index{follower_index::names::patterns};
  for (std::size_t i = 0; i < topics; ++i) index.add(all[i], "other." + std::to_string(i));
  for (auto _ : state) {
    index.add(all[topics], "market.us.AAPL");
    index.remove(all[topics], "market.us.AAPL");
  }
}
BENCHMARK(subscribe_and_unsubscribe)
    ->Name("follow/subscribe_and_unsubscribe")
    ->ArgName("topics")
    ->Arg(1)
    ->Arg(1'000'000);

}  // namespace
