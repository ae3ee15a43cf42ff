#pragma once

// The modes of the load generator. Each runs to its end, adds its figures to the report, and returns whether
// everything that was sent came back and every connection lived.

#include "handshake.hpp"
#include "measurement.hpp"
#include "report.hpp"

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skein::bench {

/// One of several servers between which the load goes back and forth.
struct rival {
  std::string name;
  pid_t pid = 0;
  std::string url;
};

/// Options that every mode has.
struct common_options {
  std::string url;  // empty: the mode's own
  std::vector<std::string> headers;
  tls_settings tls;
  std::uint32_t threads = 1;
  std::uint32_t handshakes_at_once = 64;
  double handshake_timeout_s = 10;
  double time_limit_s = 0;  // 0: as long as the run can need
  bool deflate = false;
  bool text = true;
  window_settings window;
  std::vector<rival> servers;  // those that take turns; empty: the one of `url`
  double turn_s = 0;           // 0: the mode's own

  /// What the server at this URL is asked for; throws `std::runtime_error` if it is none.
  [[nodiscard]] handshake_settings handshake_with(std::string_view server) const;

  [[nodiscard]] opcode kind() const noexcept { return text ? opcode::text : opcode::binary; }
};

struct echo_options {
  std::uint32_t connections = 100;
  std::size_t size = 64;
  std::uint32_t depth = 0;  // 0: 1 in a closed load, 16 in an open one
  double rate = 0;          // messages per second of the whole load; 0: a closed load
};

struct fanout_options {
  std::uint32_t subscribers = 1000;
  std::size_t size = 128;
  std::uint32_t window = 0;  // 0: 1 in a closed load, 65,536 in an open one
  double rate = 0;           // messages per second of the publisher; 0: a closed load
  bool json_payload = false;
};

struct idle_options {
  std::uint32_t connections = 10'000;
  bool exchange = false;
  double hold_s = 1;
};

struct churn_options {
  std::uint32_t connections = 64;  // at a time
  std::size_t size = 64;
  double rate = 0;  // new connections per second; 0: as many as there can be
};

struct storm_options {
  std::uint32_t connections = 1000;
  std::uint32_t rounds = 3;
  double round_limit_s = 30;
  double pause_s = 0.5;
  double retry_s = 0.1;
};

struct slow_options {
  fanout_options fanout{.subscribers = 100, .size = 4096, .window = 0, .rate = 500, .json_payload = false};
  double share_percent = 10;
  double stall_s = 5;
  std::uint32_t receive_buffer = 4096;
};

/// What a mode is given: the options that all have, worked out, and where its figures go.
struct run_context {
  const common_options& common;
  const handshake_settings& handshake;
  conductor& host;
  report& out;

  /// Starts the figures with what every mode tells, but for the server.
  void begin_shared_report(std::string_view mode, std::uint32_t threads) const;
  /// The same and the server.
  void begin_report(std::string_view mode, std::uint32_t threads) const;
};

bool run_echo(const run_context& run, const echo_options& options);
bool run_fanout(const run_context& run, const fanout_options& options);
bool run_idle(const run_context& run, const idle_options& options);
bool run_churn(const run_context& run, const churn_options& options);
bool run_storm(const run_context& run, const storm_options& options);
bool run_slow(const run_context& run, const slow_options& options);

}  // namespace skein::bench
