#pragma once

// A topic rule as people write it in an option: `orders.> history=1000 age=24h durable presence`.

#include <skein/topics.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace skein::app {

/// A pattern, and words with spaces between them; nothing if it is not one.
[[nodiscard]] std::optional<topic_rule> parse_topic_rule(std::string_view text);
[[nodiscard]] std::string format_topic_rule(const topic_rule& rule);

}  // namespace skein::app
