#include "messages.hpp"

#include <boost/json/serialize.hpp>

namespace skein::examples {
namespace {

const json::value& field(const json::object& request, std::string_view name) {
  const auto* found = request.if_contains(name);
  if (found == nullptr) throw request_error("bad_request", "there is no \"" + std::string{name} + "\"");
  return *found;
}

[[noreturn]] void refuse(std::string_view name, const std::string& expected) {
  throw request_error("bad_request", "\"" + std::string{name} + "\" must be " + expected);
}

}  // namespace

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

std::string orders_topic(std::string_view user) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string topic = "orders.";
  for (const char c : user) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    const auto byte = static_cast<unsigned char>(c);
    if (plain) {
      topic += c;
    } else {
      (topic += '_').append({digits[byte >> 4U], digits[byte & 15U]});
    }
  }
  return topic;
}

}  // namespace skein::examples
