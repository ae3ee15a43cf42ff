#pragma once

// Checking what arrives before a handler sees it. A `message_validator` looks at one message and says what is
// wrong with it, if anything. `payload_validator` checks kind and size; `json_validator` parses JSON against
// a `schema` without building a document, and stops at the first thing that is wrong, in the order of the
// text.
//
// Validators are immutable once made: one serves every connection of a route, on any thread.

#include <skein/message.hpp>

#include <boost/json/value.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skein {

/// What is wrong with a message.
enum class validation_code : std::uint8_t {
  not_text = 1,       ///< a binary message where text is wanted
  not_binary,         ///< a text message where binary is wanted
  too_large,          ///< the message has too many bytes
  malformed,          ///< not JSON (RFC 8259), not UTF-8, or half of a surrogate pair
  too_deep,           ///< arrays and objects are nested too deeply
  too_many_elements,  ///< too many fields of objects and items of arrays, in the whole message
  duplicate_field,    ///< an object has a field of the same name twice
  missing_field,      ///< a field that is required is not there
  unknown_field,      ///< a field that the object may not have
  wrong_type,         ///< a value of another type
  out_of_range,       ///< a number below the minimum, above the maximum, or beyond a double
  wrong_length,       ///< a text with too few or too many characters, an array with too few or too many items
  not_allowed,        ///< a value that is not among those that are listed
  pattern_mismatch,   ///< a text that is not written as the pattern says
  no_memory,          ///< there was no memory to check with
};
/// `missing_field`, for machines.
[[nodiscard]] std::string_view name(validation_code code) noexcept;

/// `pointer` is a JSON Pointer (RFC 6901) to the value that is wrong; empty for the whole message, the place
/// of the missing field for `missing_field`, and where the text ends to make sense for `malformed`. It may
/// contain what the peer sent. A pointer past 256 bytes ends early, at a value that contains the one that is
/// wrong. `text` is a sentence for people and contains nothing of the message.
struct validation_error {
  validation_code code{};
  std::string pointer;
  std::string text;

  validation_error() {}  // user-provided: this type may be made inside co_await expressions
  validation_error(validation_code why, std::string where, std::string sentence)
      : code(why), pointer(std::move(where)), text(std::move(sentence)) {}

  friend bool operator==(const validation_error&, const validation_error&) = default;
};

/// Judges messages. Called on any thread, on several at once, and never throws.
class message_validator {
 public:
  message_validator() = default;
  message_validator(const message_validator&) = delete;
  message_validator& operator=(const message_validator&) = delete;
  virtual ~message_validator() = default;

  /// What is wrong with the message; nothing if it may pass.
  [[nodiscard]] virtual std::optional<validation_error> check(const message& what) const noexcept = 0;
};

enum class payload_kind : std::uint8_t { any, text, binary };

/// Checks kind and size alone.
class payload_validator final : public message_validator {
 public:
  /// `max_bytes` 0: no limit.
  explicit payload_validator(payload_kind kind, std::size_t max_bytes = 0) noexcept
      : kind_(kind), max_bytes_(max_bytes) {}

  [[nodiscard]] std::optional<validation_error> check(const message& what) const noexcept override;

 private:
  payload_kind kind_;
  std::size_t max_bytes_;
};

namespace detail {
struct schema_node;
}

/// What a JSON value must be: a declaration, made in code or read from JSON. A value; copies are independent,
/// and one that was moved from can only be assigned to or destroyed. Functions that do not fit the type
/// (`range` on a text) and impossible limits throw `std::invalid_argument`.
///
///     schema::object()
///         .required("symbol", schema::text().pattern("^[A-Z]{1,16}$"))
///         .required("side", schema::text().one_of({"buy", "sell"}))
///         .required("quantity", schema::integer().range(1, 1'000'000))
///         .closed()
class schema {
 public:
  /// Anything.
  [[nodiscard]] static schema any();
  [[nodiscard]] static schema null();
  [[nodiscard]] static schema boolean();
  /// A number without fraction and exponent that fits into 64 bits, signed or unsigned: what a handler can
  /// read as an integer. So 1.0 and 1e3 are none, unlike in JSON Schema.
  [[nodiscard]] static schema integer();
  [[nodiscard]] static schema number();
  [[nodiscard]] static schema text();
  [[nodiscard]] static schema array(const schema& items);
  [[nodiscard]] static schema object();

  /// Reads a subset of JSON Schema: `type` (a name or an array of names), `properties`, `required`,
  /// `additionalProperties` (true or false), `items`, `minItems`, `maxItems`, `minimum`, `maximum`,
  /// `minLength`, `maxLength`, `pattern`, `enum` (of texts, numbers, booleans and null); `title`,
  /// `description`, `$comment` and
  /// `$schema` are allowed and mean nothing. Throws `std::invalid_argument` naming the place and what is
  /// wrong with it: any other keyword, a keyword that has no effect on the type, a keyword of the wrong form,
  /// a schema without `type` or `enum` that is not empty.
  [[nodiscard]] static schema from_json(const boost::json::value& declaration);

  schema(const schema& other);
  schema(schema&& other) noexcept;
  schema& operator=(schema other) noexcept;
  ~schema();

  /// A field that an object must have. At most 256 fields, each declared once.
  schema& required(std::string name, const schema& what);
  /// A field that an object may have.
  schema& optional(std::string name, const schema& what);
  /// No other fields than those that are declared.
  schema& closed();

  /// The least and the greatest, both allowed. Integers are compared exactly, also with numbers that have a
  /// fraction.
  template <std::integral Low, std::integral High>
  requires(!std::same_as<Low, bool> && !std::same_as<High, bool>) schema& range(Low low, High high) {
    return set_range(boost::json::value(low), boost::json::value(high));
  }
  schema& range(double low, double high) {
    return set_range(boost::json::value(low), boost::json::value(high));
  }

  /// The fewest and the most characters (code points) of a text, or items of an array.
  schema& length(std::size_t fewest, std::size_t most);

  /// A regular expression that a part of the text must match, or all of it between ^ and $: see
  /// docs/reference/validation.md for what it may consist of. It is matched in time proportional to the text,
  /// of which there may be 4,096 bytes.
  schema& pattern(std::string_view expression);

  /// The values that are allowed.
  schema& one_of(const std::vector<std::string>& texts);

  /// Or null.
  schema& or_null();

  /// For the library's own use.
  [[nodiscard]] std::shared_ptr<const detail::schema_node> node() const;

 private:
  explicit schema(std::unique_ptr<detail::schema_node> node) noexcept;
  schema& set_range(const boost::json::value& low, const boost::json::value& high);
  schema& add(std::string name, const schema& what, bool is_required);

  std::unique_ptr<detail::schema_node> node_;
};

/// What a message in JSON may be, whatever it means. All of it is enforced while parsing. A class with a
/// constructor, so that it can be made inside co_await expressions.
struct json_limits {
  std::size_t max_bytes = 64 * 1024;  ///< of the message; 0: no limit but the connection's
  std::size_t max_depth = 16;         ///< of arrays and objects in each other; from 1 to 256
  std::size_t max_elements = 1'000;   ///< fields of objects and items of arrays, in all; at least 1

  json_limits() {}
  json_limits(std::size_t bytes, std::size_t depth, std::size_t elements)
      : max_bytes(bytes), max_depth(depth), max_elements(elements) {}
};

/// Checks that a text message is JSON within the limits and as the schema says.
class json_validator final : public message_validator {
 public:
  /// Throws `std::invalid_argument` naming the limit that is not allowed.
  explicit json_validator(const schema& what, const json_limits& limits = {});

  [[nodiscard]] std::optional<validation_error> check(const message& what) const noexcept override;
  /// The same for a text that is not in a message.
  [[nodiscard]] std::optional<validation_error> check_text(std::string_view text) const noexcept;

 private:
  std::shared_ptr<const detail::schema_node> schema_;
  json_limits limits_;
};

}  // namespace skein
