#pragma once

// What the kernel knows of a process: read from /proc, in nanoseconds where utime would be in ticks of 10 ms.

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace skein::bench {

struct process_sample {
  std::uint64_t cpu_ns = 0;            // user and system, all threads that still run
  std::uint64_t context_switches = 0;  // voluntary or not, all threads that still run
  std::uint64_t anonymous_bytes = 0;   // RssAnon: heap and stacks, not the program's own file
};

/// Empty when there is no such process or it may not be looked at.
std::optional<process_sample> sample_process(pid_t pid);

}  // namespace skein::bench
