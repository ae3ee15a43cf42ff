// A fuzz target: a schema in JSON on the first line, a message on the rest. What the checker says while it
// parses must be what a look at the parsed document says.

#include "fuzz_input.hpp"

#include <skein/validation.hpp>

#include <boost/json/parse.hpp>

#include <algorithm>
#include <optional>
#include <stdexcept>

namespace {

namespace json = boost::json;

bool has_type(const json::value& what, std::string_view type) {
  if (type == "integer") return what.is_int64() || what.is_uint64();
  if (type == "number") return what.is_number();
  if (type == "string") return what.is_string();
  if (type == "boolean") return what.is_bool();
  if (type == "null") return what.is_null();
  return type == "array" ? what.is_array() : what.is_object();
}

std::size_t characters(const json::string& text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

bool equal(const json::value& a, const json::value& b) {
  if (!a.is_number() || !b.is_number()) return a == b;
  const auto as_long = [](const json::value& v) {
    return v.is_int64()    ? static_cast<long double>(v.get_int64())
           : v.is_uint64() ? static_cast<long double>(v.get_uint64())
                           : static_cast<long double>(v.get_double());
  };
  return as_long(a) == as_long(b);
}

/// Whether a value is as a schema says that has been loaded. Leaves out what depends on the last bit of a
/// double, and patterns; nothing if it meets one of those.
std::optional<bool> conforms(const json::value& what, const json::object& schema) {
  std::optional<bool> sure = true;
  if (const auto* type = schema.if_contains("type")) {
    const auto fits = [&what](const json::value& one) {
      return has_type(what, std::string_view{one.as_string()});
    };
    const bool any = type->is_array() ? std::any_of(type->get_array().begin(), type->get_array().end(), fits)
                                      : fits(*type);
    if (!any) return false;
  }
  if (const auto* list = schema.if_contains("enum")) {
    if (what.is_double()) sure.reset();
    const auto& all = list->get_array();
    if (sure &&
        std::none_of(all.begin(), all.end(), [&](const json::value& one) { return equal(one, what); }))
      return false;
  }
  if (what.is_number() && (schema.contains("minimum") || schema.contains("maximum"))) sure.reset();
  const auto count = [&schema](const char* name, std::size_t otherwise) {
    const auto* value = schema.if_contains(name);
    return value == nullptr ? otherwise : value->to_number<std::size_t>();
  };
  if (const auto* text = what.if_string()) {
    if (characters(*text) < count("minLength", 0) || characters(*text) > count("maxLength", std::size_t(-1)))
      return false;
    if (schema.contains("pattern")) sure.reset();
  }
  const auto inner = [&sure](const json::value& value, const json::value& of) {
    const auto result = conforms(value, of.get_object());
    if (!result) sure.reset();
    return result.value_or(true);
  };
  if (const auto* array = what.if_array()) {
    if (array->size() < count("minItems", 0) || array->size() > count("maxItems", std::size_t(-1)))
      return false;
    if (const auto* items = schema.if_contains("items")) {
      for (const auto& one : *array) {
        if (!inner(one, *items)) return false;
      }
    }
  }
  if (const auto* object = what.if_object()) {
    if (const auto* names = schema.if_contains("required")) {
      for (const auto& name : names->get_array()) {
        if (!object->contains(name.get_string())) return false;
      }
    }
    const auto* properties = schema.if_contains("properties");
    for (const auto& [name, value] : *object) {
      const auto* declared = properties == nullptr ? nullptr : properties->get_object().if_contains(name);
      const auto* more = schema.if_contains("additionalProperties");
      const auto* needed = schema.if_contains("required");
      const bool is_required =
          needed != nullptr &&
          std::count(needed->get_array().begin(), needed->get_array().end(), json::value(name)) != 0;
      if (declared != nullptr) {
        if (!inner(value, *declared)) return false;
      } else if (!is_required && more != nullptr && !more->get_bool()) {
        return false;
      }
    }
  }
  return sure;
}

json::value parsed(std::string_view text, boost::system::error_code& ec) {
  json::parse_options options;
  options.max_depth = 64;
  return json::parse({text.data(), text.size()}, ec, {}, options);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto lines = fuzz::lines(data, size, 2);
  const auto &declaration = lines[0], &text = lines[1];

  const skein::json_limits limits(0, 16, 200);
  const skein::json_validator anything{skein::schema::any(), limits};
  const auto plain = anything.check_text(text);
  boost::system::error_code ec;
  const auto document = parsed(text, ec);
  if (!plain) fuzz::require(!ec, "accepted what is no JSON");
  if (plain && plain->code == skein::validation_code::malformed) fuzz::require(!!ec, "refused what is JSON");
  fuzz::require(!plain || plain->pointer.size() <= 256, "a pointer is too long");

  boost::system::error_code schema_ec;
  const auto source = parsed(declaration, schema_ec);
  if (schema_ec) return 0;
  std::optional<skein::schema> schema;
  try {
    schema = skein::schema::from_json(source);
  } catch (const std::invalid_argument&) {
    return 0;
  }
  const auto error = skein::json_validator{*schema, limits}.check_text(text);
  fuzz::require(!(plain && !error), "a schema lets in what nothing may");
  if (plain) return 0;
  const auto expected = conforms(document, source.get_object());
  if (!error) fuzz::require(expected.value_or(true), "accepted what the schema excludes");
  if (error && expected) fuzz::require(!*expected, "refused what the schema allows");
  return 0;
}
