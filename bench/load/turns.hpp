#pragma once

// Several servers, all of them running and all connections open, and one load that goes from one to the next
// every few hundredths of a second. What a machine does to one of them, it does to all; so their multiples of
// each other repeat within a few hundredths, where those of runs that follow each other differ by a tenth or
// more.

#include "measurement.hpp"
#include "modes.hpp"
#include "report.hpp"
#include "team.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skein::bench {

/// A server, and the load that it gets in its turns.
struct turn_taker {
  const rival& server;
  team& crew;
  measurement& measured;
  std::vector<double> costs_us;  // for each thing that was done, in each cycle that counted; 0: not known
  bool out = false;              // it did not finish what it was given, and gets nothing more
};

/// Lets each have its turns: as many as fill the seconds of the window, for each of them, after those that
/// warm up. The order is another in each cycle. A turn ends when what was sent in it has come back.
void take_turns(std::vector<turn_taker>& all, conductor& host, const window_settings& settings,
                double turn_s);

/// Adds the median cost of a server's turns, and the median of what it was of the first server's in the same
/// cycle.
void add_cost_of_turns(report& out, const turn_taker& who, const turn_taker& first, const std::string& what);

/// What a mode runs by turns.
struct turn_plan {
  std::string_view mode;
  std::string what;  // is done
  double turn_s;     // unless the user says so
};

/// Runs a mode whose `Crew` has the loads of one server.
template <class Crew, class Options>
bool run_in_turns(const run_context& run, const Options& options, const turn_plan& plan) {
  struct seat {
    seat(const run_context& run, const Options& options, const rival& server)
        : handshake(run.common.handshake_with(server.url)),
          context{run.common, handshake, run.host, out},
          made(context, options),
          measured(made.crew, server.pid) {}

    report out;
    handshake_settings handshake;
    run_context context;
    Crew made;
    measurement measured;
  };
  std::vector<std::unique_ptr<seat>> seats;
  std::vector<turn_taker> takers;
  for (const auto& server : run.common.servers) {
    auto& taken = *seats.emplace_back(std::make_unique<seat>(run, options, server));
    takers.push_back({server, taken.made.crew, taken.measured, {}});
  }
  const auto turn_s = run.common.turn_s > 0 ? run.common.turn_s : plan.turn_s;
  take_turns(takers, run.host, run.common.window, turn_s);

  run.begin_shared_report(plan.mode, static_cast<std::uint32_t>(takers.front().crew.size()));
  seats.front()->made.add_options(run.out);
  run.out.add("turn_s", turn_s, 3);
  bool good = true;
  for (std::size_t i = 0; i < seats.size(); ++i) {
    auto& part = seats[i]->out;
    const auto& name = run.common.servers[i].name;
    part.add("url", run.common.servers[i].url);
    part.add_flag("tls", seats[i]->handshake.tls != nullptr);
    add_cost_of_turns(part, takers[i], takers.front(), plan.what);
    const bool all_right = seats[i]->made.add_figures(seats[i]->context, seats[i]->measured);
    part.add_flag("ok", all_right);
    good = good && all_right;
    if (!part.problem().empty() && run.out.problem().empty())
      run.out.fail(name + ": " + part.problem(), false);
    run.out.add_part(name, std::move(part));
  }
  return good;
}

/// Runs such a mode against the servers that take turns, or else against the one of the URL.
template <class Crew, class Options>
bool run_crew(const run_context& run, const Options& options, const turn_plan& plan) {
  if (!run.common.servers.empty()) return run_in_turns<Crew>(run, options, plan);
  Crew made{run, options};
  measurement measured{made.crew, run.common.window.pid};
  run_window(made.crew, measured, run.common.window);
  run.begin_report(plan.mode, static_cast<std::uint32_t>(made.crew.size()));
  made.add_options(run.out);
  return made.add_figures(run, measured);
}

}  // namespace skein::bench
