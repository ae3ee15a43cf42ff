#pragma once

// Reading requests, and what is wrong with them.

#include <skein/message.hpp>
#include <skein/message_store.hpp>
#include <skein/topics.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skein::detail {

namespace json = boost::json;

/// What a request is answered with that is not done.
class request_refusal : public std::runtime_error {
 public:
  /// What becomes of the connection after some of them.
  enum class weight : std::uint8_t {
    none,          ///< nothing
    fault,         ///< 1008 after the third
    subscription,  ///< 4503 after the third
  };
  request_refusal(const char* code, const std::string& text, weight counts = weight::none,
                  std::string field = {})
      : std::runtime_error(text), code_(code), field_(std::move(field)), weight_(counts) {}

  [[nodiscard]] const char* code() const noexcept { return code_; }
  [[nodiscard]] const std::string& field() const noexcept { return field_; }
  [[nodiscard]] weight counts() const noexcept { return weight_; }

 private:
  const char* code_;
  std::string field_;
  weight weight_;
};

[[nodiscard]] request_refusal bad_field(std::string_view name, const std::string& text);

/// The object that a message holds. Throws `request_refusal`.
[[nodiscard]] json::object parse_request(const message& received, std::size_t max_depth);
/// The text of a field's value as it was sent, of an object that `parse_request` accepts. Empty if there is
/// no such field.
[[nodiscard]] std::string_view raw_field(std::string_view object, std::string_view name);
/// Its id, if it has a good one. Throws `request_refusal` for another.
[[nodiscard]] const json::value* request_id(const json::object& request);

// Each throws `request_refusal` if the field is missing, where it must not be, or is of the wrong kind.

[[nodiscard]] std::string_view text_field(const json::object& request, std::string_view name);
/// A topic; with `patterns` a topic or pattern.
[[nodiscard]] std::string channel_field(const json::object& request, bool patterns);
[[nodiscard]] std::optional<topic_position> position_field(const json::object& request,
                                                           std::string_view name);
[[nodiscard]] std::size_t number_field(const json::object& request, std::string_view name, std::size_t most,
                                       std::size_t otherwise);
/// One id of a stored message, or a list of them.
[[nodiscard]] std::vector<stored_id> stored_ids(const json::object& request);

}  // namespace skein::detail
