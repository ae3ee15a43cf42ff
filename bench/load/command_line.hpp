#pragma once

// What the user asks for.

#include "modes.hpp"

#include <string>

namespace skein::bench {

enum class mode : std::uint8_t { echo, fanout, idle, churn, storm, slow };
enum class output : std::uint8_t { table, json, csv };

struct command_line {
  mode what = mode::echo;
  common_options common;
  echo_options echo;
  fanout_options fanout;
  idle_options idle;
  churn_options churn;
  storm_options storm;
  slow_options slow;
  output as = output::table;
  bool progress = false;

  [[nodiscard]] std::uint32_t connections() const noexcept;

  /// How long the chosen run may take at most, unless the user says so.
  [[nodiscard]] double usual_time_limit_s() const noexcept;
};

/// Throws `command_line_end` when there is nothing to run.
command_line parse_command_line(int argc, char** argv);

/// The help was printed, or an error.
struct command_line_end {
  int exit_status;
};

}  // namespace skein::bench
