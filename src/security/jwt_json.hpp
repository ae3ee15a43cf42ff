#pragma once

// JSON as tokens and key sets may have it: an object (RFC 8259), bounded, in which nothing is said twice.

#include <boost/json/object.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

namespace skein::detail {

enum class json_fault : std::uint8_t {
  not_an_object = 1,  ///< not JSON, or not an object
  too_deep,
  too_large,
  duplicate_member,  ///< at any depth; `"a"` and `"\u0061"` are the same
};

struct json_bounds {
  std::size_t depth;     ///< objects and arrays within each other; at most 32
  std::size_t elements;  ///< members of objects and elements of arrays, at all depths
};

/// Looks at the bounds before it takes memory.
[[nodiscard]] std::variant<boost::json::object, json_fault> parse_object(std::string_view text,
                                                                         const json_bounds& bounds);

/// The string that a member is; null if it is missing or something else.
[[nodiscard]] const boost::json::string* string_member(const boost::json::object& of,
                                                       std::string_view name) noexcept;

}  // namespace skein::detail
