#include "http/request_form.hpp"

#include "wire/http_text.hpp"

#include <algorithm>

namespace skein::detail {

std::optional<std::string> origin_form(std::string_view target) {
  if (target.find('#') != std::string_view::npos) return std::nullopt;
  if (target.starts_with('/')) return std::string{target};
  const auto scheme = target.find("://");
  if (scheme == std::string_view::npos) return std::nullopt;
  if (!same_name(target.substr(0, scheme), "http") && !same_name(target.substr(0, scheme), "https"))
    return std::nullopt;
  const auto authority = target.substr(scheme + 3);
  const auto end = std::min(authority.find_first_of("/?"), authority.size());
  if (end == 0) return std::nullopt;
  const auto rest = authority.substr(end);
  return rest.starts_with('/') ? std::string{rest} : '/' + std::string{rest};
}

bool is_host(std::string_view value) noexcept {
  value = trim(value);
  return std::all_of(value.begin(), value.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view{"-._~!$&'()*+,;=:[]%"}.find(c) != std::string_view::npos;
  });
}

bool ends_chunked(const request& what) {
  std::string_view last;
  for (const auto& [name, value] : what.headers()) {
    if (same_name(name, "Transfer-Encoding")) last = value;
  }
  const auto comma = last.rfind(',');
  return same_name(trim(comma == std::string_view::npos ? last : last.substr(comma + 1)), "chunked");
}

bool has_content(const request& what) {
  if (what.has_header("Transfer-Encoding")) return true;
  const auto length = trim(what.header("Content-Length"));
  return length.find_first_not_of('0') != std::string_view::npos;
}

}  // namespace skein::detail
