#include "wire/web_address.hpp"

#include <boost/asio/ip/address.hpp>

#include <algorithm>

namespace skein::detail {
namespace {

namespace asio = boost::asio;

bool is_host_character(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_';
}

}  // namespace

std::string web_address::authority() const {
  const auto name = host.find(':') == std::string::npos ? host : '[' + host + ']';
  return port == (tls ? "443" : "80") ? name : name + ':' + port;
}

std::optional<web_address> parse_web_address(std::string_view url, std::string_view plain,
                                             std::string_view secure) {
  web_address result;
  const auto scheme = url.substr(0, url.find("://"));
  if (scheme.size() == url.size() || (scheme != plain && scheme != secure)) return std::nullopt;
  result.tls = scheme == secure;
  url.remove_prefix(scheme.size() + 3);
  const auto slash = std::min(url.find_first_of("/?#"), url.size());
  auto host = url.substr(0, slash);
  const auto target = url.substr(slash);
  if (std::any_of(target.begin(), target.end(), [](char c) { return c <= ' ' || c > '~' || c == '#'; }) ||
      target.starts_with('?'))
    return std::nullopt;
  result.target = target.empty() ? "/" : std::string{target};

  std::string_view port = result.tls ? "443" : "80";
  const auto bracket = host.starts_with('[') ? host.find(']') : 0;
  if (bracket == std::string_view::npos) return std::nullopt;
  if (const auto colon = host.find(':', bracket); colon != std::string_view::npos) {
    port = host.substr(colon + 1);
    host = host.substr(0, colon);
  }
  const bool digits = std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || port.empty() || port.size() > 5 || std::stoul(std::string{port}) > 65'535)
    return std::nullopt;
  result.port = std::string{port};

  boost::system::error_code ec;
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return std::nullopt;
    result.host = std::string{host.substr(1, host.size() - 2)};
    asio::ip::make_address_v6(result.host, ec);
    if (ec) return std::nullopt;
    result.literal = true;
  } else {
    if (host.empty() || host.size() > 253 || !std::all_of(host.begin(), host.end(), is_host_character))
      return std::nullopt;
    result.host = std::string{host};
    asio::ip::make_address_v4(result.host, ec);
    result.literal = !ec;
  }
  return result;
}

}  // namespace skein::detail
