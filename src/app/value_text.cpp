#include "app/value_text.hpp"

#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace skein::app {
namespace {

struct unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array<unit, 6> duration_units{{{"h", 3'600'000'000'000},
                                              {"m", 60'000'000'000},
                                              {"s", 1'000'000'000},
                                              {"ms", 1'000'000},
                                              {"us", 1'000},
                                              {"ns", 1}}};

// The first of each size is the one that is printed.
constexpr std::array<unit, 10> byte_units{{{"GiB", 1ULL << 30},
                                           {"MiB", 1ULL << 20},
                                           {"KiB", 1ULL << 10},
                                           {"B", 1},
                                           {"", 1},
                                           {"G", 1ULL << 30},
                                           {"M", 1ULL << 20},
                                           {"K", 1ULL << 10},
                                           {"k", 1ULL << 10},
                                           {"m", 1ULL << 20}}};

template <std::size_t N>
std::optional<std::uint64_t> parse(std::string_view text, const std::array<unit, N>& units,
                                   std::uint64_t limit) {
  const auto digits = text.substr(0, text.find_first_not_of("0123456789"));
  const auto number = parse_count(digits);
  if (!number) return std::nullopt;
  for (const auto& candidate : units)
    if (candidate.name == text.substr(digits.size())) {
      if (*number > limit / candidate.factor) return std::nullopt;
      return *number * candidate.factor;
    }
  return std::nullopt;
}

template <std::size_t N>
std::string format(std::uint64_t value, const std::array<unit, N>& units, std::string_view unit_of_zero) {
  if (value == 0) return "0" + std::string{unit_of_zero};
  for (const auto& candidate : units)
    if (value % candidate.factor == 0)
      return std::to_string(value / candidate.factor) + std::string{candidate.name};
  return {};
}

}  // namespace

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  const auto value = parse(text, duration_units, std::numeric_limits<std::int64_t>::max());
  if (!value) return std::nullopt;
  return std::chrono::nanoseconds{static_cast<std::int64_t>(*value)};
}

std::string format_duration(std::chrono::nanoseconds value) {
  return format(static_cast<std::uint64_t>(value.count()), duration_units, "s");
}

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  return parse(text, byte_units, std::numeric_limits<std::uint64_t>::max());
}

std::string format_bytes(std::uint64_t value) {
  return format(value, byte_units, "");
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<bool> parse_switch(std::string_view text) {
  if (text == "true" || text == "on" || text == "1") return true;
  if (text == "false" || text == "off" || text == "0") return false;
  return std::nullopt;
}

}  // namespace skein::app
