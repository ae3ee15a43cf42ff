#include "security/json_checker.hpp"

namespace skein::detail {
namespace {

constexpr std::size_t max_pointer = 256;

/// Appends a step of a JSON Pointer (RFC 6901 section 3). False: the pointer would become too long.
bool append_step(std::string& pointer, std::string_view step) {
  if (pointer.size() + step.size() + 1 > max_pointer) return false;
  const auto before = pointer.size();
  pointer += '/';
  for (const char c : step) {
    if (c == '~') {
      pointer += "~0";
    } else if (c == '/') {
      pointer += "~1";
    } else {
      pointer += c;
    }
  }
  if (pointer.size() <= max_pointer) return true;
  pointer.resize(before);
  return false;
}

std::size_t code_points(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

/// "must be an integer or null"
std::string must_be(unsigned types) {
  constexpr std::array<std::pair<unsigned, std::string_view>, 7> names{{{json_object, "an object"},
                                                                        {json_array, "an array"},
                                                                        {json_text, "text"},
                                                                        {json_fraction, "a number"},
                                                                        {json_integer, "an integer"},
                                                                        {json_boolean, "true or false"},
                                                                        {json_null, "null"}}};
  std::string text = "this must be ";
  bool is_first = true;
  for (const auto& [type, words] : names) {
    const bool covered = type == json_integer && (types & json_fraction) != 0;
    if ((types & type) == 0 || covered) continue;
    text += is_first ? "" : " or ";
    text += words;
    is_first = false;
  }
  return text;
}

std::string must_have(const length_bounds& bounds, std::string_view what) {
  std::string text = "this must have ";
  if (bounds.most == std::numeric_limits<std::size_t>::max()) {
    text += std::to_string(bounds.fewest) + " or more ";
  } else {
    text += std::to_string(bounds.fewest) + " to " + std::to_string(bounds.most) + " ";
  }
  return text.append(what);
}

}  // namespace

std::string json_checker::pointer(std::size_t depth) const {
  std::string result;
  for (std::size_t i = 0; i < depth; ++i) {
    const auto& one = frames_[i];
    const bool fits = one.is_array ? append_step(result, std::to_string(one.count - 1))
                                   : append_step(result, one.is_known ? one.known : name_of(one.unknown));
    if (!fits) break;
  }
  return result;
}

bool json_checker::fail(validation_code code, std::string where, std::string text, error_code& ec) {
  error_.emplace(code, std::move(where), std::move(text));
  ec = boost::json::make_error_code(boost::json::error::syntax);  // any error stops the parser
  return false;
}

const schema_node* json_checker::begin_value(json_types type, error_code& ec) {
  const auto* node = &root_;
  if (!frames_.empty()) {
    auto& inside = frames_.back();
    if (inside.is_array) {
      const auto& bounds = inside.node->item_count;
      if (inside.count == bounds.most) {
        fail(validation_code::wrong_length, enclosing(), must_have(bounds, "items"), ec);
        return nullptr;
      }
      ++inside.count;
      node = inside.node->items ? inside.node->items.get() : &anything();
    } else {
      node = inside.child;
    }
    if (++elements_ > limits_.max_elements) {
      fail_here(validation_code::too_many_elements,
                "a message may have " + std::to_string(limits_.max_elements) + " fields and items", ec);
      return nullptr;
    }
  }
  if ((node->types & type) != 0) return node;
  fail_here(validation_code::wrong_type, must_be(node->types), ec);
  return nullptr;
}

bool json_checker::open(json_types type, error_code& ec) {
  const auto* node = begin_value(type, ec);
  if (node == nullptr) return false;
  if (frames_.size() == limits_.max_depth)
    return fail_here(validation_code::too_deep,
                     "arrays and objects may be nested " + std::to_string(limits_.max_depth) + " deep", ec);
  if (node->listed) return fail_listed(ec);  // only scalars are listed
  frame next{*node, type == json_array};
  next.unknown_from = unknown_.size();
  next.names_from = names_.size();
  frames_.push_back(next);
  return true;
}

bool json_checker::on_field(std::string_view name, error_code& ec) {
  auto& inside = frames_.back();
  const auto at = inside.node->find(name);
  if (at != inside.node->fields.size()) {
    const auto& field = inside.node->fields[at];
    inside.is_known = true;
    inside.known = field.name;
    inside.child = field.what.get();
    if (inside.seen.test(at))
      return fail_here(validation_code::duplicate_field, "this field is there twice", ec);
    inside.seen.set(at);
    return true;
  }
  inside.is_known = false;
  inside.unknown = {names_.size(), name.size()};
  inside.child = &anything();
  names_ += name;
  if (inside.node->is_closed)
    return fail_here(validation_code::unknown_field, "this object may not have such a field", ec);
  // Before it is counted: names cost memory.
  if (elements_ == limits_.max_elements)
    return fail_here(validation_code::too_many_elements,
                     "a message may have " + std::to_string(limits_.max_elements) + " fields and items", ec);
  unknown_.push_back(inside.unknown);
  return true;
}

bool json_checker::on_object_end(std::size_t, error_code& ec) {
  auto& ending = frames_.back();
  const auto first = unknown_.begin() + static_cast<std::ptrdiff_t>(ending.unknown_from);
  std::sort(first, unknown_.end(), [this](const auto& a, const auto& b) { return name_of(a) < name_of(b); });
  const auto twice = std::adjacent_find(
      first, unknown_.end(), [this](const auto& a, const auto& b) { return name_of(a) == name_of(b); });
  if (twice != unknown_.end()) {
    ending.is_known = false;
    ending.unknown = *twice;
    return fail_here(validation_code::duplicate_field, "this field is there twice", ec);
  }
  const auto& fields = ending.node->fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (!fields[i].is_required || ending.seen.test(i)) continue;
    ending.is_known = true;
    ending.known = fields[i].name;
    return fail_here(validation_code::missing_field, "this field is missing", ec);
  }
  unknown_.resize(ending.unknown_from);
  names_.resize(ending.names_from);
  frames_.pop_back();
  return true;
}

bool json_checker::on_array_end(std::size_t size, error_code& ec) {
  const auto& bounds = frames_.back().node->item_count;
  if (!bounds.allow(size))
    return fail(validation_code::wrong_length, enclosing(), must_have(bounds, "items"), ec);
  frames_.pop_back();
  return true;
}

bool json_checker::on_double(double value, text_part text, error_code& ec) {
  const auto* node = begin_value(json_fraction, ec);
  if (node == nullptr) return false;
  // The parser's own conversion may be off by the last bit; limits are compared with what was written.
  double exactly = value;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exactly);
  const bool is_small = error == std::errc::result_out_of_range && std::abs(value) < 1;
  if (is_small) exactly = 0;
  if ((error != std::errc{} && !is_small) || end != text.data() + text.size() || !std::isfinite(exactly))
    return fail_here(validation_code::out_of_range, "this number is too large for any number", ec);
  return check_number(*node, static_cast<exact_number>(exactly), ec);
}

bool json_checker::check_number(const schema_node& node, exact_number value, error_code& ec) {
  if (node.minimum && value < node.minimum->value)
    return fail_here(validation_code::out_of_range, "this must be " + node.minimum->text + " or more", ec);
  if (node.maximum && value > node.maximum->value)
    return fail_here(validation_code::out_of_range, "this must be " + node.maximum->text + " or less", ec);
  if (!node.listed) return true;
  const auto& numbers = node.listed->numbers;
  return std::find(numbers.begin(), numbers.end(), value) != numbers.end() || fail_listed(ec);
}

bool json_checker::check_text(const schema_node& node, std::string_view text, error_code& ec) {
  if (node.listed && !std::binary_search(node.listed->texts.begin(), node.listed->texts.end(), text))
    return fail_listed(ec);
  const bool is_bounded = node.characters.fewest != 0 || node.characters.most < text.size();
  if (is_bounded && !node.characters.allow(code_points(text)))
    return fail_here(validation_code::wrong_length, must_have(node.characters, "characters"), ec);
  if (!node.pattern) return true;
  if (text.size() > schema_node::max_pattern_bytes)
    return fail_here(validation_code::wrong_length,
                     "this may have " + std::to_string(schema_node::max_pattern_bytes) + " bytes", ec);
  return node.pattern->matches(text) ||
         fail_here(validation_code::pattern_mismatch, "this is not written as it must be", ec);
}

}  // namespace skein::detail
