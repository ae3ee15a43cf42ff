#pragma once

// The kinds of options: how each is written, judged and shown.
//
// `place`, or `member`, is a function that gives the option's place in a config, const or not: SKEIN_PLACE.

#include "app/options.hpp"
#include "app/value_text.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

// Names the place of an option in `config`, for reading and for writing.
#define SKEIN_PLACE(member) ([](auto& c) -> auto& { return c.member; })

namespace skein::app {

using std::chrono::nanoseconds;

constexpr range between(std::uint64_t low, std::uint64_t high) {
  return {low, high, false};
}
constexpr range between(nanoseconds low, nanoseconds high) {
  return {static_cast<std::uint64_t>(low.count()), static_cast<std::uint64_t>(high.count()), false};
}
constexpr range zero_or(range what) {
  return {what.low, what.high, true};
}

inline std::string in_words(const range& bounds, const std::function<std::string(std::uint64_t)>& format) {
  return (bounds.or_zero ? format(0) + ", or " : "") + format(bounds.low) + " to " + format(bounds.high);
}

template <class Member>
option duration(std::string key, range bounds, Member member, std::string help) {
  auto format = [](std::uint64_t v) { return format_duration(nanoseconds{static_cast<std::int64_t>(v)}); };
  auto result = make_option(std::move(key), "duration", in_words(bounds, format), std::move(help));
  result.hint = ", with a unit: ns, us, ms, s, m or h";
  result.bounds = bounds;
  result.set = [=](config& into, const std::vector<std::string>& values) {
    const auto value = parse_duration(values.front());
    if (!value || !bounds.contains(static_cast<std::uint64_t>(value->count()))) return false;
    member(into) = *value;
    return true;
  };
  result.show = [=](const config& from) { return format_duration(member(from)); };
  return result;
}

template <class Member, class Parse, class Format>
option number(option result, range bounds, Member member, Parse parse, Format format) {
  result.bounds = bounds;
  result.set = [=](config& into, const std::vector<std::string>& values) {
    const auto value = parse(values.front());
    if (!value || !bounds.contains(*value)) return false;
    auto& place = member(into);
    place = static_cast<std::remove_reference_t<decltype(place)>>(*value);
    return true;
  };
  result.show = [=](const config& from) { return format(static_cast<std::uint64_t>(member(from))); };
  return result;
}

template <class Member>
option bytes(std::string key, range bounds, Member member, std::string help) {
  auto result = make_option(std::move(key), "bytes", in_words(bounds, format_bytes), std::move(help));
  result.hint = ", as bytes or with a unit: KiB, MiB or GiB";
  return number(std::move(result), bounds, member, parse_bytes, format_bytes);
}

template <class Member>
option count(std::string key, range bounds, Member member, std::string help) {
  auto format = [](std::uint64_t v) { return std::to_string(v); };
  return number(make_option(std::move(key), "count", in_words(bounds, format), std::move(help)), bounds,
                member, parse_count, format);
}

template <class Member>
option toggle(std::string key, Member member, std::string help) {
  auto result = make_option(std::move(key), "switch", "true or false", std::move(help));
  result.hint = ", or on, off, 1, 0";
  result.set = [=](config& into, const std::vector<std::string>& values) {
    const auto value = parse_switch(values.front());
    if (value) member(into) = *value;
    return value.has_value();
  };
  result.show = [=](const config& from) { return std::string{member(from) ? "true" : "false"}; };
  return result;
}

inline std::string joined(const std::vector<std::string>& list) {
  std::string all;
  for (const auto& one : list) all += (all.empty() ? "" : ",") + one;
  return all;
}

/// Whether a text is allowed.
using judge = std::function<bool(const std::string&)>;

template <class Place>
option text(std::string key, std::string allowed, std::string example, judge fits, Place place,
            std::string help) {
  auto result = make_option(std::move(key), "text", std::move(allowed), std::move(help));
  result.example = std::move(example);
  result.set = [=, fits = std::move(fits)](config& into, const std::vector<std::string>& given) {
    if (!fits(given.front())) return false;
    place(into) = given.front();
    return true;
  };
  result.show = [=](const config& from) { return place(from); };
  return result;
}

template <class Place>
option list(std::string key, std::string environment, std::string allowed, std::string example, judge fits,
            Place place, std::string help) {
  auto result = make_option(std::move(key), "text", std::move(allowed), std::move(help));
  result.environment = std::move(environment);  // it takes several, separated by commas
  result.example = std::move(example);
  result.repeatable = true;
  result.set = [=, fits = std::move(fits)](config& into, const std::vector<std::string>& given) {
    if (!std::ranges::all_of(given, fits)) return false;
    place(into) = given;
    return true;
  };
  result.show = [=](const config& from) { return joined(place(from)); };
  return result;
}

// One of a few names.
template <class Value, std::size_t N, class Member>
option choice(std::string key, const std::array<std::pair<std::string_view, Value>, N>& names, Member member,
              std::string help) {
  std::string allowed;
  for (std::size_t i = 0; i < N; ++i)
    allowed += (i == 0 ? "" : i + 1 == N ? " or " : ", ") + std::string{names[i].first};
  auto result = make_option(std::move(key), "text", std::move(allowed), std::move(help));
  result.set = [=](config& into, const std::vector<std::string>& values) {
    const auto found = std::ranges::find(names, values.front(), [](const auto& one) { return one.first; });
    if (found != names.end()) member(into) = found->second;
    return found != names.end();
  };
  result.show = [=](const config& from) {
    const auto found = std::ranges::find(names, member(from), [](const auto& one) { return one.second; });
    return found == names.end() ? std::string{} : std::string{found->first};
  };
  return result;
}

}  // namespace skein::app
