#pragma once

// Where the load goes: a ws:// or wss:// URL, resolved once.

#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace skein::bench {

struct endpoint {
  std::string authority;  // as the Host field wants it
  std::string host;       // as a certificate names it
  std::string path;
  bool secure = false;
  sockaddr_in address{};

  [[nodiscard]] bool loopback() const noexcept { return ntohl(address.sin_addr.s_addr) >> 24 == 127; }
};

/// Throws `std::runtime_error` for anything but ws[s]://HOST[:PORT][/PATH] with a host that has an IPv4
/// address.
endpoint resolve(std::string_view url);

}  // namespace skein::bench
