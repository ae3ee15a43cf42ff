#pragma once

// The server: listens, answers HTTP, and upgrades requests to connections that run a route's handler.
//
// Register routes and endpoints before `start`; afterwards the server may be used from any thread.

#include <skein/connection.hpp>
#include <skein/handshake.hpp>
#include <skein/manager.hpp>
#include <skein/tls.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace skein {

/// A coroutine handler: runs for as long as the connection is of use to it. When it returns, the connection
/// is closed with 1000; when it throws, with 1011, and the exception is logged and counted. A handler that
/// takes a `websocket&` fits too.
using handler = std::function<asio::awaitable<void>(connection&)>;

struct route_options {
  /// Empty: everybody is anonymous, but for clients with a certificate (`identity_of`).
  skein::authenticator authenticator;
  std::optional<origin_policy> origin;  ///< empty: the server's
  std::vector<std::string>
      subprotocols;  ///< in order of preference; the first that the client offers is chosen
};

/// An answer of a plain HTTP endpoint.
struct response {
  unsigned status = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers{};
};

/// A plain HTTP endpoint for GET and HEAD.
using endpoint = std::function<asio::awaitable<response>(const request&)>;

struct server_options {
  std::string address = "127.0.0.1";  ///< IPv4 or IPv6; `0.0.0.0` or `::` for all
  std::uint16_t port = 8080;          ///< 0: the system picks one
  std::chrono::nanoseconds handshake_timeout =
      std::chrono::seconds{5};              ///< TLS and the whole request; past it 408. Not zero
  std::size_t max_header_bytes = 8 * 1024;  ///< request line and headers; past it 431. Not zero
  std::size_t max_header_fields = 100;      ///< past it 431. Not zero
  std::size_t max_handshakes =
      1024;  ///< connections in TLS or HTTP at once; past it accepting waits. Not zero
  std::size_t socket_read_buffer = 0;   ///< SO_RCVBUF in bytes; 0: the system's
  std::size_t socket_write_buffer = 0;  ///< SO_SNDBUF in bytes; 0: the system's
  origin_policy origin;
  tls_options tls;
};

namespace detail {
class server_core;
}

class server {
 public:
  /// `hub` must come from `make_manager`. Throws `std::invalid_argument` naming the option that is not
  /// allowed.
  server(std::shared_ptr<manager> hub, server_options options = {});
  /// Stops accepting; connections stay with the manager.
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  /// Runs `what` for connections to this exact path. Throws `std::invalid_argument` if the path is taken or
  /// does not begin with a slash.
  void route(std::string path, handler what, route_options options = {});

  /// Answers GET and HEAD of this exact path. A path may have both a route and an endpoint: requests to
  /// upgrade go to the route.
  void get(std::string path, endpoint what);

  /// Adds `/ws/stats`, `/healthz` and `/readyz`.
  void add_standard_endpoints();

  /// Binds and begins to accept. Throws `boost::system::system_error` if the address cannot be had, and
  /// `tls_error` if a certificate cannot be.
  void start();

  /// Stops accepting and ends idle HTTP connections; a request that has begun is answered. Idempotent, from
  /// any thread.
  void stop();

  /// Reads the files of `tls_options` again, and shows new connections what is in them; those that there are
  /// stay as they are. Throws `tls_error` if anything is wrong with any of the files, and then nothing has
  /// changed. Does nothing without TLS. From any thread; it blocks while it reads.
  void reload_certificates();

  /// The port that is listened on, once started.
  [[nodiscard]] std::uint16_t port() const noexcept;

 private:
  std::shared_ptr<manager> manager_;
  std::shared_ptr<detail::server_core> core_;
};

}  // namespace skein
