#pragma once

// Who may try to connect, how often, and from where: decided before a request is upgraded.

#include "connection/inbound_guard.hpp"
#include "security/client_address.hpp"
#include "security/rate_limit.hpp"

#include <skein/manager.hpp>
#include <skein/server.hpp>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace skein::detail {

/// How many connections each address has. Thread-safe.
class address_places : public std::enable_shared_from_this<address_places> {
 public:
  /// `most` is not zero.
  explicit address_places(std::size_t most) noexcept : most_(most) {}

  /// A place, given back when the last owner lets go; nothing if the address has as many as it may.
  [[nodiscard]] std::shared_ptr<void> take(const boost::asio::ip::address& from);
  [[nodiscard]] std::size_t addresses() const;

 private:
  void give_back(const address_key& from) noexcept;

  const std::size_t most_;
  mutable std::mutex mutex_;
  std::map<address_key, std::size_t> taken_;
};

/// How a connection begins, where its address may make so many handshakes.
enum class entrance : std::uint8_t {
  open,    ///< nothing is counted: there is no limit, or it comes from a trusted proxy
  paid,    ///< counted; its first request to upgrade is not counted again
  unpaid,  ///< past the limit: counted as a refusal, and worth one answer
};

/// The limits of one server for all its clients. Thread-safe.
class client_gate {
 public:
  /// Throws `std::invalid_argument` naming the option that is not allowed.
  explicit client_gate(const server_options& options);

  /// How many refusals an address is told of, in a second and at once. A refusal costs an HTTP exchange, over
  /// TLS a handshake too: whoever goes on is not worth that.
  static constexpr std::uint32_t answered_refusals = 20;

  /// Whether a connection from this address is listened to: not if the address has been refused too often. A
  /// trusted proxy always is: it brings many clients.
  [[nodiscard]] bool listens_to(const boost::asio::ip::address& from, time_point now) const;
  /// Counts a refusal against who sent the request; whether it is worth answering the next.
  bool remember(const boost::asio::ip::address& peer, time_point now) noexcept;
  /// A connection begins: TLS, plain requests and bad ones cost something too, so it counts as a handshake.
  [[nodiscard]] entrance enter(const boost::asio::ip::address& from, time_point now) noexcept;
  /// Why this address may not ask to upgrade now; nothing if it may.
  [[nodiscard]] std::optional<std::pair<refusal, refusal_reason>> check_address(
      const boost::asio::ip::address& from, time_point now);
  /// Why nobody may connect now; nothing if all may.
  [[nodiscard]] std::optional<std::pair<refusal, refusal_reason>> check_all(time_point now);
  /// A place among the address's connections: empty and true where there is no limit.
  [[nodiscard]] std::pair<std::shared_ptr<void>, bool> take_place(const boost::asio::ip::address& from);
  [[nodiscard]] static std::pair<refusal, refusal_reason> no_place();

  [[nodiscard]] const trusted_proxies& proxies() const noexcept { return proxies_; }
  /// What a route's connections have to keep to; empty if that is nothing.
  [[nodiscard]] std::shared_ptr<const inbound_rules> rules(const route_options& route) const;

 private:
  client_limits limits_;
  trusted_proxies proxies_;
  std::mutex mutex_;  // of `accepts_`
  skein::token_bucket accepts_;
  std::optional<keyed_buckets> handshakes_;
  std::optional<keyed_buckets> refused_;  // empty: nothing that would refuse an address
  std::shared_ptr<address_places> places_;
  std::shared_ptr<user_rate> users_;
};

/// The rules of a route alone, where there is no server.
[[nodiscard]] std::shared_ptr<const inbound_rules> rules_of(const route_options& route,
                                                            const client_limits& limits,
                                                            std::shared_ptr<user_rate> users);

}  // namespace skein::detail
