#include "process_stats.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <string>

namespace skein::bench {
namespace {

struct wanted_number {
  const char* name;
  std::uint64_t& value;
  std::uint64_t factor = 1;
};

/// Adds the numbers on the lines that begin with these names.
template <std::size_t Count>
void add_numbers(const std::filesystem::path& status, const wanted_number (&wanted)[Count]) {
  std::ifstream file{status};
  for (std::string line; std::getline(file, line);)
    for (const auto& number : wanted)
      if (line.starts_with(number.name))
        number.value += number.factor * std::stoull(line.substr(std::string{number.name}.size()));
}

/// What a thread has used since the first sample, in which it need not be.
std::uint64_t used_since(const process_sample& before, pid_t thread, std::uint64_t cpu_ns) {
  const auto found = before.thread_cpu_ns.find(thread);
  return found == before.thread_cpu_ns.end() ? cpu_ns : cpu_ns - found->second;
}

}  // namespace

void process_usage::add(const process_sample& before, const process_sample& after) {
  for (const auto& [thread, used] : after.thread_cpu_ns)
    thread_cpu_ns_[thread] += used_since(before, thread, used);
  const auto more = [](std::uint64_t then, std::uint64_t now) {
    return static_cast<std::int64_t>(now) - static_cast<std::int64_t>(then);
  };
  voluntary_ += more(before.voluntary_switches, after.voluntary_switches);
  involuntary_ += more(before.involuntary_switches, after.involuntary_switches);
}

std::uint64_t process_usage::cpu_ns() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& [thread, used] : thread_cpu_ns_) sum += used;
  return sum;
}

std::uint64_t process_usage::busiest_thread_ns() const noexcept {
  std::uint64_t most = 0;
  for (const auto& [thread, used] : thread_cpu_ns_) most = std::max(most, used);
  return most;
}

std::optional<process_sample> sample_process(pid_t pid) {
  const auto folder = std::filesystem::path{"/proc"} / std::to_string(pid);
  std::error_code error;
  std::filesystem::directory_iterator threads{folder / "task", error};
  if (error) return std::nullopt;

  process_sample sample;
  for (const auto& thread : threads) {
    std::ifstream file{thread.path() / "schedstat"};
    std::uint64_t on_cpu_ns = 0;
    if (!(file >> on_cpu_ns)) continue;  // it has ended meanwhile
    sample.thread_cpu_ns[std::stoi(thread.path().filename().string())] = on_cpu_ns;
    add_numbers(thread.path() / "status", {{"voluntary_ctxt_switches:", sample.voluntary_switches},
                                           {"nonvoluntary_ctxt_switches:", sample.involuntary_switches}});
  }
  add_numbers(folder / "status",
              {{"RssAnon:", sample.anonymous_bytes, 1024}, {"VmRSS:", sample.resident_bytes, 1024}});
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (::sched_getaffinity(pid, sizeof cores, &cores) == 0)
    sample.cores = static_cast<unsigned>(std::max(1, CPU_COUNT(&cores)));
  return sample;
}

}  // namespace skein::bench
