#include "protocol/request_fields.hpp"

#include "connection/request_id.hpp"

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

#include <algorithm>
#include <cmath>

namespace skein::detail {
namespace {

constexpr std::size_t max_epoch_bytes = 64;
constexpr std::size_t max_ids = 100;

const json::value& required(const json::object& request, std::string_view name) {
  const auto* const value = request.if_contains(name);
  if (!value) throw bad_field(name, "is missing");
  return *value;
}

std::uint64_t natural(const json::value& value, std::string_view name) {
  if (value.is_uint64()) return value.get_uint64();
  if (value.is_int64() && value.get_int64() >= 0) return static_cast<std::uint64_t>(value.get_int64());
  throw bad_field(name, "must be a whole number, 0 or more");
}

// What follows walks over text that has been parsed: it is JSON.

std::size_t behind_space(std::string_view text, std::size_t at) noexcept {
  const auto found = text.find_first_not_of(" \t\r\n", at);
  return found == std::string_view::npos ? text.size() : found;
}

/// Behind the string that begins at `at`.
std::size_t behind_string(std::string_view text, std::size_t at) noexcept {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at + 1;
}

/// Behind the value that begins at `at`.
std::size_t behind_value(std::string_view text, std::size_t at) noexcept {
  std::size_t depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = behind_string(text, at);
    } else if (c == '{' || c == '[') {
      ++depth;
      ++at;
      continue;
    } else if (c == '}' || c == ']') {
      --depth;
      ++at;
    } else if (depth == 0) {
      return std::min(text.find_first_of(",}] \t\r\n", at), text.size());
    } else {
      ++at;
      continue;
    }
    if (depth == 0) return at;
  }
  return at;
}

bool is_name(std::string_view quoted, std::string_view name) {
  if (quoted.find('\\') == std::string_view::npos) return quoted.substr(1, quoted.size() - 2) == name;
  return json::parse(json::string_view{quoted.data(), quoted.size()}) ==
         json::string_view{name.data(), name.size()};
}

/// Behind the digits that begin at `at`.
std::size_t behind_digits(std::string_view text, std::size_t at) noexcept {
  return std::min(text.find_first_not_of("0123456789", at), text.size());
}

/// Whether a double can hold each number. Boost.JSON reads 1e400 as infinity; passed on as it was written, it
/// would reach others as what is no number. Each is looked at, also one that another of the same name
/// follows.
bool all_finite(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"') {
      at = behind_string(text, at);
      continue;
    }
    if (c < '0' || c > '9') {
      ++at;
      continue;
    }
    const auto begun = at;
    at = behind_digits(text, at);
    if (at < text.size() && text[at] == '.') at = behind_digits(text, at + 1);
    if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
      at = behind_digits(text, text.find_first_of("0123456789", at));
    } else if (at - begun < 300) {
      continue;  // an integer of 300 digits has a double
    }
    const auto number = json::parse(json::string_view{text.data() + begun, at - begun});
    if (number.is_double() && !std::isfinite(number.get_double())) return false;
  }
  return true;
}

}  // namespace

std::string_view raw_field(std::string_view object, std::string_view name) {
  std::string_view found;
  auto at = behind_space(object, object.find('{') + 1);
  while (at < object.size() && object[at] == '"') {
    const auto key_end = behind_string(object, at);
    const bool wanted = is_name(object.substr(at, key_end - at), name);
    const auto value = behind_space(object, object.find(':', key_end) + 1);
    const auto end = behind_value(object, value);
    if (wanted) found = object.substr(value, end - value);  // the last one counts, as when it is parsed
    at = behind_space(object, end);
    if (at < object.size() && object[at] == ',') at = behind_space(object, at + 1);
  }
  return found;
}

request_refusal bad_field(std::string_view name, const std::string& text) {
  return {"bad_request", '"' + std::string{name} + "\" " + text, request_refusal::weight::fault,
          std::string{name}};
}

json::object parse_request(const message& received, std::size_t max_depth) {
  const auto bad = [](const std::string& text) {
    return request_refusal{"bad_json", text, request_refusal::weight::fault};
  };
  if (!received.is_text()) throw bad("the protocol's messages are text");
  json::parse_options options;
  options.max_depth = max_depth;
  boost::system::error_code invalid;
  auto value = json::parse(received.payload(), invalid, {}, options);
  if (invalid) throw bad("not JSON: " + invalid.message());
  if (!value.is_object()) throw bad("not a JSON object");
  if (!all_finite(received.payload())) throw bad("a number is too large");
  return std::move(value.get_object());
}

const json::value* request_id(const json::object& request) {
  const auto* const id = request.if_contains("id");
  if (id && !is_request_id(*id)) throw bad_field("id", "must be a number, or a string of at most 64 bytes");
  return id;
}

std::string_view text_field(const json::object& request, std::string_view name) {
  const auto& value = required(request, name);
  if (!value.is_string()) throw bad_field(name, "must be a string");
  return {value.get_string().data(), value.get_string().size()};
}

std::string channel_field(const json::object& request, bool patterns) {
  const auto name = text_field(request, "channel");
  if (patterns ? is_topic_pattern(name) : is_topic(name)) return std::string{name};
  throw request_refusal{"bad_channel", patterns ? "not a topic or a pattern of topics" : "not a topic",
                        request_refusal::weight::subscription};
}

std::optional<topic_position> position_field(const json::object& request, std::string_view name) {
  const auto* const value = request.if_contains(name);
  if (!value) return std::nullopt;
  if (!value->is_object()) throw bad_field(name, "must be an object with epoch and offset");
  const auto& fields = value->get_object();
  const auto epoch = text_field(fields, "epoch");
  if (epoch.size() > max_epoch_bytes) throw bad_field("epoch", "is longer than 64 bytes");
  return topic_position{std::string{epoch}, natural(required(fields, "offset"), "offset")};
}

std::size_t number_field(const json::object& request, std::string_view name, std::size_t most,
                         std::size_t otherwise) {
  const auto* const value = request.if_contains(name);
  if (!value) return otherwise;
  const auto number = natural(*value, name);
  if (number > most) throw bad_field(name, "must be at most " + std::to_string(most));
  return static_cast<std::size_t>(number);
}

std::vector<stored_id> stored_ids(const json::object& request) {
  const auto& given = required(request, "id");
  std::vector<stored_id> ids;
  if (!given.is_array()) {
    ids.push_back(natural(given, "id"));
    return ids;
  }
  if (given.get_array().size() > max_ids) throw bad_field("id", "is a list of more than 100");
  for (const auto& each : given.get_array()) ids.push_back(natural(each, "id"));
  return ids;
}

}  // namespace skein::detail
