#include "endpoint.hpp"

#include <sys/socket.h>

#include <cstring>
#include <netdb.h>
#include <stdexcept>

namespace skein::bench {

endpoint resolve(std::string_view url) {
  constexpr std::string_view scheme = "ws://";
  if (!url.starts_with(scheme)) throw std::runtime_error{"the URL must begin with ws://"};
  auto rest = url.substr(scheme.size());
  const auto slash = rest.find('/');
  endpoint target;
  target.authority = rest.substr(0, slash);
  target.path = slash == std::string_view::npos ? "/" : rest.substr(slash);

  const auto colon = target.authority.rfind(':');
  const auto host = target.authority.substr(0, colon);
  const auto port = colon == std::string::npos ? std::string{"80"} : target.authority.substr(colon + 1);
  if (host.empty()) throw std::runtime_error{"the URL names no host"};
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0)
    throw std::runtime_error{"cannot resolve " + target.authority + ": " + ::gai_strerror(error)};
  std::memcpy(&target.address, found->ai_addr, sizeof target.address);
  ::freeaddrinfo(found);
  return target;
}

}  // namespace skein::bench
