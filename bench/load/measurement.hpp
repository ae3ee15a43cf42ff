#pragma once

// Windows in which everything is counted: messages by the load, CPU time of the server and of the load
// generator itself by the kernel.

#include "process_stats.hpp"
#include "report.hpp"
#include "team.hpp"

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace skein::bench {

/// How long a run lasts, and which server process to look at; pid 0 means none.
struct window_settings {
  double warmup_s = 1;
  double seconds = 5;
  double drain_s = 5;  // for what is under way at its end
  pid_t pid = 0;
};

class measurement {
 public:
  measurement(const team& crew, pid_t pid) : crew_(crew), pid_(pid) {}

  /// Begins a window; what is used between windows does not count.
  void begin();
  void end();
  /// The same for something that was over a little earlier.
  void end(std::int64_t at_ns);

  /// The windows so far do not count.
  void forget();

  /// Of all windows, as all that follows.
  [[nodiscard]] double seconds() const noexcept;

  /// `count` in each second of the window.
  [[nodiscard]] double per_second(std::uint64_t count) const noexcept;

  /// Adds what the server and the load generator used, for each of the `count` things called `what`, and says
  /// whether the load generator was what limited the rate; returns that.
  bool add_to(report& out, std::uint64_t count, const std::string& what) const;

  /// CPU time that the server used, or 0 when that is not known.
  [[nodiscard]] std::uint64_t server_cpu_ns() const noexcept { return server_.cpu_ns(); }

  /// At the borders of the last window.
  [[nodiscard]] const std::optional<process_sample>& server_before() const noexcept { return before_; }
  [[nodiscard]] const std::optional<process_sample>& server_after() const noexcept { return after_; }

 private:
  void add_server(report& out, double operations, const std::string& what) const;

  const team& crew_;
  pid_t pid_;
  std::int64_t begin_ns_ = 0;
  std::int64_t spent_ns_ = 0;
  std::vector<std::int64_t> load_at_begin_ns_;  // of each thread
  std::vector<std::int64_t> load_cpu_ns_;
  process_usage server_;
  std::optional<process_sample> before_;
  std::optional<process_sample> after_;
};

/// Starts the load, warms up, measures, and waits some time for what is under way.
void run_window(team& crew, measurement& measured, const window_settings& settings);

/// Says in one line what went wrong with connections, if something did.
void report_problem(report& out, const connection_tally& tally);

/// Says in one line that an open load was not what was asked for, if it was not: `count` things were done in
/// the window, `unsent` were due and never begun.
void report_rate(report& out, double rate, const measurement& measured, std::uint64_t count,
                 std::uint64_t unsent, bool load_was_bottleneck);

/// Adds what became of the connections; true when all of them opened and none was lost.
bool add_connections(report& out, const connection_tally& tally);

}  // namespace skein::bench
