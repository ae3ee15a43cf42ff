#pragma once

// Topics and patterns as text: the rules are in topics.hpp.

#include <string_view>
#include <utility>

namespace skein::detail {

/// The first token, and what follows its dot. Of a name without dots the rest is empty.
[[nodiscard]] inline std::pair<std::string_view, std::string_view> split_token(
    std::string_view name) noexcept {
  const auto dot = name.find('.');
  if (dot == std::string_view::npos) return {name, {}};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

/// Whether a well-formed pattern is more than one topic.
[[nodiscard]] inline bool has_wildcards(std::string_view pattern) noexcept {
  return pattern.find_first_of("*>") != std::string_view::npos;
}

}  // namespace skein::detail
