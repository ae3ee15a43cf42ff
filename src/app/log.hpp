#pragma once

// The log: lines on standard error, each safe to print whatever a peer put into it.

#include <skein/config.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace skein::app {

/// The text on one line: control characters and bytes that are not UTF-8 become `\xNN`, and what is longer
/// than `limit` bytes is cut, with `...` in its place.
[[nodiscard]] std::string one_line(std::string_view text, std::size_t limit = 1'000);

/// Writes lines to standard error, with time and level. Thread-safe.
[[nodiscard]] std::function<void(log_level, std::string_view)> standard_error_log();

}  // namespace skein::app
