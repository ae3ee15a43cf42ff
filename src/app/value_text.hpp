#pragma once

// Durations, sizes and counts as people write them in an option: `25s`, `64KiB`, `1000`.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skein::app {

/// A whole number and a unit: ns, us, ms, s, m, h. A bare number has no meaning and gives nothing.
[[nodiscard]] std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);
[[nodiscard]] std::string format_duration(std::chrono::nanoseconds value);

/// A whole number of bytes, or of k, KiB, M, MiB, G, GiB, each 1,024 times the one before; B is bytes.
[[nodiscard]] std::optional<std::uint64_t> parse_bytes(std::string_view text);
[[nodiscard]] std::string format_bytes(std::uint64_t value);

/// Decimal digits and nothing else.
[[nodiscard]] std::optional<std::uint64_t> parse_count(std::string_view text);

/// true, on, 1; false, off, 0.
[[nodiscard]] std::optional<bool> parse_switch(std::string_view text);

}  // namespace skein::app
