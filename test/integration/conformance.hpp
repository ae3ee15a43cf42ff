#pragma once

// What the conformance tables have in common: a row says what is sent and what must come back.

#include "test_server.hpp"

#include <string>
#include <vector>

namespace skein::test {

/// One conversation with an echo server.
struct row {
  std::string name;
  std::string bytes{};           ///< sent behind the opening handshake
  std::vector<frame> replies{};  ///< data frames and pongs; each of the two kinds in order
  std::vector<unsigned>
      codes{};              ///< the server closes with one of these, 0: without a code; empty: it goes on
  std::string handshake{};  ///< further header lines of the opening handshake
};

enum class pace : std::uint8_t { at_once, bytewise };

/// Sends a row's bytes and compares what comes back.
///
/// A row without codes must leave the connection in order: it echoes one more message and closes with 1000. A
/// row with codes must end with a close frame and the end of the stream, not with a reset; replies are then
/// what may come before, because what was sent just before an error may be lost.
void check(test_server& server, const row& what, pace how = pace::at_once);

/// Checks each row at once and, if it is not too long, byte by byte; then whether the server still serves
/// others.
void check_all(test_server& server, const std::vector<row>& table);

/// A message in two frames, once for each place where it can be divided.
[[nodiscard]] std::vector<std::string> divided(unsigned opcode, std::string_view payload, unsigned rsv = 0);

[[nodiscard]] std::string concatenated(const std::vector<std::string>& parts);
[[nodiscard]] std::string repeated(std::string_view part, std::size_t times);

}  // namespace skein::test
