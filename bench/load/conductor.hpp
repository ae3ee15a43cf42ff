#pragma once

// The main thread's side of a run: it waits, shows how far the run is, and knows when the run must end early,
// because of SIGINT or SIGTERM or because its time is over. Made before any other thread, so that all of them
// leave these signals to it.

#include <cstdint>
#include <string>
#include <string_view>

namespace skein::bench {

class conductor {
 public:
  /// The whole run ends `time_limit_s` from now. Progress goes to stderr, after the first seconds, if
  /// `always` or if stderr is a terminal.
  conductor(double time_limit_s, bool always_show);
  ~conductor();
  conductor(const conductor&) = delete;
  conductor& operator=(const conductor&) = delete;

  [[nodiscard]] bool interrupted() const noexcept { return interrupted_; }
  [[nodiscard]] bool out_of_time() const noexcept;
  [[nodiscard]] bool cut_short() const noexcept { return interrupted_ || out_of_time(); }
  [[nodiscard]] double time_limit_s() const noexcept { return time_limit_s_; }
  [[nodiscard]] std::int64_t deadline_ns() const noexcept { return deadline_ns_; }

  /// Sleeps until `until_ns`, or until the eventfd `wake` is written to, or a signal has come, or for a
  /// second. A second signal ends the process.
  void pause(int wake, std::int64_t until_ns);

  /// Says what the run is doing, at most once a second.
  void show(std::string_view phase, std::int64_t begin_ns, double seconds, std::uint64_t done);

 private:
  void clear_line();

  double time_limit_s_;
  std::int64_t started_ns_;
  std::int64_t deadline_ns_;
  std::int64_t next_show_ns_;
  int signals_ = -1;
  bool interrupted_ = false;
  bool terminal_ = false;
  bool shows_ = false;
  bool line_open_ = false;
};

}  // namespace skein::bench
