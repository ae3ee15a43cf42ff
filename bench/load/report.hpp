#pragma once

// The result of a run: named figures in the order in which they were added, as a table for people or one JSON
// object for programs. A name carries its unit, as in `latency_p50_us`.

#include "histogram.hpp"

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace skein::bench {

class report {
 public:
  void add(std::string name, std::string_view text);
  void add(std::string name, double value, int decimals);
  void add_count(std::string name, std::uint64_t value);
  void add_flag(std::string name, bool value);

  /// p50, p90, p99, p99.9 and the maximum, in microseconds, as NAME_p50_us and so on.
  void add_latency(const std::string& name, const histogram& ns);

  /// Something a reader of the figures must know.
  void note(std::string text) { notes_.push_back(std::move(text)); }

  void print_table(std::ostream& out) const;
  void print_json(std::ostream& out) const;

 private:
  struct entry {
    std::string name;
    std::string json;   // as JSON has it
    std::string shown;  // as the table shows it
  };

  std::vector<entry> figures_;
  std::vector<std::string> notes_;
};

}  // namespace skein::bench
