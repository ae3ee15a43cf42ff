#include "hub/envelope.hpp"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

namespace skein::detail {
namespace {

namespace json = boost::json;

constexpr std::size_t max_depth = 256;
constexpr std::array<std::string_view, 4> own_fields{"channel", "epoch", "offset", "message_id"};

// What the server itself says of a channel, or answers: a publication must not pass for it.
constexpr std::array<std::string_view, 12> own_types{
    "acked",     "authenticated",   "error",     "history",    "pong",         "presence",
    "published", "presence_change", "refreshed", "subscribed", "unsubscribed", "welcome"};

/// Looks at a JSON text without building it: what it is, and what fields an object has.
class inspection {
 public:
  static constexpr std::size_t max_object_size = std::size_t(-1);
  static constexpr std::size_t max_array_size = std::size_t(-1);
  static constexpr std::size_t max_key_size = std::size_t(-1);
  static constexpr std::size_t max_string_size = std::size_t(-1);
  using error_code = boost::system::error_code;

  explicit inspection(std::string_view wanted) : wanted_(wanted) {}

  bool is_object = false;
  bool is_empty = true;   // an object without fields
  bool has_own = false;   // an object with a field that the envelope uses
  std::string found;      // the wanted field
  bool deceives = false;  // some value of that field is what the server itself says

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code&) {
    if (depth_++ == 0) is_object = true;
    collecting_ = false;
    return true;
  }
  bool on_object_end(std::size_t, error_code&) {
    --depth_;
    return true;
  }
  bool on_array_begin(error_code&) {
    ++depth_;
    collecting_ = false;
    return true;
  }
  bool on_array_end(std::size_t, error_code&) {
    --depth_;
    return true;
  }
  bool on_key_part(json::string_view part, std::size_t, error_code&) {
    if (at_top()) key_.append(part);
    return true;
  }
  bool on_key(json::string_view part, std::size_t, error_code&) {
    collecting_ = false;
    if (!at_top()) return true;
    key_.append(part);
    is_empty = false;
    has_own = has_own || std::ranges::find(own_fields, std::string_view{key_}) != own_fields.end();
    collecting_ = !wanted_.empty() && key_ == wanted_;
    if (collecting_) found.clear();  // the last one counts, as with JSON.parse
    key_.clear();
    return true;
  }
  bool on_string_part(json::string_view part, std::size_t, error_code&) { return take(part); }
  bool on_string(json::string_view part, std::size_t, error_code&) { return take_last(part); }
  bool on_number_part(json::string_view part, error_code&) { return take(part); }
  bool on_int64(std::int64_t, json::string_view part, error_code&) { return take_last(part); }
  bool on_uint64(std::uint64_t, json::string_view part, error_code&) { return take_last(part); }
  bool on_double(double, json::string_view part, error_code&) { return take_last(part); }
  bool on_bool(bool value, error_code&) { return take_last(value ? "true" : "false"); }
  bool on_null(error_code&) {
    collecting_ = false;
    return true;
  }
  bool on_comment_part(json::string_view, error_code&) { return true; }
  bool on_comment(json::string_view, error_code&) { return true; }

 private:
  [[nodiscard]] bool at_top() const noexcept { return is_object && depth_ == 1; }
  bool take(json::string_view part) {
    if (collecting_) found.append(part);
    return true;
  }
  bool take_last(json::string_view part) {
    take(part);
    if (std::exchange(collecting_, false))
      deceives = deceives || std::ranges::find(own_types, std::string_view{found}) != own_types.end();
    return true;
  }

  std::string_view wanted_;
  std::string key_;
  std::size_t depth_ = 0;
  bool collecting_ = false;
};

/// Whether this is one JSON value, and nothing else.
bool inspect(std::string_view text, json::basic_parser<inspection>& parser) {
  boost::system::error_code invalid;
  const auto used = parser.write_some(false, text.data(), text.size(), invalid);
  return !invalid && used == text.size();
}

json::parse_options lenient_depth() {
  json::parse_options options;
  options.max_depth = max_depth;
  return options;
}

void append_base64(std::string& to, std::string_view bytes) {
  const auto before = to.size();
  to.resize(before + (bytes.size() + 2) / 3 * 4 + 1);  // with the zero that is written behind it
  const auto written =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(to.data() + before),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  to.resize(before + static_cast<std::size_t>(written));
}

void append_label(std::string& to, const envelope_label& label) {
  if (!label.channel.empty()) {
    to += ",\"channel\":";
    append_json_string(to, label.channel);
  }
  if (label.offset != 0) {
    to += ",\"epoch\":";
    append_json_string(to, label.epoch);
    to += ",\"offset\":" + std::to_string(label.offset);
  }
  if (label.stored != 0) to += ",\"message_id\":" + std::to_string(label.stored);
  to += '}';
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const auto first = text.find_first_not_of(space);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(space) - first + 1);
}

}  // namespace

void append_json_string(std::string& to, std::string_view text) {
  to += json::serialize(json::string_view{text.data(), text.size()});
}

prepared_message enveloped(const prepared_message& what, const envelope_label& label) {
  const bool labelled = !label.channel.empty() || label.offset != 0 || label.stored != 0;
  std::string out;
  out.reserve(what.size() + label.channel.size() + label.epoch.size() + 64);
  if (!what.is_text()) {
    out += "{\"data\":\"";
    append_base64(out, what.payload());
    out += "\",\"encoding\":\"base64\"";
    append_label(out, label);
    return message::text(std::move(out));
  }
  const auto text = trimmed(what.payload());
  json::basic_parser<inspection> parser{lenient_depth(),
                                        std::string_view{label.channel.empty() ? "" : "type"}};
  const bool is_json = !text.empty() && inspect(text, parser);
  const auto& seen = parser.handler();
  if (is_json && seen.is_object && !seen.has_own && !seen.deceives) {
    if (!labelled) return what;
    out.append(text, 0, text.size() - 1);
    std::string rest;
    append_label(rest, label);
    out.append(rest, seen.is_empty ? 1 : 0);
    return message::text(std::move(out));
  }
  out += "{\"data\":";
  if (is_json) {
    out += text;
  } else {
    append_json_string(out, what.payload());
  }
  append_label(out, label);
  return message::text(std::move(out));
}

std::string field_of(std::string_view text, std::string_view name) {
  json::basic_parser<inspection> parser{lenient_depth(), name};
  const auto object = trimmed(text);
  if (object.empty() || !inspect(object, parser)) return {};
  return std::move(parser.handler().found);
}

}  // namespace skein::detail
