#pragma once

// The modes of the load generator. Each runs to its end, adds its figures to the report, and returns whether
// everything that was sent came back and every connection lived.

#include "handshake.hpp"
#include "measurement.hpp"
#include "report.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace skein::bench {

/// Options that every mode has.
struct common_options {
  std::string url = "ws://127.0.0.1:8080/echo";
  std::vector<std::string> headers;
  std::uint32_t handshakes_at_once = 64;
  bool deflate = false;
  bool text = true;
  window_settings window;

  [[nodiscard]] handshake_settings handshake() const { return {resolve(url), headers, deflate}; }
  [[nodiscard]] opcode kind() const noexcept { return text ? opcode::text : opcode::binary; }
};

struct echo_options {
  std::uint32_t connections = 100;
  std::size_t size = 64;
  std::uint32_t depth = 1;
};

struct fanout_options {
  std::uint32_t subscribers = 1000;
  std::size_t size = 128;
  std::uint32_t window = 1;
  bool json_payload = false;
};

struct idle_options {
  std::uint32_t connections = 10'000;
  bool exchange = false;
  double hold_s = 1;
};

bool run_echo(const common_options& common, const echo_options& options, report& out);
bool run_fanout(const common_options& common, const fanout_options& options, report& out);
bool run_idle(const common_options& common, const idle_options& options, report& out);

}  // namespace skein::bench
