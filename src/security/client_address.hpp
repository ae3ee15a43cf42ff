#pragma once

// Who is at the other end when proxies stand between: the address that they report in a header, and the PROXY
// protocol's header in front of a connection. Plain functions of what was received; thread-safe.

#include <skein/handshake.hpp>

#include <boost/asio/ip/address.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skein::detail {

/// An IPv4-mapped IPv6 address as the IPv4 address it stands for; every other as it is.
[[nodiscard]] boost::asio::ip::address unmapped(const boost::asio::ip::address& address) noexcept;

/// What an address counts as where clients are counted: itself, or its /64 of IPv6, because that is what one
/// subscriber is given. Mapped ones are unmapped.
using address_key = std::array<unsigned char, 16>;
[[nodiscard]] address_key key_of(const boost::asio::ip::address& address) noexcept;

/// An address as it is written in a header: IPv4 in four decimal numbers, or IPv6 without brackets and zone.
/// Mapped ones are unmapped.
[[nodiscard]] std::optional<boost::asio::ip::address> parse_address(std::string_view text) noexcept;

/// A range of addresses.
class network {
 public:
  /// Reads `10.0.0.0/8`, `2001:db8::/32`, or a single address. Nothing if it is written in any other way, or
  /// if an address has bits behind the prefix: `10.1.0.0/8` is a slip of somebody's pen. A range within
  /// ::ffff:0:0/96 is the range of IPv4 that it stands for.
  [[nodiscard]] static std::optional<network> parse(std::string_view text) noexcept;

  [[nodiscard]] bool contains(const boost::asio::ip::address& address) const noexcept;

 private:
  network() = default;

  std::array<unsigned char, 16> bytes_{};
  std::uint8_t bits_ = 0;
  bool is_v4_ = false;
};

/// Whether one of them contains the address.
[[nodiscard]] bool contains(const std::vector<network>& networks,
                            const boost::asio::ip::address& address) noexcept;

using skein::forwarded_header;

/// Proxies that may say who their client is.
struct trusted_proxies {
  std::vector<network> networks;
  forwarded_header header = forwarded_header::none;
};

/// How the address came to be known.
enum class client_source : std::uint8_t {
  peer = 1,   ///< the peer itself: no trusted proxy, or a proxy that reports nobody, such as its health check
  forwarded,  ///< a trusted proxy reported it
  hidden,     ///< a trusted proxy does not say (`unknown`, `_name`, no `for`): the address is that proxy's
  malformed,  ///< a trusted proxy reported what cannot be read: refuse the request (400); the address is the
              ///< peer's
};

struct client_address {
  boost::asio::ip::address address;
  client_source source = client_source::peer;
};

/// The most hops of a header that are looked at; a header with more is malformed.
inline constexpr std::size_t max_forwarded_hops = 32;

/// The client of a request that came from `peer`. If `peer` is a trusted proxy, the reported addresses are
/// read from the last, which the nearest proxy wrote, to the first: the first that is no trusted proxy is the
/// client, and nothing before it is believed. If all are trusted, it is the first.
///
/// All fields of the header's name count as one list. In X-Forwarded-For an element is an address, IPv6 with
/// or without brackets, a port behind IPv4 or behind brackets; what stands before the client is not looked
/// at. In Forwarded the whole list must be well formed (RFC 7239 section 4), because a quotation mark that a
/// client left open would swallow what the proxy wrote behind it. Never throws; allocates only for the list
/// of headers.
[[nodiscard]] client_address find_client(const boost::asio::ip::address& peer, const request& what,
                                         const trusted_proxies& proxies);

}  // namespace skein::detail
