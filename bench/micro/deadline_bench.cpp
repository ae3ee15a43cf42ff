// The deadlines of a shard with 10,000 connections.

#include "check.hpp"
#include "connection/deadline_queue.hpp"

#include <benchmark/benchmark.h>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

namespace {

using namespace skein;
using namespace skein::detail;
using namespace std::chrono_literals;
using micro::check;

constexpr std::size_t entry_count = 10'000;

/// Belongs to a connection that beats: set again whenever its deadline has passed.
struct entry final : deadline_entry {
  void on_deadline(time_point now) override {
    ++rung;
    owner->set(*this, now + std::chrono::duration_cast<duration>(25s));
  }
  deadline_queue* owner = nullptr;
  std::uint64_t rung = 0;
};

/// Every entry has a deadline within the next 25 seconds, the heartbeat's interval.
struct full_queue {
  full_queue() : entries(entry_count) {
    for (auto& one : entries) {
      one.owner = &queue;
      queue.set(one,
                now + std::chrono::duration_cast<duration>(std::chrono::microseconds{random() % 25'000'000}));
    }
    // In an order of its own, as connections are in memory.
    for (std::size_t i = 0; i < entry_count * 4; ++i) order.push_back(&entries[random() % entry_count]);
  }
  entry& next() {
    if (++at == order.size()) at = 0;
    return *order[at];
  }

  std::minstd_rand random{1};
  time_point now{1h};
  deadline_queue queue;
  std::vector<entry> entries;
  std::vector<entry*> order;
  std::size_t at = 0;
};

void set_and_remove(benchmark::State& state) {
  full_queue f;
  entry more;
  const auto wait = std::chrono::duration_cast<duration>(12s);
  for (auto _ : state) {
    f.queue.set(more, f.now + wait);
    f.queue.remove(more);
  }
  check(f.queue.size() == entry_count, "what was set was removed");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(set_and_remove)->Name("deadline/set_and_remove");

/// What a sign of life does, were it to move the deadline at once.
void move_later(benchmark::State& state) {
  full_queue f;
  const auto step = std::chrono::duration_cast<duration>(1ms);
  for (auto _ : state) {
    auto& who = f.next();
    f.queue.set(who, who.deadline() + step);
  }
  check(f.queue.size() == entry_count, "a deadline that moves stays");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(move_later)->Name("deadline/move_later");

/// What a sign of life does: nothing, because the deadline comes sooner.
void set_no_later(benchmark::State& state) {
  full_queue f;
  const auto far = std::chrono::duration_cast<duration>(1min);
  for (auto _ : state) f.queue.set_no_later(f.next(), f.now + far);
  check(f.queue.next() < f.now + far, "the sooner deadline stays");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(set_no_later)->Name("deadline/set_no_later");

void remove_and_set(benchmark::State& state) {
  full_queue f;
  for (auto _ : state) {
    auto& who = f.next();
    const auto when = who.deadline();
    f.queue.remove(who);
    f.queue.set(who, when);
  }
  check(f.queue.size() == entry_count, "what was removed was set again");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(remove_and_set)->Name("deadline/remove_and_set");

/// The nearest deadline passes, and its entry is set for the next interval.
void ring(benchmark::State& state) {
  full_queue f;
  for (auto _ : state) f.queue.run(f.queue.next());
  std::uint64_t rung = 0;
  for (const auto& one : f.entries) rung += one.rung;
  check(rung >= static_cast<std::uint64_t>(state.iterations()), "every deadline was told of");
  state.SetItemsProcessed(static_cast<std::int64_t>(rung));
}
BENCHMARK(ring)->Name("deadline/ring");

}  // namespace
