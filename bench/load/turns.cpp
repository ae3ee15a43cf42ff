#include "turns.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>
#include <random>

namespace skein::bench {
namespace {

constexpr double settle_s = 0.2;  // as before any load

bool is_broken(const load& work) {
  return work.broken();
}

std::uint64_t progress_of(team& crew) {
  std::atomic<std::uint64_t> done = 0;
  crew.each([&done](const load& work) { done += work.progress(); });
  return done;
}

/// Returns what it cost the server for each thing that was done.
double take_turn(turn_taker& who, double turn_s, double drain_s) {
  const auto done = progress_of(who.crew);
  const auto used_ns = who.measured.server_cpu_ns();
  who.measured.begin();
  who.crew.each([](load& work) { work.go_on(); });
  who.crew.wait("turn of " + who.server.name, turn_s, is_broken);
  who.crew.each([](load& work) { work.pause(); });
  who.out = !who.crew.drain("turn of " + who.server.name, drain_s,
                            [](const load& work) { return work.finished() || work.broken(); });
  who.measured.end();
  const auto more = static_cast<double>(progress_of(who.crew) - done);
  return more > 0 ? static_cast<double>(who.measured.server_cpu_ns() - used_ns) / more / 1000 : 0;
}

std::size_t turns_in(double seconds, double turn_s) {
  return static_cast<std::size_t>(std::ceil(seconds / turn_s - 1e-9));
}

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

void take_turns(std::vector<turn_taker>& all, conductor& host, const window_settings& settings,
                double turn_s) {
  for (auto& who : all) {
    who.crew.each([](load& work) { work.pause(); });
    who.crew.wait("settling", settle_s / static_cast<double>(all.size()), is_broken);
    who.crew.each([](load& work) { work.start(); });
  }
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::minstd_rand random{1};
  const auto cycle = [&](auto visit) {
    std::shuffle(order.begin(), order.end(), random);
    for (const auto place : order)
      if (!all[place].out && !host.cut_short()) visit(all[place]);
  };
  for (auto left = turns_in(settings.warmup_s, turn_s); left != 0; --left)
    cycle([&](turn_taker& who) { take_turn(who, turn_s, settings.drain_s); });
  for (auto& who : all) {
    who.measured.forget();
    who.crew.each([](load& work) { work.begin_window(); });
  }
  for (auto left = std::max<std::size_t>(1, turns_in(settings.seconds, turn_s)); left != 0; --left) {
    for (auto& who : all) who.costs_us.push_back(0);
    cycle([&](turn_taker& who) { who.costs_us.back() = take_turn(who, turn_s, settings.drain_s); });
  }
  for (auto& who : all) who.crew.each([](load& work) { work.end_window(); });
}

void add_cost_of_turns(report& out, const turn_taker& who, const turn_taker& first, const std::string& what) {
  std::vector<double> costs;
  std::vector<double> multiples;
  for (std::size_t i = 0; i < who.costs_us.size(); ++i) {
    if (who.costs_us[i] <= 0) continue;
    costs.push_back(who.costs_us[i]);
    if (first.costs_us[i] > 0) multiples.push_back(who.costs_us[i] / first.costs_us[i]);
  }
  out.add_count("turns", static_cast<std::uint64_t>(costs.size()));
  out.add_if(!costs.empty(), "server_cpu_us_per_" + what + "_by_turns", median_of(costs), 4);
  out.add_if(!multiples.empty(), "server_cpu_multiple_by_turns", median_of(multiples), 4);
}

}  // namespace skein::bench
