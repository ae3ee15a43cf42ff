#pragma once

// The `id` by which who sent a request knows its answer.

#include <boost/json/object.hpp>

#include <cmath>
#include <cstddef>

namespace skein::detail {

constexpr std::size_t max_request_id_bytes = 64;

/// Whether an answer may carry it: a number that JSON can say, or a short string.
inline bool is_request_id(const boost::json::value& id) noexcept {
  if (const auto* const number = id.if_double()) return std::isfinite(*number);
  if (const auto* const text = id.if_string()) return text->size() <= max_request_id_bytes;
  return id.is_number();
}

}  // namespace skein::detail
