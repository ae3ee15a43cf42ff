#pragma once

// Where the load goes: a ws:// or wss:// URL, resolved once.

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <string_view>

namespace skein::bench {

struct endpoint {
  std::string authority;  // as the Host field wants it
  std::string host;       // as a certificate names it: an IPv6 address without its brackets
  std::string path;       // with the query
  bool secure = false;
  sockaddr_storage address{};
  socklen_t address_size = 0;

  /// In 127.0.0.0/8, so that there are many addresses to connect from.
  [[nodiscard]] bool has_many_sources() const noexcept;
};

/// Throws `std::runtime_error` for anything but ws[s]://HOST[:PORT][/PATH][?QUERY] with a host that has an
/// address; an IPv6 address stands in brackets. Of a name with several addresses the first of IPv4 is taken.
endpoint resolve(std::string_view url);

}  // namespace skein::bench
