// Schemas that are written as JSON. What is not understood is an error here, when the schema is loaded: a
// keyword that is silently ignored would be a check that somebody believes in.

#include "security/schema_node.hpp"

#include <skein/validation.hpp>

#include <boost/json/object.hpp>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace skein {
namespace {

namespace json = boost::json;
using detail::schema_node;

constexpr std::size_t max_nesting = 64;

struct type_name {
  std::string_view name;
  std::uint8_t types;
};
constexpr std::array<type_name, 7> type_names{{{"null", detail::json_null},
                                               {"boolean", detail::json_boolean},
                                               {"integer", detail::json_integer},
                                               {"number", detail::json_number},
                                               {"string", detail::json_text},
                                               {"array", detail::json_array},
                                               {"object", detail::json_object}}};

/// Keywords, and the types that each has an effect on.
struct keyword {
  std::string_view name;
  std::uint8_t types;
};
constexpr std::array<keyword, 17> keywords{{{"type", detail::json_anything},
                                            {"enum", detail::json_anything},
                                            {"title", detail::json_anything},
                                            {"description", detail::json_anything},
                                            {"$comment", detail::json_anything},
                                            {"$schema", detail::json_anything},
                                            {"properties", detail::json_object},
                                            {"required", detail::json_object},
                                            {"additionalProperties", detail::json_object},
                                            {"items", detail::json_array},
                                            {"minItems", detail::json_array},
                                            {"maxItems", detail::json_array},
                                            {"minimum", detail::json_number},
                                            {"maximum", detail::json_number},
                                            {"minLength", detail::json_text},
                                            {"maxLength", detail::json_text},
                                            {"pattern", detail::json_text}}};

/// Reads one schema; `where` is the path to it, for messages.
class reader {
 public:
  reader(const json::value& source, std::string where, std::size_t nesting)
      : where_(std::move(where)), nesting_(nesting) {
    if (nesting > max_nesting) fail("the schema is nested too deeply");
    if (!source.is_object()) fail("a schema must be an object");
    source_ = &source.get_object();
  }

  [[nodiscard]] std::shared_ptr<schema_node> read() {
    auto node = std::make_shared<schema_node>();
    node->types = read_types();
    for (const auto& [name, value] : *source_) {
      const auto known =
          std::find_if(keywords.begin(), keywords.end(),
                       [key = std::string_view{name}](const keyword& one) { return one.name == key; });
      if (known == keywords.end()) fail("the keyword \"" + std::string{name} + "\" is not supported");
      if ((known->types & node->types) == 0 || (known->types != detail::json_anything && !find("type")))
        fail("\"" + std::string{name} + "\" has no effect on this type");
    }
    if (const auto* listed = find("enum")) node->listed = read_enum(*listed, node->types);
    read_numbers(*node);
    read_texts(*node);
    read_items(*node);
    read_fields(*node);
    if (!source_->empty() && !find("type") && !find("enum")) fail("a schema needs \"type\" or \"enum\"");
    attempt([&] { node->check_bounds(); });
    return node;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw std::invalid_argument("the schema at \"" + where_ + "\" cannot be used: " + why);
  }
  /// Says where, if `what` throws.
  template <class What>
  void attempt(What&& what) const {
    try {
      what();
    } catch (const std::invalid_argument& error) {
      fail(error.what());
    }
  }
  [[nodiscard]] const json::value* find(std::string_view name) const {
    return source_->if_contains(json::string_view{name.data(), name.size()});
  }
  [[nodiscard]] std::shared_ptr<const schema_node> read_inner(const json::value& source,
                                                              const std::string& step) const {
    return reader{source, where_ + "/" + step, nesting_ + 1}.read();
  }
  [[nodiscard]] std::string read_string(const json::value& source, const char* what) const {
    if (!source.is_string()) fail(std::string{what} + " must be a string");
    return std::string{source.get_string().data(), source.get_string().size()};
  }

  [[nodiscard]] std::uint8_t read_types() const {
    const auto* source = find("type");
    if (source == nullptr) return detail::json_anything;
    const auto named = [this](const json::value& one) {
      const auto text = read_string(one, "\"type\"");
      for (const auto& [name, types] : type_names) {
        if (name == text) return types;
      }
      fail("there is no type \"" + text + "\"");
    };
    if (!source->is_array()) return named(*source);
    unsigned all = 0;
    for (const auto& one : source->get_array()) all |= named(one);
    if (all == 0) fail("\"type\" names no type");
    return static_cast<std::uint8_t>(all);
  }

  [[nodiscard]] detail::listed_values read_enum(const json::value& source, unsigned types) const {
    if (!source.is_array() || source.get_array().empty())
      fail("\"enum\" must be an array of one value or more");
    detail::listed_values listed;
    for (const auto& one : source.get_array()) {
      unsigned type = detail::json_text;
      if (one.is_string()) {
        listed.texts.push_back(read_string(one, "a value"));
      } else if (one.is_number()) {
        type = one.is_double() ? detail::json_fraction : detail::json_integer;
        listed.numbers.push_back(detail::exact(one));
      } else if (one.is_bool()) {
        type = detail::json_boolean;
        (one.get_bool() ? listed.has_true : listed.has_false) = true;
      } else if (one.is_null()) {
        type = detail::json_null;
        listed.has_null = true;
      } else {
        fail("\"enum\" can list strings, numbers, booleans and null");
      }
      if ((type & types) == 0) fail("\"enum\" lists a value that the type excludes");
    }
    std::sort(listed.texts.begin(), listed.texts.end());
    return listed;
  }

  [[nodiscard]] std::size_t read_count(const json::value& source, const char* what) const {
    std::size_t result = 0;
    if (const auto* number = source.if_int64(); number != nullptr && *number >= 0) {
      result = static_cast<std::size_t>(*number);
    } else if (const auto* large = source.if_uint64()) {
      result = static_cast<std::size_t>(*large);
    } else {
      fail(std::string{what} + " must be a whole number from 0");
    }
    return result;
  }
  void read_bounds(detail::length_bounds& bounds, const char* fewest, const char* most) const {
    if (const auto* low = find(fewest)) bounds.fewest = read_count(*low, fewest);
    if (const auto* high = find(most)) bounds.most = read_count(*high, most);
  }

  void read_numbers(schema_node& node) const {
    const auto* low = find("minimum");
    const auto* high = find("maximum");
    if ((low != nullptr && !low->is_number()) || (high != nullptr && !high->is_number()))
      fail("\"minimum\" and \"maximum\" must be numbers");
    attempt([&] {
      if (low != nullptr) node.set_minimum(*low);
      if (high != nullptr) node.set_maximum(*high);
    });
  }

  void read_texts(schema_node& node) const {
    read_bounds(node.characters, "minLength", "maxLength");
    if (const auto* source = find("pattern")) {
      const auto expression = read_string(*source, "\"pattern\"");
      attempt([&] { node.pattern = std::make_shared<const detail::text_pattern>(expression); });
    }
  }

  void read_items(schema_node& node) const {
    read_bounds(node.item_count, "minItems", "maxItems");
    if (const auto* source = find("items")) node.items = read_inner(*source, "items");
  }

  void read_fields(schema_node& node) const {
    if (const auto* source = find("additionalProperties")) {
      if (!source->is_bool()) fail("\"additionalProperties\" must be true or false");
      node.is_closed = !source->get_bool();
    }
    if (const auto* source = find("properties")) {
      if (!source->is_object()) fail("\"properties\" must be an object");
      for (const auto& [key, value] : source->get_object()) {
        const std::string name{key.data(), key.size()};
        auto inner = read_inner(value, "properties/" + name);
        attempt([&] { node.add({name, std::move(inner), false}); });
      }
    }
    const auto* source = find("required");
    if (source == nullptr) return;
    if (!source->is_array()) fail("\"required\" must be an array of names");
    for (const auto& one : source->get_array()) {
      const auto name = read_string(one, "a name in \"required\"");
      const auto at = node.find(name);
      if (at != node.fields.size()) {
        if (node.fields[at].is_required) fail("\"required\" names \"" + name + "\" twice");
        node.fields[at].is_required = true;
      } else if (node.is_closed) {
        fail("\"" + name + "\" is required and not allowed");
      } else {
        attempt([&] { node.add({name, std::make_shared<const schema_node>(), true}); });
      }
    }
  }

  const json::object* source_ = nullptr;
  std::string where_;
  std::size_t nesting_;
};

}  // namespace

schema schema::from_json(const json::value& declaration) {
  return schema{std::make_unique<schema_node>(*reader{declaration, "", 0}.read())};
}

}  // namespace skein
