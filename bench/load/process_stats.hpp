#pragma once

// What the kernel knows of a process: read from /proc, in nanoseconds where utime would be in ticks of 10 ms.

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>

namespace skein::bench {

struct process_sample {
  std::map<pid_t, std::uint64_t> thread_cpu_ns;  // user and system, of the threads that still run
  std::uint64_t voluntary_switches = 0;          // of the same threads
  std::uint64_t involuntary_switches = 0;
  std::uint64_t anonymous_bytes = 0;  // RssAnon: heap and stacks, not the program's own file
  std::uint64_t resident_bytes = 0;   // VmRSS
  unsigned cores = 1;                 // that it may run on
};

/// What a process used in one or several intervals.
class process_usage {
 public:
  void add(const process_sample& before, const process_sample& after);

  [[nodiscard]] std::uint64_t cpu_ns() const noexcept;
  /// Of the thread that used most of it.
  [[nodiscard]] std::uint64_t busiest_thread_ns() const noexcept;
  [[nodiscard]] std::int64_t voluntary_switches() const noexcept { return voluntary_; }
  [[nodiscard]] std::int64_t involuntary_switches() const noexcept { return involuntary_; }

 private:
  std::map<pid_t, std::uint64_t> thread_cpu_ns_;
  std::int64_t voluntary_ = 0;  // negative when a thread has ended meanwhile
  std::int64_t involuntary_ = 0;
};

/// Empty when there is no such process or it may not be looked at.
std::optional<process_sample> sample_process(pid_t pid);

}  // namespace skein::bench
