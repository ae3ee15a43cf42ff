#include "endpoint.hpp"

#include <sys/socket.h>

#include <cstring>
#include <netdb.h>
#include <stdexcept>

namespace skein::bench {

endpoint resolve(std::string_view url) {
  constexpr std::string_view plain = "ws://";
  constexpr std::string_view secure = "wss://";
  endpoint target;
  target.secure = url.starts_with(secure);
  if (!target.secure && !url.starts_with(plain))
    throw std::runtime_error{"the URL must begin with ws:// or wss://"};
  auto rest = url.substr(target.secure ? secure.size() : plain.size());
  const auto slash = rest.find('/');
  target.authority = rest.substr(0, slash);
  target.path = slash == std::string_view::npos ? "/" : rest.substr(slash);

  const auto colon = target.authority.rfind(':');
  target.host = target.authority.substr(0, colon);
  const std::string usual_port = target.secure ? "443" : "80";
  const auto port = colon == std::string::npos ? usual_port : target.authority.substr(colon + 1);
  if (target.host.empty()) throw std::runtime_error{"the URL names no host"};
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(target.host.c_str(), port.c_str(), &hints, &found); error != 0)
    throw std::runtime_error{"cannot resolve " + target.authority + ": " + ::gai_strerror(error)};
  std::memcpy(&target.address, found->ai_addr, sizeof target.address);
  ::freeaddrinfo(found);
  return target;
}

}  // namespace skein::bench
