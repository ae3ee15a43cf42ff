#pragma once

// Callers that append to a message store, each waiting for its append before it makes the next.

#include "check.hpp"

#include <skein/message_store.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <benchmark/benchmark.h>
#include <cstdint>
#include <exception>
#include <string>

namespace skein::micro {

inline constexpr int appends_of_turn = 32;  // by each caller

inline asio::awaitable<void> append_in_turn(message_store& store, std::string topic, prepared_message what) {
  history_limits limits;
  for (int i = 0; i < appends_of_turn; ++i) co_await store.append(topic, what, limits);
}

inline void measure_appends(benchmark::State& state, message_store& store) {
  const auto callers = static_cast<int>(state.range(0));
  const prepared_message what = message::text(json_of(128));
  for (auto _ : state) {
    asio::io_context context{1};
    for (int i = 0; i < callers; ++i) {
      asio::co_spawn(context, append_in_turn(store, "topic" + std::to_string(i % 8), what),
                     [](const std::exception_ptr& error) { check(!error, "every append succeeds"); });
    }
    context.run();
  }
  const auto appends = state.iterations() * callers * appends_of_turn;
  const auto stats = store.stats();
  check(stats.appends == static_cast<std::uint64_t>(appends), "every append was counted");
  state.SetItemsProcessed(appends);
  if (stats.commits != 0)
    state.counters["appends_per_commit"] = static_cast<double>(appends) / static_cast<double>(stats.commits);
}

}  // namespace skein::micro
