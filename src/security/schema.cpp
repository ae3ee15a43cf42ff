#include "security/schema_node.hpp"

#include <skein/validation.hpp>

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace skein {
namespace detail {
namespace {

number_bound bound(const boost::json::value& number) {
  const auto value = exact(number);
  if (!std::isfinite(value)) throw std::invalid_argument("a limit of numbers must be finite");
  return {value, boost::json::serialize(number)};
}

}  // namespace

void schema_node::add(field one) {
  if (fields.size() == max_fields)
    throw std::invalid_argument("an object may have " + std::to_string(max_fields) + " declared fields");
  if (find(one.name) != fields.size())
    throw std::invalid_argument("the field \"" + one.name + "\" is declared twice");
  const auto place =
      std::find_if(fields.begin(), fields.end(), [&](const field& f) { return f.name > one.name; });
  fields.insert(place, std::move(one));
}

void schema_node::set_minimum(const boost::json::value& number) {
  minimum = bound(number);
}

void schema_node::set_maximum(const boost::json::value& number) {
  maximum = bound(number);
}

void schema_node::check_bounds() const {
  if (minimum && maximum && minimum->value > maximum->value)
    throw std::invalid_argument("the minimum is above the maximum");
  if (characters.fewest > characters.most || item_count.fewest > item_count.most)
    throw std::invalid_argument("the fewest are more than the most");
}

}  // namespace detail

namespace {

std::unique_ptr<detail::schema_node> of_type(std::uint8_t types) {
  auto node = std::make_unique<detail::schema_node>();
  node->types = types;
  return node;
}

/// Throws if none of a schema's types are among these.
void require_type(const detail::schema_node& node, unsigned wanted, const char* what) {
  if (node.types == detail::json_anything || (node.types & wanted) == 0)
    throw std::invalid_argument(std::string{what} + " has no effect on a schema of this type");
}

}  // namespace

schema::schema(std::unique_ptr<detail::schema_node> node) noexcept : node_(std::move(node)) {}
schema::schema(const schema& other) : node_(std::make_unique<detail::schema_node>(*other.node_)) {}
schema::schema(schema&& other) noexcept = default;
schema& schema::operator=(schema other) noexcept {
  node_.swap(other.node_);
  return *this;
}
schema::~schema() = default;

schema schema::any() {
  return schema{of_type(detail::json_anything)};
}
schema schema::null() {
  return schema{of_type(detail::json_null)};
}
schema schema::boolean() {
  return schema{of_type(detail::json_boolean)};
}
schema schema::integer() {
  return schema{of_type(detail::json_integer)};
}
schema schema::number() {
  return schema{of_type(detail::json_number)};
}
schema schema::text() {
  return schema{of_type(detail::json_text)};
}
schema schema::object() {
  return schema{of_type(detail::json_object)};
}
schema schema::array(const schema& items) {
  auto node = of_type(detail::json_array);
  node->items = items.node();
  return schema{std::move(node)};
}

schema& schema::add(std::string name, const schema& what, bool is_required) {
  require_type(*node_, detail::json_object, "a field");
  node_->add({std::move(name), what.node(), is_required});
  return *this;
}

schema& schema::required(std::string name, const schema& what) {
  return add(std::move(name), what, true);
}

schema& schema::optional(std::string name, const schema& what) {
  return add(std::move(name), what, false);
}

schema& schema::closed() {
  require_type(*node_, detail::json_object, "closed");
  node_->is_closed = true;
  return *this;
}

schema& schema::set_range(const boost::json::value& low, const boost::json::value& high) {
  require_type(*node_, detail::json_number, "range");
  auto next = *node_;
  next.set_minimum(low);
  next.set_maximum(high);
  next.check_bounds();
  *node_ = std::move(next);
  return *this;
}

schema& schema::length(std::size_t fewest, std::size_t most) {
  require_type(*node_, detail::json_text | detail::json_array, "length");
  if (fewest > most) throw std::invalid_argument("the fewest are more than the most");
  const detail::length_bounds bounds{fewest, most};
  ((node_->types & detail::json_text) != 0 ? node_->characters : node_->item_count) = bounds;
  return *this;
}

schema& schema::pattern(std::string_view expression) {
  require_type(*node_, detail::json_text, "pattern");
  node_->pattern = std::make_shared<const detail::text_pattern>(expression);
  return *this;
}

schema& schema::one_of(const std::vector<std::string>& texts) {
  require_type(*node_, detail::json_text, "one_of");
  if (texts.empty()) throw std::invalid_argument("one_of needs a value");
  detail::listed_values listed;
  listed.texts = texts;
  std::sort(listed.texts.begin(), listed.texts.end());
  listed.has_null = (node_->types & detail::json_null) != 0;
  node_->listed = std::move(listed);
  return *this;
}

schema& schema::or_null() {
  node_->types |= detail::json_null;
  if (node_->listed) node_->listed->has_null = true;
  return *this;
}

std::shared_ptr<const detail::schema_node> schema::node() const {
  return std::make_shared<const detail::schema_node>(*node_);
}

}  // namespace skein
