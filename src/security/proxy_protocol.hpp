#pragma once

// The header that a proxy puts in front of a connection to say who its client is: the PROXY protocol,
// versions 1 and 2, as HAProxy specifies it. Expect it only from peers that are known to send it: there is no
// way to tell it from what a client sends.

#include <boost/asio/ip/tcp.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace skein::detail {

/// The longest header of version 1 (section 2.1).
inline constexpr std::size_t max_proxy_v1_bytes = 107;
/// The default limit of a header of version 2, its 16 fixed bytes included.
inline constexpr std::size_t default_max_proxy_v2_bytes = 4096;

enum class proxy_error : std::uint8_t {
  not_proxy = 1,  ///< the first bytes are of neither version
  malformed,      ///< it begins like a header and breaks its rules
  too_long,       ///< version 1 without an end in 107 bytes, version 2 past the limit
  checksum,       ///< the header's CRC32c is not that of its bytes
};

/// The addresses of the connection that the proxy accepted.
struct proxied_endpoints {
  boost::asio::ip::tcp::endpoint source;
  boost::asio::ip::tcp::endpoint destination;
};

struct proxy_header {
  enum class status : std::uint8_t { need_more, done, failed };

  status state = status::need_more;
  /// Once done: how many bytes were the header; what follows is the connection's.
  std::size_t consumed = 0;
  /// Once done: nothing if the header names no TCP addresses (LOCAL, UNKNOWN, UNSPEC, a datagram, a UNIX
  /// socket); then the socket's own count.
  std::optional<proxied_endpoints> endpoints;
  /// Once failed.
  proxy_error error{};
};

/// Reads a header from the beginning of what has arrived so far. Asks for more until it is complete, fails at
/// the first byte that cannot be right, and then with whatever follows. Gather bytes and call it again: it
/// never needs more than `max_v2_bytes` (at least 107), and what it looks at while the header is incomplete
/// is bounded by version 1's 107 bytes.
///
/// Version 2's type-length-value fields must fit into the header. A CRC32c among them is verified; the others
/// are skipped unread. LOCAL discards everything behind the fixed part, and fields behind no addresses
/// (UNSPEC) are not looked at.
[[nodiscard]] proxy_header parse_proxy_header(std::string_view bytes,
                                              std::size_t max_v2_bytes = default_max_proxy_v2_bytes) noexcept;

/// How many more bytes of an incomplete header may be read without taking what stands behind it.
[[nodiscard]] std::size_t proxy_header_needs(std::string_view got) noexcept;

}  // namespace skein::detail
