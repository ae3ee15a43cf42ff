#pragma once

// The result of a run: named figures in the order in which they were added, as a table for people, one JSON
// object, or two lines of CSV. A name carries its unit, as in `latency_p50_us`. Which names a mode adds does
// not depend on what happened: a figure that is not known is an empty column of CSV, and absent elsewhere.

#include "histogram.hpp"

#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skein::bench {

class report {
 public:
  void add(std::string name, std::string_view text);
  void add(std::string name, double value, int decimals);
  void add_if(bool known, std::string name, double value, int decimals);
  void add_text_if(bool known, std::string name, std::string_view text);
  void add_count(std::string name, std::uint64_t value);
  void add_flag(std::string name, bool value);

  /// How often each number came: in JSON an object, else "NUMBER:COUNT ...".
  void add_counts(std::string name, const std::map<std::uint16_t, std::uint64_t>& counts);

  /// Values of several rounds: in JSON an array, else separated by spaces.
  void add_values(std::string name, const std::vector<double>& values, int decimals);

  /// p50, p90, p99, p99.9 and the maximum, in microseconds, as NAME_p50_us and so on. JSON also has every
  /// bucket that is not empty, as NAME_histogram_us: upper bound and count.
  void add_latency(const std::string& name, const histogram& ns);

  /// Figures of one of several servers: in the table and in JSON (`servers`) beside those of the others, in
  /// CSV a line of its own. All parts have the same names, and come after the other figures.
  void add_part(std::string name, report part);

  /// Something a reader of the figures must know.
  void note(std::string text) { notes_.push_back(std::move(text)); }

  /// The one thing that kept the run from being what it should be; `nothing_measured` when there are no
  /// figures worth showing to people.
  void fail(std::string problem, bool nothing_measured);
  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }
  [[nodiscard]] bool nothing_measured() const noexcept { return nothing_measured_; }

  /// The next figure begins a new block of the table.
  void new_block() { blocks_.push_back(figures_.size()); }

  void print_table(std::ostream& out) const;
  void print_json(std::ostream& out) const;
  void print_csv(std::ostream& out) const;

 private:
  struct entry {
    std::string name;
    std::string json;   // as JSON has it; empty when it is not known
    std::string shown;  // as the table and CSV show it
    bool only_json = false;
  };

  [[nodiscard]] static bool in_table(const entry& figure) noexcept {
    return !figure.only_json && !figure.json.empty();
  }
  void print_figures(std::ostream& out) const;
  void print_parts(std::ostream& out) const;
  void print_json_object(std::ostream& out) const;
  template <class FieldOf>
  void print_csv_fields(std::ostream& out, const char*& separator, FieldOf field_of) const;

  std::vector<entry> figures_;
  std::vector<std::pair<std::string, report>> parts_;
  std::vector<std::string> notes_;
  std::vector<std::size_t> blocks_;
  std::string problem_;
  bool nothing_measured_ = false;
};

}  // namespace skein::bench
