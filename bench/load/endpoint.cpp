#include "endpoint.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <memory>
#include <netdb.h>
#include <stdexcept>

namespace skein::bench {
namespace {

constexpr std::string_view plain = "ws://";
constexpr std::string_view secure = "wss://";

[[noreturn]] void refuse(const std::string& why) {
  throw std::runtime_error{"the URL " + why};
}

/// RFC 3986 section 3.1: a scheme is written in letters of either case.
bool begins_with_scheme(std::string_view url, std::string_view scheme) {
  return url.size() >= scheme.size() &&
         std::equal(scheme.begin(), scheme.end(), url.begin(), [](char wanted, char is) {
           return wanted == static_cast<char>(std::tolower(static_cast<unsigned char>(is)));
         });
}

std::string checked_port(std::string_view text) {
  constexpr unsigned largest = 65'535;
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0 || port > largest)
    refuse("has a port that is none: '" + std::string{text} + "'; they go from 1 to 65535");
  return std::to_string(port);
}

/// Splits HOST[:PORT]; the port is empty where there is none.
void split_authority(endpoint& target, std::string& port) {
  std::string_view rest = target.authority;
  if (rest.starts_with('[')) {
    const auto end = rest.find(']');
    if (end == std::string_view::npos) refuse("has no ] behind its address");
    target.host = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
  } else {
    const auto colon = std::min(rest.find(':'), rest.size());
    if (rest.find(':', colon + 1) != std::string_view::npos)
      refuse("has an IPv6 address without brackets, or two ports");
    target.host = rest.substr(0, colon);
    rest.remove_prefix(colon);
  }
  if (target.host.empty()) refuse("names no host");
  if (target.host.find('@') != std::string::npos) refuse("must not name a user");
  if (rest.empty()) return;
  if (rest.front() != ':') refuse("has something else than a port behind its host");
  port = checked_port(rest.substr(1));
}

}  // namespace

bool endpoint::has_many_sources() const noexcept {
  if (address.ss_family != AF_INET) return false;
  sockaddr_in known{};
  std::memcpy(&known, &address, sizeof known);
  return ntohl(known.sin_addr.s_addr) >> 24 == 127;
}

endpoint resolve(std::string_view url) {
  endpoint target;
  target.secure = begins_with_scheme(url, secure);
  if (!target.secure && !begins_with_scheme(url, plain)) refuse("must begin with ws:// or wss://");
  // RFC 6455 section 3.
  if (url.find('#') != std::string_view::npos) refuse("must not have a fragment");
  const auto rest = url.substr(target.secure ? secure.size() : plain.size());
  const auto end = std::min(rest.find_first_of("/?"), rest.size());
  target.authority = rest.substr(0, end);
  target.path = rest.substr(end);
  if (!target.path.starts_with('/')) target.path.insert(0, "/");

  std::string port = target.secure ? "443" : "80";
  split_authority(target, port);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(target.host.c_str(), port.c_str(), &hints, &found); error != 0)
    throw std::runtime_error{"cannot resolve " + target.authority + ": " + ::gai_strerror(error)};
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> all{found, &::freeaddrinfo};
  const auto* chosen = found;
  while (chosen != nullptr && chosen->ai_family != AF_INET) chosen = chosen->ai_next;
  if (chosen == nullptr) chosen = found;
  target.address_size = std::min<socklen_t>(chosen->ai_addrlen, sizeof target.address);
  std::memcpy(&target.address, chosen->ai_addr, target.address_size);
  return target;
}

}  // namespace skein::bench
