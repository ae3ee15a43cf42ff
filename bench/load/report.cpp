#include "report.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ostream>

namespace skein::bench {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) {
      std::array<char, 8> escape{};  // what a server says in a close frame may be anything
      std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned char>(c));
      out += escape.data();
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string fixed(double value, int decimals) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", decimals, std::isfinite(value) ? value : 0.0);
  return text.data();
}

}  // namespace

void report::add(std::string name, std::string_view text) {
  figures_.push_back({std::move(name), quoted(text), std::string{text}});
}

void report::add(std::string name, double value, int decimals) {
  auto text = fixed(value, decimals);
  figures_.push_back({std::move(name), text, text});
}

void report::add_count(std::string name, std::uint64_t value) {
  auto text = std::to_string(value);
  figures_.push_back({std::move(name), text, text});
}

void report::add_flag(std::string name, bool value) {
  figures_.push_back({std::move(name), value ? "true" : "false", value ? "yes" : "no"});
}

void report::add_latency(const std::string& name, const histogram& ns) {
  const auto us = [](std::uint64_t value) { return static_cast<double>(value) / 1000; };
  add(name + "_p50_us", us(ns.percentile(50)), 1);
  add(name + "_p90_us", us(ns.percentile(90)), 1);
  add(name + "_p99_us", us(ns.percentile(99)), 1);
  add(name + "_p99_9_us", us(ns.percentile(99.9)), 1);
  add(name + "_max_us", us(ns.max()), 1);
}

void report::print_table(std::ostream& out) const {
  std::size_t names = 0;
  std::size_t values = 0;
  for (const auto& figure : figures_) {
    names = std::max(names, figure.name.size());
    values = std::max(values, figure.shown.size());
  }
  for (const auto& figure : figures_)
    out << figure.name << std::string(names - figure.name.size() + 2 + values - figure.shown.size(), ' ')
        << figure.shown << '\n';
  for (const auto& text : notes_) out << "note: " << text << '\n';
}

void report::print_json(std::ostream& out) const {
  out << '{';
  for (const auto& figure : figures_) out << quoted(figure.name) << ':' << figure.json << ',';
  out << "\"notes\":[";
  for (std::size_t i = 0; i < notes_.size(); ++i) out << (i == 0 ? "" : ",") << quoted(notes_[i]);
  out << "]}\n";
}

}  // namespace skein::bench
