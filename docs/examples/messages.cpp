#include "messages.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace skein::examples {
namespace {

constexpr std::size_t max_depth = 16;

const json::value& field(const json::object& request, std::string_view name) {
  const auto* found = request.if_contains(name);
  if (found == nullptr) throw bad_request("missing_field", "there is no \"" + std::string{name} + "\"");
  return *found;
}

[[noreturn]] void refuse(std::string_view name, const std::string& expected) {
  throw bad_request("bad_field", "\"" + std::string{name} + "\" must be " + expected);
}

}  // namespace

json::object parse_request(const message& what) {
  if (!what.is_text()) throw bad_request("not_text", "requests are text messages");
  json::parse_options limits;
  limits.max_depth = max_depth;
  json::error_code error;
  auto parsed = json::parse(what.payload(), error, {}, limits);
  if (error) throw bad_request("malformed_json", error.message());
  if (!parsed.is_object()) throw bad_request("malformed_json", "a request is a JSON object");
  return std::move(parsed.as_object());
}

std::string text_field(const json::object& request, std::string_view name, std::size_t max_bytes) {
  const auto* text = field(request, name).if_string();
  if (text == nullptr || text->empty() || text->size() > max_bytes) {
    refuse(name, "a text of 1 to " + std::to_string(max_bytes) + " bytes");
  }
  return {text->data(), text->size()};
}

std::int64_t number_field(const json::object& request, std::string_view name, std::int64_t least,
                          std::int64_t most) {
  const auto* number = field(request, name).if_int64();
  if (number == nullptr || *number < least || *number > most) {
    refuse(name, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return *number;
}

prepared_message json_message(const json::object& what) {
  return message::text(json::serialize(what));
}

}  // namespace skein::examples
