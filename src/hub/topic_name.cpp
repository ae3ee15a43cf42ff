#include "hub/topic_name.hpp"

#include <skein/topics.hpp>

#include <algorithm>

namespace skein {
namespace {

enum class wildcards : bool { no, yes };

bool is_token(std::string_view token, bool last, wildcards allowed) noexcept {
  if (token.empty()) return false;
  if (allowed == wildcards::yes && (token == "*" || (token == ">" && last))) return true;
  return std::none_of(token.begin(), token.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= 0x20 || byte == 0x7f || c == '*' || c == '>';
  });
}

bool is_name(std::string_view name, wildcards allowed) noexcept {
  if (name.size() > max_topic_bytes) return false;
  for (std::size_t tokens = 1; tokens <= max_topic_tokens; ++tokens) {
    const auto dot = name.find('.');
    const bool last = dot == std::string_view::npos;
    if (!is_token(name.substr(0, dot), last, allowed)) return false;
    if (last) return true;
    name.remove_prefix(dot + 1);
  }
  return false;
}

}  // namespace

bool is_topic(std::string_view name) noexcept {
  return is_name(name, wildcards::no);
}

bool is_topic_pattern(std::string_view pattern) noexcept {
  return is_name(pattern, wildcards::yes);
}

bool topic_matches(std::string_view pattern, std::string_view topic) noexcept {
  while (!pattern.empty() && !topic.empty()) {
    const auto [wanted, more_wanted] = detail::split_token(pattern);
    const auto [token, more] = detail::split_token(topic);
    if (wanted == ">") return true;
    if (wanted != "*" && wanted != token) return false;
    pattern = more_wanted;
    topic = more;
  }
  return pattern.empty() && topic.empty();
}

}  // namespace skein
