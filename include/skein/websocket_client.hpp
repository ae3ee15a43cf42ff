#pragma once

// The other end: a `websocket` to a server.
//
//   auto socket = co_await skein::connect_websocket("wss://example.org/ws");
//   co_await socket->write(skein::message::text("hello"));
//   while (auto received = co_await socket->read()) …
//
// For Skein's JSON protocol, with reconnecting and recovery, there is `skein::client` (client.hpp) on top.

#include <skein/clock.hpp>
#include <skein/error.hpp>
#include <skein/websocket.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skein {

/// What a client wants to know of a server's certificate, and shows of its own.
struct client_tls_options {
  std::string ca_file;           ///< PEM: who must have signed the server's certificate; empty: the system's
  std::string certificate_file;  ///< PEM, with its chain: the client's own (mutual TLS); empty: none
  std::string key_file;          ///< PEM, not encrypted: its private key
};

struct connect_options {
  connect_options() {}  // user-provided: this type is made inside co_await expressions
  std::vector<std::pair<std::string, std::string>> headers{};  ///< added to the request
  std::vector<std::string> subprotocols{};                     ///< offered, the best first
  std::string token{};  ///< sent as `Authorization: Bearer`; empty: none
  client_tls_options tls{};
  /// For all of it: resolving, connecting, TLS, the upgrade. Not zero.
  std::chrono::nanoseconds handshake_timeout = std::chrono::seconds{10};
  /// A server that is not heard of for so long is taken for dead: 1006. It is pinged when half of it has
  /// passed. Zero: never.
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds{60};
  std::chrono::nanoseconds close_timeout = std::chrono::seconds{5};  ///< for the answer to a close frame
  std::size_t max_message_bytes = std::size_t{16} * 1024 * 1024;     ///< received; past it 1009
  std::size_t max_queued_messages = 1024;                            ///< past it `write` waits. Not zero
  std::shared_ptr<clock> time{};                                     ///< empty: the machine's
};

/// What `connect_websocket` fails with if the server answered, but not with 101.
class upgrade_refused : public boost::system::system_error {
 public:
  upgrade_refused(unsigned status, std::string body, std::chrono::seconds retry_after)
      : system_error(errc::handshake_refused, std::to_string(status)),
        status_(status),
        body_(std::move(body)),
        retry_after_(retry_after) {}
  [[nodiscard]] unsigned status() const noexcept { return status_; }
  [[nodiscard]] const std::string& body() const noexcept { return body_; }  ///< its beginning, up to 4 KiB
  /// What `Retry-After` says; zero if it does not.
  [[nodiscard]] std::chrono::seconds retry_after() const noexcept { return retry_after_; }

 private:
  unsigned status_;
  std::string body_;
  std::chrono::seconds retry_after_;
};

/// A `websocket` of a client. All members on the executor that `connect_websocket` ran on, which must run one
/// thing at a time. Destroying it cuts the connection. Messages are not compressed.
class websocket_client : public websocket {
 public:
  /// What the server chose of `subprotocols`; empty if nothing.
  [[nodiscard]] virtual std::string_view subprotocol() const noexcept = 0;
};

/// Connects to `ws://host[:port]/path` or `wss://…`.
///
/// Completes when the server has answered. Throws `std::invalid_argument` for a URL or an option that is not
/// allowed, `upgrade_refused` if the server does not upgrade, `boost::system::system_error` with
/// `errc::handshake_timeout` or with what the network or TLS failed with. The server's certificate must be
/// valid and the host's. Cancellation: terminal; nothing is left behind.
[[nodiscard]] asio::awaitable<std::unique_ptr<websocket_client>> connect_websocket(
    std::string url, connect_options options = {});

}  // namespace skein
