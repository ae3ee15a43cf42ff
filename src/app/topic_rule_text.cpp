#include "app/topic_rule_text.hpp"

#include "app/value_text.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace skein::app {
namespace {

constexpr std::array<std::pair<std::string_view, overflow>, 3> policies{
    {{"evict", overflow::evict}, {"drop", overflow::drop}, {"conflate", overflow::conflate}}};
constexpr std::array<std::pair<std::string_view, topic_publishers>, 3> publishers{
    {{"nobody", topic_publishers::nobody},
     {"subscribers", topic_publishers::subscribers},
     {"everybody", topic_publishers::everybody}}};

template <class Value, std::size_t N>
bool choose(const std::array<std::pair<std::string_view, Value>, N>& names, std::string_view name,
            Value& into) {
  for (const auto& [known, value] : names) {
    if (known != name) continue;
    into = value;
    return true;
  }
  return false;
}

template <class Value, std::size_t N>
std::string_view name_of(const std::array<std::pair<std::string_view, Value>, N>& names, Value value) {
  for (const auto& [name, known] : names) {
    if (known == value) return name;
  }
  return {};
}

topic_history& history_of(topic_rule& rule) {
  if (!rule.history) rule.history.emplace();
  return *rule.history;
}

template <class Value, class Parsed>
bool take(std::optional<Parsed> parsed, Value& into) {
  if (parsed) into = static_cast<Value>(*parsed);
  return parsed.has_value();
}

/// One word behind the pattern.
bool apply(topic_rule& rule, std::string_view word) {
  const auto equals = word.find('=');
  if (equals == std::string_view::npos) {
    if (word == "durable") return history_of(rule).durable = true;
    if (word == "deliver-unkept") return history_of(rule).deliver_unkept = true;
    if (word == "presence") return rule.presence = true;
    return false;
  }
  const auto name = word.substr(0, equals);
  const auto value = word.substr(equals + 1);
  if (name == "policy") return choose(policies, value, rule.policy);
  if (name == "publish") return choose(publishers, value, rule.clients_publish);
  if (name == "history") return take(parse_count(value), history_of(rule).keep.max_messages);
  if (name == "bytes") return take(parse_bytes(value), history_of(rule).keep.max_bytes);
  if (name == "age") return take(parse_duration(value), history_of(rule).keep.max_age);
  if (name == "conflate-by" && !value.empty()) {
    rule.conflate_by = value;
    return true;
  }
  return false;
}

}  // namespace

std::optional<topic_rule> parse_topic_rule(std::string_view text) {
  topic_rule rule;
  while (!text.empty()) {
    const auto end = std::min(text.find(' '), text.size());
    const auto word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    if (rule.pattern.empty()) {
      if (!is_topic_pattern(word)) return std::nullopt;
      rule.pattern = word;
    } else if (!apply(rule, word)) {
      return std::nullopt;
    }
  }
  if (rule.pattern.empty()) return std::nullopt;
  if (!rule.conflate_by.empty() && (rule.policy != overflow::conflate || rule.history)) return std::nullopt;
  return rule;
}

std::string format_topic_rule(const topic_rule& rule) {
  const topic_rule usual;
  std::string text = rule.pattern;
  if (rule.policy != usual.policy) text += " policy=" + std::string{name_of(policies, rule.policy)};
  if (!rule.conflate_by.empty()) text += " conflate-by=" + rule.conflate_by;
  if (rule.history) {
    const auto& keep = rule.history->keep;
    text += " history=" + std::to_string(keep.max_messages) + " bytes=" + format_bytes(keep.max_bytes);
    if (keep.max_age.count() > 0) text += " age=" + format_duration(keep.max_age);
    if (rule.history->durable) text += " durable";
    if (rule.history->deliver_unkept) text += " deliver-unkept";
  }
  if (rule.presence) text += " presence";
  if (rule.clients_publish != usual.clients_publish)
    text += " publish=" + std::string{name_of(publishers, rule.clients_publish)};
  return text;
}

}  // namespace skein::app
