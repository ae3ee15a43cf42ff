#pragma once

// What a schema says, as the checker reads it.

#include "security/text_pattern.hpp"

#include <boost/json/value.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skein::detail {

/// Bits of the types a value may have. A number without fraction and exponent that fits into 64 bits is an
/// integer, every other number is a fraction.
enum json_types : std::uint8_t {
  json_null = 1,
  json_boolean = 2,
  json_integer = 4,
  json_fraction = 8,
  json_number = json_integer | json_fraction,
  json_text = 16,
  json_array = 32,
  json_object = 64,
  json_anything = 127,
};

/// Holds every signed and unsigned integer of 64 bits and every double exactly, so that they compare exactly.
using exact_number = long double;
static_assert(std::numeric_limits<exact_number>::digits >= 64);

[[nodiscard]] inline exact_number exact(const boost::json::value& number) {
  if (const auto* i = number.if_int64()) return static_cast<exact_number>(*i);
  if (const auto* u = number.if_uint64()) return static_cast<exact_number>(*u);
  return static_cast<exact_number>(number.as_double());
}

struct number_bound {
  exact_number value{};
  std::string text;  // as it was declared
};

struct length_bounds {
  std::size_t fewest = 0;
  std::size_t most = std::numeric_limits<std::size_t>::max();

  [[nodiscard]] bool allow(std::size_t size) const noexcept { return size >= fewest && size <= most; }
};

/// The values of `enum`.
struct listed_values {
  std::vector<std::string> texts;  // sorted
  std::vector<exact_number> numbers;
  bool has_null = false;
  bool has_true = false;
  bool has_false = false;
};

struct schema_node {
  struct field {
    std::string name;
    std::shared_ptr<const schema_node> what;
    bool is_required = false;
  };
  static constexpr std::size_t max_fields = 256;
  static constexpr std::size_t max_pattern_bytes = 4096;

  std::uint8_t types = json_anything;
  bool is_closed = false;
  std::vector<field> fields;                 // sorted by name
  std::shared_ptr<const schema_node> items;  // empty: anything
  length_bounds characters;
  length_bounds item_count;
  std::optional<number_bound> minimum, maximum;
  std::shared_ptr<const text_pattern> pattern;
  std::optional<listed_values> listed;

  /// Where a field is; `fields.size()` if there is none of this name.
  [[nodiscard]] std::size_t find(std::string_view name) const noexcept {
    std::size_t low = 0;
    std::size_t high = fields.size();
    while (low < high) {
      const auto middle = low + (high - low) / 2;
      const auto order = fields[middle].name.compare(name);
      if (order == 0) return middle;
      (order < 0 ? low : high) = order < 0 ? middle + 1 : middle;
    }
    return fields.size();
  }

  /// Throws `std::invalid_argument`.
  void add(field one);
  void set_minimum(const boost::json::value& number);
  void set_maximum(const boost::json::value& number);
  /// Throws if a minimum is above its maximum.
  void check_bounds() const;
};

}  // namespace skein::detail
