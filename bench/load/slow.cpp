// Slow: a fan-out in which a share of the subscribers stops reading after a while. What matters is the
// others: their latency before, and during the stall; and what the server does about the slow ones, which
// shows when they read again. Publishing goes on meanwhile, so that it can be told which of them come back to
// what is new: whoever was only given less has missed something, but is not behind for ever.

#include "fanout_load.hpp"

#include <algorithm>
#include <cmath>

namespace skein::bench {
namespace {

constexpr double settle_s = 0.2;

/// How many subscribers of each thread stop reading; one of each goes on.
std::vector<std::uint32_t> slow_shares(const fanout_crew& made, double percent) {
  const auto wanted = std::lround(made.options.subscribers * percent / 100);
  auto shares = shares_of(static_cast<std::uint32_t>(wanted), made.channel.threads);
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const auto subscribers = made.connections[i] - (i == 0 ? 1 : 0);
    shares[i] = std::min(shares[i], subscribers - 1);
  }
  return shares;
}

histogram take_latency(team_of<fanout_load>& crew) {
  histogram all;
  std::mutex turn;
  crew.each([&](fanout_load& work) {
    const auto part = work.take_delivery_latency();
    const std::lock_guard lock{turn};
    all.merge(part);
  });
  return all;
}

}  // namespace

bool run_slow(const run_context& run, const slow_options& options) {
  fanout_crew made{run, options.fanout};
  auto& crew = made.crew;
  const auto slow = slow_shares(made, options.share_percent);
  const auto broken = [](const load& work) { return work.broken(); };
  measurement measured{crew, run.common.window.pid};

  crew.wait("settling", settle_s, broken);
  crew.each([](fanout_load& work) { work.start(); });
  crew.wait("warming up", run.common.window.warmup_s, broken);
  measured.begin();
  crew.each([](fanout_load& work) { work.begin_window(); });
  crew.wait("measuring before the stall", run.common.window.seconds, broken);
  const auto before = take_latency(crew);
  crew.each(
      [&](fanout_load& work) { work.stall(slow[work.thread()], static_cast<int>(options.receive_buffer)); });
  crew.wait("measuring during the stall", options.stall_s, broken);
  measured.end();
  crew.each([](fanout_load& work) {
    work.end_window();
    work.resume();
  });
  crew.drain("reading again", run.common.window.drain_s, [](const load& work) {
    return static_cast<const fanout_load&>(work).stalled_caught_up() || work.broken();
  });
  crew.each([](fanout_load& work) { work.stop_publishing(); });
  crew.drain("waiting for the rest", run.common.window.drain_s,
             [](const load& work) { return work.finished() || work.broken(); });
  const auto during = take_latency(crew);
  const auto all = crew.result();
  auto tally = crew.tally();
  const auto ended = all.stalled_ended;
  tally.lost -= ended;
  if (tally.lost + tally.refused == 0) tally.first_problem.clear();  // the end of a slow one is none

  auto& out = run.out;
  run.begin_report("slow", made.channel.threads);
  out.add_count("subscribers", made.options.subscribers);
  out.add_count("message_bytes", made.options.size);
  out.add_if(made.options.rate > 0, "rate_per_s", made.options.rate, 1);
  out.add_flag("deflate", all.deflate);
  out.new_block();
  out.add("seconds", measured.seconds(), 3);
  out.add_count("publications", all.publications);
  out.add_count("deliveries", all.deliveries);
  out.add("deliveries_per_s", measured.per_second(all.deliveries), 0);
  out.add_latency("before", before);
  out.add_latency("during", during);
  out.new_block();
  out.add_count("slow_subscribers", all.stalled);
  out.add_count("slow_closed_by_server", ended);
  out.add_counts("slow_close_codes", all.stalled_close_codes);
  const auto behind = all.stalled - ended - all.stalled_caught_up;
  out.add_count("slow_caught_up", all.stalled_caught_up);
  out.add_count("slow_not_caught_up", behind);
  out.add_count("slow_deliveries_after_stall", all.stalled_deliveries);
  out.add_count("slow_deliveries_skipped", all.stalled_skipped);
  out.add_count("slow_deliveries_outstanding", all.stalled_outstanding);
  out.new_block();
  const bool bottleneck = measured.add_to(out, all.deliveries, "delivery");
  out.new_block();
  const bool all_lived = add_connections(out, tally);
  add_faults(out, all);
  if (all.stalled_close_codes.contains(1006)) out.note("1006 means that no close frame came before the end");
  if (behind != 0) {
    const auto text = std::to_string(behind) + " of " + std::to_string(all.stalled) +
                      " slow subscribers had not caught up, and " + std::to_string(all.stalled_outstanding) +
                      " messages to them were on their way or lost";
    out.note(text + "; --drain gives them longer");
    if (out.problem().empty()) out.fail(text, false);
  }
  if (all.stalled_skipped != 0) out.note("the slow subscribers that caught up were not given everything");
  report_rate(out, made.options.rate, measured, all.publications, all.unsent, bottleneck);
  crew.close_all();
  return all_lived && all.faultless() && all.deliveries != 0 && all.stalled != 0 && behind == 0;
}

}  // namespace skein::bench
