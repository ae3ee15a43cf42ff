#pragma once

// A run that has a warm-up and then a window in which everything is counted: messages by the load, CPU time
// of the server and of the load generator itself by the kernel.

#include "client_socket.hpp"
#include "process_stats.hpp"
#include "report.hpp"
#include "worker.hpp"

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace skein::bench {

/// How long a run lasts, and which server process to look at; pid 0 means none.
struct window_settings {
  double warmup_s = 1;
  double seconds = 5;
  pid_t pid = 0;
};

/// A way of loading a server from one worker. All of it runs on the worker's thread.
class load : public socket_events {
 public:
  /// Sends the first messages.
  virtual void start() = 0;
  /// From here on messages count.
  virtual void begin_window() = 0;
  /// From here on they no longer do, and no new ones are sent.
  virtual void end_window() = 0;
  /// How many messages have not come back yet.
  [[nodiscard]] virtual std::uint64_t outstanding() const = 0;
  /// Nothing more can come of this run.
  [[nodiscard]] virtual bool broken() const = 0;
};

class measurement {
 public:
  explicit measurement(pid_t pid) : pid_(pid) {}

  void begin();
  void end();

  [[nodiscard]] double seconds() const noexcept;

  /// Adds the CPU figures, for each of the `count` things called `what`, and says whether the load generator
  /// was what limited the rate.
  void add_to(report& out, std::uint64_t count, const std::string& what) const;

  [[nodiscard]] const std::optional<process_sample>& server_before() const noexcept { return before_; }
  [[nodiscard]] const std::optional<process_sample>& server_after() const noexcept { return after_; }

 private:
  pid_t pid_;
  std::int64_t begin_ns_ = 0;
  std::int64_t end_ns_ = 0;
  std::int64_t load_cpu_ns_ = 0;
  std::optional<process_sample> before_;
  std::optional<process_sample> after_;
};

/// Starts the load, warms up, measures, and waits some time for what is outstanding.
void run_window(worker& driver, load& work, measurement& measured, const window_settings& settings);

/// Adds what became of the connections; true when all of them opened and none was lost.
bool add_connections(report& out, const connection_tally& tally);

}  // namespace skein::bench
