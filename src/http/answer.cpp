#include "http/answer.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <random>

namespace skein::detail {
namespace {

std::string_view reason_phrase(unsigned status) noexcept {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

std::string http_date() {
  const auto now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  // strftime would follow the locale (RFC 9110 section 5.6.7 wants these names).
  static constexpr std::array days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::array<char, 64> text{};
  const auto n = std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                               days[static_cast<std::size_t>(utc.tm_wday)], utc.tm_mday,
                               months[static_cast<std::size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour,
                               utc.tm_min, utc.tm_sec);
  return {text.data(), static_cast<std::size_t>(n)};
}

void add_header(std::string& out, std::string_view name, std::string_view value) {
  const auto begin = out.size();
  out += name;
  out += ": ";
  out += value;
  std::replace_if(
      out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(),
      [](char c) { return c == '\r' || c == '\n'; }, ' ');
  out += "\r\n";
}

}  // namespace

std::string serialize(const response& what, answer_form form) {
  std::string out =
      "HTTP/1.1 " + std::to_string(what.status) + ' ' + std::string{reason_phrase(what.status)} + "\r\n";
  add_header(out, "Date", http_date());
  add_header(out, "Server", "skein");
  bool connection_given = false;
  for (const auto& [name, value] : what.headers) {
    add_header(out, name, value);
    if (name == "Connection") connection_given = true;
  }
  if (!what.body.empty()) add_header(out, "Content-Type", what.content_type);
  add_header(out, "Content-Length", std::to_string(what.body.size()));
  if (!form.keep_alive) {
    add_header(out, "Connection", "close");
  } else if (!connection_given) {
    add_header(out, "Connection", "keep-alive");
  }
  out += "\r\n";
  if (!form.head_only) out += what.body;
  return out;
}

response to_response(refusal what) {
  response answer;
  answer.status = what.status >= 400 && what.status <= 599 ? what.status : 500;
  answer.body = std::move(what.text);
  answer.headers = std::move(what.headers);
  return answer;
}

refusal unavailable(std::string_view why) {
  thread_local std::minstd_rand random{std::random_device{}()};
  const auto seconds = std::uniform_int_distribution<int>{2, 10}(random);
  refusal result;
  result.status = 503;
  result.text = std::string{why} + '\n';
  result.headers.emplace_back("Retry-After", std::to_string(seconds));
  return result;
}

}  // namespace skein::detail
