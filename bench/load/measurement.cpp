#include "measurement.hpp"

#include "clock.hpp"

#include <algorithm>
#include <cmath>
#include <thread>

namespace skein::bench {
namespace {

// A server may answer the handshake before it has added the connection to its audience.
constexpr double settle_s = 0.2;

// The load generator is the bottleneck when it has no time left while the server still has some.
constexpr double load_busy = 0.95;
constexpr double server_idle = 0.90;
constexpr double shortest_telling_ns = 50e6;  // a run that broke off at once says nothing of either

// An open load of fewer than so many, or with so many of them served, was kept.
constexpr double least_telling_count = 20;
constexpr double kept_share = 0.9;

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

}  // namespace

void measurement::begin() {
  if (pid_ != 0) before_ = sample_process(pid_);
  load_at_begin_ns_ = crew_.cpu_ns();
  begin_ns_ = now_ns();
}

void measurement::end() {
  end(now_ns());
}

void measurement::end(std::int64_t at_ns) {
  spent_ns_ += at_ns - begin_ns_;
  const auto used = crew_.cpu_ns();
  load_cpu_ns_.resize(used.size());
  for (std::size_t i = 0; i < used.size(); ++i) load_cpu_ns_[i] += used[i] - load_at_begin_ns_[i];
  if (pid_ != 0) after_ = sample_process(pid_);
  if (before_ && after_) server_.add(*before_, *after_);
}

void measurement::forget() {
  spent_ns_ = 0;
  load_cpu_ns_.clear();
  server_ = {};
}

double measurement::seconds() const noexcept {
  return to_seconds(spent_ns_);
}

double measurement::per_second(std::uint64_t count) const noexcept {
  return ratio(static_cast<double>(count), seconds());
}

void measurement::add_server(report& out, double operations, const std::string& what) const {
  const bool known = before_ && after_;
  const auto wall_ns = static_cast<double>(spent_ns_);
  const auto cpu_ns = static_cast<double>(server_.cpu_ns());
  const auto voluntary = ratio(static_cast<double>(server_.voluntary_switches()), seconds());
  const auto involuntary = ratio(static_cast<double>(server_.involuntary_switches()), seconds());
  out.add_if(known, "server_cpu_us_per_" + what, ratio(cpu_ns / 1000, operations), 4);
  out.add_if(known, "server_cpu_percent", ratio(100 * cpu_ns, wall_ns), 1);
  out.add_if(known, "server_context_switches_per_s", voluntary + involuntary, 0);
  out.add_if(known, "server_voluntary_switches_per_s", voluntary, 0);
  out.add_if(known, "server_involuntary_switches_per_s", involuntary, 0);
  out.add_if(known, "server_anonymous_bytes", known ? static_cast<double>(after_->anonymous_bytes) : 0, 0);
  out.add_if(known, "server_rss_bytes", known ? static_cast<double>(after_->resident_bytes) : 0, 0);
}

bool measurement::add_to(report& out, std::uint64_t count, const std::string& what) const {
  const auto operations = static_cast<double>(count);
  const auto wall_ns = static_cast<double>(spent_ns_);
  double load_ns = 0;
  double busiest_ns = 0;
  for (const auto used : load_cpu_ns_) {
    load_ns += static_cast<double>(used);
    busiest_ns = std::max(busiest_ns, static_cast<double>(used));
  }
  // With more threads than cores no thread is busy all the time, but the cores are.
  const auto cores = std::max(1U, std::thread::hardware_concurrency());
  const bool saturated = wall_ns > shortest_telling_ns &&
                         (busiest_ns > load_busy * wall_ns || load_ns > load_busy * wall_ns * cores);
  bool bottleneck = false;
  if (before_ && after_) {
    const auto limit_ns = server_idle * wall_ns;
    const bool server_busy = static_cast<double>(server_.busiest_thread_ns()) >= limit_ns ||
                             static_cast<double>(server_.cpu_ns()) >= limit_ns * after_->cores;
    bottleneck = saturated && !server_busy;
  }
  add_server(out, operations, what);
  out.add("load_cpu_us_per_" + what, ratio(load_ns / 1000, operations), 4);
  out.add("load_cpu_percent", ratio(100 * load_ns, wall_ns), 1);
  out.add("load_cpu_percent_of_busiest_thread", ratio(100 * busiest_ns, wall_ns), 1);
  out.add_flag("load_was_bottleneck", bottleneck);
  if (bottleneck)
    out.note("the load generator was the bottleneck: the rate is its own, not the server's" +
             std::string{crew_.size() < cores ? "; --threads gives it more" : ""});
  else if (saturated && !after_)
    out.note("the load generator was busy all the time; --pid tells whether it was the bottleneck");
  if (pid_ != 0 && (!before_ || !after_)) out.note("the server process could not be looked at, or has ended");
  return bottleneck;
}

void run_window(team& crew, measurement& measured, const window_settings& settings) {
  const auto broken = [](const load& work) { return work.broken(); };
  crew.wait("settling", settle_s, broken);
  crew.each([](load& work) { work.start(); });
  crew.wait("warming up", settings.warmup_s, broken);
  measured.begin();
  crew.each([](load& work) { work.begin_window(); });
  crew.wait("measuring", settings.seconds, broken);
  measured.end();
  crew.each([](load& work) { work.end_window(); });
  crew.drain("waiting for the rest", settings.drain_s,
             [](const load& work) { return work.finished() || work.broken(); });
}

void report_rate(report& out, double rate, const measurement& measured, std::uint64_t count,
                 std::uint64_t unsent, bool load_was_bottleneck) {
  const auto due = rate * measured.seconds();
  const bool behind = due >= least_telling_count && static_cast<double>(count) < kept_share * due;
  if ((!behind && unsent == 0) || !out.problem().empty()) return;
  std::string text =
      load_was_bottleneck ? "the load generator did not keep the rate: of " : "the rate was not kept: of ";
  text +=
      std::to_string(std::llround(due)) + " that were due, " + std::to_string(count) + " came in their time";
  if (unsent != 0) text += ", and " + std::to_string(unsent) + " never left";
  out.fail(text, false);
}

void report_problem(report& out, const connection_tally& tally) {
  const auto total = std::to_string(tally.opened + tally.refused);
  if (tally.opened == 0 && tally.refused != 0)
    out.fail("no connection could be opened: " + tally.first_problem, true);
  else if (tally.refused != 0)
    out.fail(std::to_string(tally.refused) + " of " + total +
                 " connections could not be opened: " + tally.first_problem,
             false);
  else if (tally.lost != 0)
    out.fail(std::to_string(tally.lost) + " of " + total + " connections were lost: " + tally.first_problem,
             false);
}

bool add_connections(report& out, const connection_tally& tally) {
  out.add_count("connections_opened", tally.opened);
  out.add_count("connections_refused", tally.refused);
  out.add_count("connections_lost", tally.lost);
  out.add_text_if(!tally.first_problem.empty(), "first_problem", tally.first_problem);
  report_problem(out, tally);
  return tally.refused == 0 && tally.lost == 0;
}

}  // namespace skein::bench
