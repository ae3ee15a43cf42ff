#include "security/jwt_json.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <utility>

namespace skein::detail {
namespace {

namespace json = boost::json;

/// What can be told of a JSON text by its punctuation. Exact if the text is JSON.
struct outline {
  std::size_t depth = 0;
  std::size_t elements = 0;
  std::size_t members = 0;
};

outline outline_of(std::string_view text) noexcept {
  outline found;
  std::size_t depth = 0;
  bool opened = false;  // nothing since the last bracket
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
    const bool closes = c == '}' || c == ']';
    if (opened && !closes) ++found.elements;
    opened = c == '{' || c == '[';
    if (opened) found.depth = std::max(found.depth, ++depth);
    if (closes && depth > 0) --depth;
    if (c == ',') ++found.elements;
    if (c == ':') ++found.members;
    if (c == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\') ++i;
      }
    }
  }
  return found;
}

std::size_t members_of(const json::value& value) noexcept {
  std::size_t count = 0;
  if (const auto* object = value.if_object()) {
    count = object->size();
    for (const auto& member : *object) count += members_of(member.value());
  } else if (const auto* array = value.if_array()) {
    for (const auto& element : *array) count += members_of(element);
  }
  return count;
}

}  // namespace

std::variant<json::object, json_fault> parse_object(std::string_view text, const json_bounds& bounds) {
  const auto found = outline_of(text);
  if (found.depth > bounds.depth) return json_fault::too_deep;
  if (found.elements > bounds.elements) return json_fault::too_large;
  json::error_code error;
  auto value = json::parse(text, error);
  if (error || !value.is_object()) return json_fault::not_an_object;
  // Of members with the same name the parser keeps one, so that it has fewer than there are colons.
  if (members_of(value) != found.members) return json_fault::duplicate_member;
  return std::move(value.get_object());
}

const json::string* string_member(const json::object& of, std::string_view name) noexcept {
  const auto* member = of.if_contains(name);
  return member == nullptr ? nullptr : member->if_string();
}

}  // namespace skein::detail
