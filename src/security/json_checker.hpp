#pragma once

// Checks a text against a schema while Boost.JSON's parser reads it: no document is built, and whatever is
// wrong stops the parser at once.

#include "security/schema_node.hpp"

#include <skein/error.hpp>
#include <skein/validation.hpp>

#include <boost/json/error.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skein::detail {

/// A handler for `boost::json::basic_parser` (its documentation says what is called when). Throws nothing but
/// `std::bad_alloc`.
class json_checker {
 public:
  static constexpr std::size_t max_object_size = std::size_t(-1);
  static constexpr std::size_t max_array_size = std::size_t(-1);
  static constexpr std::size_t max_key_size = std::size_t(-1);
  static constexpr std::size_t max_string_size = std::size_t(-1);
  using text_part = boost::json::string_view;

  json_checker(const schema_node& root, const json_limits& limits) : root_(root), limits_(limits) {
    frames_.reserve(std::min<std::size_t>(limits.max_depth, 16));
  }

  /// What was found; nothing if the parser stopped by itself, or not at all.
  [[nodiscard]] std::optional<validation_error>& error() noexcept { return error_; }
  /// The innermost array or object that is open.
  [[nodiscard]] std::string enclosing() const { return pointer(frames_.empty() ? 0 : frames_.size() - 1); }

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_comment_part(text_part, error_code&) { return true; }
  bool on_comment(text_part, error_code&) { return true; }

  bool on_object_begin(error_code& ec) { return open(json_object, ec); }
  bool on_object_end(std::size_t, error_code& ec);
  bool on_array_begin(error_code& ec) { return open(json_array, ec); }
  bool on_array_end(std::size_t size, error_code& ec);

  bool on_key_part(text_part part, std::size_t, error_code&) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool on_key(text_part part, std::size_t size, error_code& ec) { return on_field(complete(part, size), ec); }
  bool on_string_part(text_part part, std::size_t, error_code&) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool on_string(text_part part, std::size_t size, error_code& ec) {
    const auto* node = begin_value(json_text, ec);
    return node != nullptr && check_text(*node, complete(part, size), ec);
  }

  bool on_number_part(text_part, error_code&) { return true; }
  bool on_int64(std::int64_t value, text_part, error_code& ec) {
    const auto* node = begin_value(json_integer, ec);
    return node != nullptr && check_number(*node, static_cast<exact_number>(value), ec);
  }
  bool on_uint64(std::uint64_t value, text_part, error_code& ec) {
    const auto* node = begin_value(json_integer, ec);
    return node != nullptr && check_number(*node, static_cast<exact_number>(value), ec);
  }
  bool on_double(double value, text_part text, error_code& ec);

  bool on_bool(bool value, error_code& ec) {
    const auto* node = begin_value(json_boolean, ec);
    if (node == nullptr) return false;
    if (node->listed && !(value ? node->listed->has_true : node->listed->has_false)) return fail_listed(ec);
    return true;
  }
  bool on_null(error_code& ec) {
    const auto* node = begin_value(json_null, ec);
    if (node == nullptr) return false;
    return !node->listed || node->listed->has_null ? true : fail_listed(ec);
  }

 private:
  /// A field's name that the schema does not know: where it is in `names_`.
  struct unknown_name {
    std::size_t at;
    std::size_t size;
  };
  /// An array or object that is open.
  struct frame {
    frame(const schema_node& what, bool array) : node(&what), is_array(array) {}

    const schema_node* node;
    const schema_node* child = nullptr;  // what the value of the field that is read must be
    std::string_view known;              // the name of that field, if the schema has it
    unknown_name unknown{};              // and if not
    std::size_t unknown_from = 0;        // what was in `unknown_` and in `names_` before
    std::size_t names_from = 0;
    std::size_t count = 0;  // of an array's items that have begun
    position_set seen;      // fields of the schema
    bool is_array;
    bool is_known = false;
  };

  static const schema_node& anything() {
    static const schema_node node;
    return node;
  }

  /// All of a text that came in parts.
  std::string_view complete(text_part last, std::size_t size) {
    if (last.size() == size) return {last.data(), last.size()};
    text_.append(last.data(), last.size());
    gathered_.swap(text_);
    text_.clear();
    return gathered_;
  }
  [[nodiscard]] std::string_view name_of(const unknown_name& one) const {
    return std::string_view{names_}.substr(one.at, one.size);
  }

  /// Counts a value and says what it must be; nothing: it is wrong.
  const schema_node* begin_value(json_types type, error_code& ec);
  bool open(json_types type, error_code& ec);
  bool on_field(std::string_view name, error_code& ec);
  bool check_text(const schema_node& node, std::string_view text, error_code& ec);
  bool check_number(const schema_node& node, exact_number value, error_code& ec);

  /// A pointer to the field or item that is read in each of the first `depth` frames.
  [[nodiscard]] std::string pointer(std::size_t depth) const;
  bool fail(validation_code code, std::string where, std::string text, error_code& ec);
  bool fail_here(validation_code code, std::string text, error_code& ec) {
    return fail(code, pointer(frames_.size()), std::move(text), ec);
  }
  bool fail_listed(error_code& ec) {
    return fail_here(validation_code::not_allowed, "this is not among the values that are allowed", ec);
  }

  const schema_node& root_;
  const json_limits& limits_;
  std::vector<frame> frames_;
  std::vector<unknown_name> unknown_;  // of all open objects, the innermost last
  std::string names_;                  // what they are called
  std::string text_;                   // of a key or text that comes in parts
  std::string gathered_;
  std::size_t elements_ = 0;
  std::optional<validation_error> error_;
};

}  // namespace skein::detail
