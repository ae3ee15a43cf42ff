#include "security/json_checker.hpp"

#include <skein/validation.hpp>

#include <boost/json/basic_parser_impl.hpp>

#include <stdexcept>
#include <utility>

namespace skein {
namespace {

using detail::json_checker;

validation_error too_large(std::size_t limit) {
  return {validation_code::too_large, {}, "a message may have " + std::to_string(limit) + " bytes"};
}

std::optional<validation_error> parse(const detail::schema_node& schema, const json_limits& limits,
                                      std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = limits.max_depth + 1;  // the checker stops first, and says where
  boost::json::basic_parser<json_checker> parser{options, schema, limits};
  boost::system::error_code ec;
  const auto read = parser.write_some(false, text.data(), text.size(), ec);
  auto& checker = parser.handler();
  if (checker.error()) return std::move(checker.error());
  if (!ec && read == text.size()) return std::nullopt;
  return validation_error{validation_code::malformed, checker.enclosing(),
                          "this is not JSON at byte " + std::to_string(read)};
}

/// What `judge` says; if there is no memory, that.
template <class Judge>
std::optional<validation_error> without_throwing(Judge&& judge) noexcept {
  try {
    return judge();
  } catch (...) {
    return validation_error{validation_code::no_memory, {}, {}};
  }
}

}  // namespace

std::string_view name(validation_code code) noexcept {
  switch (code) {
    case validation_code::not_text:
      return "not_text";
    case validation_code::not_binary:
      return "not_binary";
    case validation_code::too_large:
      return "too_large";
    case validation_code::malformed:
      return "malformed";
    case validation_code::too_deep:
      return "too_deep";
    case validation_code::too_many_elements:
      return "too_many_elements";
    case validation_code::duplicate_field:
      return "duplicate_field";
    case validation_code::missing_field:
      return "missing_field";
    case validation_code::unknown_field:
      return "unknown_field";
    case validation_code::wrong_type:
      return "wrong_type";
    case validation_code::out_of_range:
      return "out_of_range";
    case validation_code::wrong_length:
      return "wrong_length";
    case validation_code::not_allowed:
      return "not_allowed";
    case validation_code::pattern_mismatch:
      return "pattern_mismatch";
    case validation_code::no_memory:
      return "no_memory";
  }
  return "unknown";
}

std::optional<validation_error> payload_validator::check(const message& what) const noexcept {
  return without_throwing([&]() -> std::optional<validation_error> {
    if (kind_ == payload_kind::text && !what.is_text())
      return validation_error{validation_code::not_text, {}, "only text messages are accepted here"};
    if (kind_ == payload_kind::binary && !what.is_binary())
      return validation_error{validation_code::not_binary, {}, "only binary messages are accepted here"};
    if (max_bytes_ != 0 && what.size() > max_bytes_) return too_large(max_bytes_);
    return std::nullopt;
  });
}

json_validator::json_validator(const schema& what, const json_limits& limits)
    : schema_(what.node()), limits_(limits) {
  if (limits.max_depth == 0 || limits.max_depth > 256)
    throw std::invalid_argument("max_depth must be from 1 to 256, not " + std::to_string(limits.max_depth));
  if (limits.max_elements == 0) throw std::invalid_argument("max_elements must be at least 1");
}

std::optional<validation_error> json_validator::check(const message& what) const noexcept {
  if (what.is_text()) return check_text(what.payload());
  return without_throwing([]() -> std::optional<validation_error> {
    return validation_error{validation_code::not_text, {}, "only text messages are accepted here"};
  });
}

std::optional<validation_error> json_validator::check_text(std::string_view text) const noexcept {
  return without_throwing([&]() -> std::optional<validation_error> {
    if (limits_.max_bytes != 0 && text.size() > limits_.max_bytes) return too_large(limits_.max_bytes);
    return parse(*schema_, limits_, text);
  });
}

}  // namespace skein
