#include "measurement.hpp"

#include "clock.hpp"

namespace skein::bench {
namespace {

// A server may answer the handshake before it has added the connection to its audience.
constexpr double settle_s = 0.2;
constexpr double drain_patience_s = 5;

// The load generator is the bottleneck when it has no time left while the server still has some.
constexpr double load_busy = 0.95;
constexpr double server_idle = 0.90;
constexpr double shortest_telling_ns = 50e6;  // a run that broke off at once says nothing of either

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

}  // namespace

void measurement::begin() {
  if (pid_ != 0) before_ = sample_process(pid_);
  load_cpu_ns_ = -worker::cpu_ns();
  begin_ns_ = now_ns();
}

void measurement::end() {
  end_ns_ = now_ns();
  load_cpu_ns_ += worker::cpu_ns();
  if (pid_ != 0) after_ = sample_process(pid_);
}

double measurement::seconds() const noexcept {
  return to_seconds(end_ns_ - begin_ns_);
}

void measurement::add_to(report& out, std::uint64_t count, const std::string& what) const {
  const auto operations = static_cast<double>(count);
  const auto wall_ns = static_cast<double>(end_ns_ - begin_ns_);
  const auto load_ns = static_cast<double>(load_cpu_ns_);
  const bool saturated = wall_ns > shortest_telling_ns && load_ns > load_busy * wall_ns;
  bool bottleneck = false;
  if (before_ && after_) {
    const auto server_ns = static_cast<double>(after_->cpu_ns - before_->cpu_ns);
    bottleneck = saturated && server_ns < server_idle * wall_ns;
    out.add("server_cpu_us_per_" + what, ratio(server_ns / 1000, operations), 4);
    out.add("server_cpu_percent", ratio(100 * server_ns, wall_ns), 1);
    out.add("server_context_switches_per_s",
            ratio(static_cast<double>(after_->context_switches - before_->context_switches), seconds()), 0);
  }
  out.add("load_cpu_us_per_" + what, ratio(load_ns / 1000, operations), 4);
  out.add("load_cpu_percent", ratio(100 * load_ns, wall_ns), 1);
  out.add_flag("load_was_bottleneck", bottleneck);
  if (bottleneck)
    out.note("the load generator was the bottleneck: the rate is its own, not the server's");
  else if (saturated && !after_)
    out.note("the load generator was busy all the time; --pid tells whether it was the bottleneck");
  if (pid_ != 0 && (!before_ || !after_)) out.note("the server process could not be looked at, or has ended");
}

void run_window(worker& driver, load& work, measurement& measured, const window_settings& settings) {
  const auto broken = [&work] { return work.broken(); };
  driver.poll_until(now_ns() + to_ns(settle_s), broken);
  work.start();
  driver.flush();
  driver.poll_until(now_ns() + to_ns(settings.warmup_s), broken);
  measured.begin();
  work.begin_window();
  driver.poll_until(now_ns() + to_ns(settings.seconds), broken);
  measured.end();
  work.end_window();
  driver.poll_until(now_ns() + to_ns(drain_patience_s),
                    [&work] { return work.outstanding() == 0 || work.broken(); });
}

bool add_connections(report& out, const connection_tally& tally) {
  out.add_count("connections_opened", tally.opened);
  out.add_count("connections_refused", tally.refused);
  out.add_count("connections_lost", tally.lost);
  if (!tally.first_problem.empty()) out.add("first_problem", tally.first_problem);
  return tally.refused == 0 && tally.lost == 0;
}

}  // namespace skein::bench
