#include "process_stats.hpp"

#include <filesystem>
#include <fstream>
#include <string>

namespace skein::bench {
namespace {

/// The number on the line that begins with `name`; 0 when there is none.
std::uint64_t number_of(const std::filesystem::path& status, const std::string& name) {
  std::ifstream file{status};
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name)) return std::stoull(line.substr(name.size()));
  return 0;
}

}  // namespace

std::optional<process_sample> sample_process(pid_t pid) {
  const auto folder = std::filesystem::path{"/proc"} / std::to_string(pid);
  std::error_code error;
  std::filesystem::directory_iterator threads{folder / "task", error};
  if (error) return std::nullopt;

  process_sample sample;
  for (const auto& thread : threads) {
    std::ifstream file{thread.path() / "schedstat"};
    std::uint64_t on_cpu_ns = 0;
    if (file >> on_cpu_ns) sample.cpu_ns += on_cpu_ns;
    const auto status = thread.path() / "status";
    sample.context_switches +=
        number_of(status, "voluntary_ctxt_switches:") + number_of(status, "nonvoluntary_ctxt_switches:");
  }
  sample.anonymous_bytes = 1024 * number_of(folder / "status", "RssAnon:");
  return sample;
}

}  // namespace skein::bench
