#include "app/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <array>
#include <memory>

namespace skein::app {
namespace {

spdlog::level::level_enum spdlog_level(log_level level) {
  switch (level) {
    case log_level::debug:
      return spdlog::level::debug;
    case log_level::info:
      return spdlog::level::info;
    case log_level::warning:
      return spdlog::level::warn;
    case log_level::error:
      return spdlog::level::err;
    case log_level::off:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

// Whether this character changes the direction in which a line is read, or ends one: what stands in a log
// must not look like something else.
bool turns_around(std::string_view character) {
  constexpr std::array<std::string_view, 14> marks{"\u061c", "\u200e", "\u200f", "\u2028", "\u2029",
                                                   "\u202a", "\u202b", "\u202c", "\u202d", "\u202e",
                                                   "\u2066", "\u2067", "\u2068", "\u2069"};
  return std::ranges::find(marks, character) != marks.end();
}

// How many bytes the printable UTF-8 character at the front of `text` has; 0 if there is none. C1 control
// characters (U+0080 to U+009F) move a terminal's cursor too.
std::size_t printable(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  if (first == 0xc2 && byte(1) < 0xa0) return 0;
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f)) return 0;
  if ((first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f)) return 0;
  return turns_around(text.substr(0, size)) ? 0 : size;
}

}  // namespace

std::string one_line(std::string_view text, std::size_t limit) {
  static constexpr char digits[] = "0123456789abcdef";
  static constexpr std::string_view ellipsis = "...";
  std::string line;
  line.reserve(std::min(text.size(), limit));
  std::size_t room_for_ellipsis = 0;  // how much of the line stays if it has to be cut
  while (!text.empty()) {
    const std::size_t size = printable(text);
    const std::size_t taken = std::max<std::size_t>(size, 1);
    if (line.size() + (size != 0 ? size : 4) > limit) {
      line.resize(room_for_ellipsis);
      return line.append(ellipsis.substr(0, limit));
    }
    if (size != 0) {
      line.append(text.substr(0, size));
    } else {
      const auto byte = static_cast<unsigned char>(text.front());
      line.append({'\\', 'x', digits[byte >> 4], digits[byte & 15]});
    }
    if (line.size() + ellipsis.size() <= limit) room_for_ellipsis = line.size();
    text.remove_prefix(taken);
  }
  return line;
}

std::function<void(log_level, std::string_view)> standard_error_log() {
  auto logger = std::make_shared<spdlog::logger>("skein", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spdlog::level::trace);
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  return [logger](log_level level, std::string_view line) {
    logger->log(spdlog_level(level), spdlog::string_view_t{line.data(), line.size()});
  };
}

}  // namespace skein::app
