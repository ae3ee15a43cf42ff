#include "report.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ostream>
#include <utility>

namespace skein::bench {
namespace {

constexpr std::size_t widest_aligned = 32;  // a sentence stands alone

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

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out.append(c == '"' ? 2 : 1, c);
  return out + '"';
}

double to_us(std::uint64_t ns) {
  return static_cast<double>(ns) / 1000;
}

}  // namespace

void report::add(std::string name, std::string_view text) {
  add_text_if(true, std::move(name), text);
}

void report::add_text_if(bool known, std::string name, std::string_view text) {
  figures_.push_back({std::move(name), known ? quoted(text) : "", std::string{text}});
}

void report::add(std::string name, double value, int decimals) {
  add_if(true, std::move(name), value, decimals);
}

void report::add_if(bool known, std::string name, double value, int decimals) {
  auto text = known ? fixed(value, decimals) : "";
  figures_.push_back({std::move(name), text, text});
}

void report::add_count(std::string name, std::uint64_t value) {
  auto text = std::to_string(value);
  figures_.push_back({std::move(name), text, text});
}

void report::add_flag(std::string name, bool value) {
  const std::string text = value ? "true" : "false";
  figures_.push_back({std::move(name), text, text});
}

void report::add_counts(std::string name, const std::map<std::uint16_t, std::uint64_t>& counts) {
  std::string json;
  std::string shown;
  for (const auto& [number, count] : counts) {
    if (!json.empty()) json += ',';
    if (!shown.empty()) shown += ' ';
    json.append(quoted(std::to_string(number))).append(":").append(std::to_string(count));
    shown.append(std::to_string(number)).append(":").append(std::to_string(count));
  }
  figures_.push_back({std::move(name), '{' + json + '}', shown});
}

void report::add_values(std::string name, const std::vector<double>& values, int decimals) {
  std::string json;
  std::string shown;
  for (const auto value : values) {
    if (!json.empty()) json += ',';
    if (!shown.empty()) shown += ' ';
    json += fixed(value, decimals);
    shown += fixed(value, decimals);
  }
  figures_.push_back({std::move(name), '[' + json + ']', shown});
}

void report::add_latency(const std::string& name, const histogram& ns) {
  const bool known = ns.total() != 0;
  const auto percentile = [&](const char* suffix, double percent) {
    add_if(known, name + suffix, to_us(ns.percentile(percent)), 1);
  };
  percentile("_p50_us", 50);
  percentile("_p90_us", 90);
  percentile("_p99_us", 99);
  percentile("_p99_9_us", 99.9);
  add_if(known, name + "_max_us", to_us(ns.max()), 1);
  std::string buckets;
  ns.for_each_bucket([&](std::uint64_t upper_edge, std::uint64_t count) {
    if (!buckets.empty()) buckets += ',';
    buckets += '[';
    buckets.append(fixed(to_us(upper_edge), 3)).append(",").append(std::to_string(count)).append("]");
  });
  figures_.push_back({name + "_histogram_us", '[' + buckets + ']', "", true});
}

void report::fail(std::string problem, bool nothing_measured) {
  problem_ = std::move(problem);
  nothing_measured_ = nothing_measured;
}

void report::add_part(std::string name, report part) {
  parts_.emplace_back(std::move(name), std::move(part));
}

void report::print_table(std::ostream& out) const {
  print_figures(out);
  if (!parts_.empty()) print_parts(out);
  for (const auto& text : notes_) out << "note: " << text << '\n';
  for (const auto& [name, part] : parts_)
    for (const auto& text : part.notes_) out << "note: " << name << ": " << text << '\n';
}

void report::print_figures(std::ostream& out) const {
  std::size_t names = 0;
  std::size_t values = 0;
  for (const auto& figure : figures_) {
    if (!in_table(figure)) continue;
    names = std::max(names, figure.name.size());
    if (figure.shown.size() <= widest_aligned) values = std::max(values, figure.shown.size());
  }
  for (std::size_t i = 0; i < figures_.size(); ++i) {
    const auto& figure = figures_[i];
    if (std::find(blocks_.begin(), blocks_.end(), i) != blocks_.end()) out << '\n';
    if (!in_table(figure)) continue;
    const auto indent = figure.shown.size() < values ? values - figure.shown.size() : 0;
    out << figure.name << std::string(names - figure.name.size() + 2 + indent, ' ') << figure.shown << '\n';
  }
}

/// A column for each part, a line for each figure that one of them has.
void report::print_parts(std::ostream& out) const {
  const auto& first = parts_.front().second;
  std::vector<std::size_t> widths;
  std::size_t names = 0;
  for (const auto& figure : first.figures_) names = std::max(names, figure.name.size());
  for (const auto& [name, part] : parts_) {
    auto width = name.size();
    for (const auto& figure : part.figures_)
      if (in_table(figure)) width = std::max(width, figure.shown.size());
    widths.push_back(width);
  }
  const auto line = [&](const std::string& title, auto text_of) {
    out << title << std::string(names - title.size(), ' ');
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const std::string& text = text_of(parts_[i]);
      out << std::string(widths[i] - text.size() + 2, ' ') << text;
    }
    out << '\n';
  };
  out << '\n';
  line("", [](const auto& part) -> const std::string& { return part.first; });
  for (std::size_t i = 0; i < first.figures_.size(); ++i) {
    if (std::find(first.blocks_.begin(), first.blocks_.end(), i) != first.blocks_.end()) out << '\n';
    if (std::any_of(parts_.begin(), parts_.end(),
                    [i](const auto& part) { return in_table(part.second.figures_[i]); }))
      line(first.figures_[i].name,
           [i](const auto& part) -> const std::string& { return part.second.figures_[i].shown; });
  }
}

void report::print_json(std::ostream& out) const {
  print_json_object(out);
  out << '\n';
}

void report::print_json_object(std::ostream& out) const {
  out << '{';
  for (const auto& figure : figures_)
    if (!figure.json.empty()) out << quoted(figure.name) << ':' << figure.json << ',';
  const char* separator = "";
  if (!parts_.empty()) {
    out << "\"servers\":{";
    for (const auto& [name, part] : parts_) {
      out << std::exchange(separator, ",") << quoted(name) << ':';
      part.print_json_object(out);
    }
    out << "},";
  }
  out << "\"notes\":[";
  separator = "";
  for (const auto& text : notes_) out << std::exchange(separator, ",") << quoted(text);
  out << "]}";
}

void report::print_csv(std::ostream& out) const {
  const auto name_of = [](const entry& figure) { return figure.name; };
  const auto value_of = [](const entry& figure) { return figure.shown; };
  const char* separator = "";
  if (parts_.empty()) {
    print_csv_fields(out, separator, name_of);
    out << '\n';
    separator = "";
    print_csv_fields(out, separator, value_of);
    out << '\n';
    return;
  }
  out << std::exchange(separator, ",") << "server";
  print_csv_fields(out, separator, name_of);
  parts_.front().second.print_csv_fields(out, separator, name_of);
  out << '\n';
  for (const auto& [name, part] : parts_) {
    out << csv_field(name);
    print_csv_fields(out, separator, value_of);
    part.print_csv_fields(out, separator, value_of);
    out << '\n';
  }
}

template <class FieldOf>
void report::print_csv_fields(std::ostream& out, const char*& separator, FieldOf field_of) const {
  for (const auto& figure : figures_)
    if (!figure.only_json) out << std::exchange(separator, ",") << csv_field(field_of(figure));
}

}  // namespace skein::bench
