#pragma once

// The server: listens, answers HTTP, and upgrades requests to connections that run a route's handler.
//
// Register routes and endpoints before `start`; afterwards the server may be used from any thread.

#include <skein/authentication.hpp>
#include <skein/connection.hpp>
#include <skein/handshake.hpp>
#include <skein/inbound.hpp>
#include <skein/manager.hpp>
#include <skein/tls.hpp>
#include <skein/validation.hpp>

#include <boost/json/object.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skein {

/// A coroutine handler: runs for as long as the connection is of use to it. When it returns, the connection
/// is closed with 1000; when it throws, with 1011, and the exception is logged and counted. A handler that
/// takes a `websocket&` fits too.
using handler = std::function<asio::awaitable<void>(connection&)>;

struct route_options {
  /// Empty: the server's tokens, then the client's certificate (`identity_of`); without either everybody is
  /// anonymous.
  skein::authenticator authenticator;
  std::optional<origin_policy> origin;  ///< empty: the server's
  std::vector<std::string>
      subprotocols;  ///< in order of preference; the first that the client offers is chosen
  /// Whether those who do not say who they are may connect; empty: unless the server requires
  /// authentication. What is said must be true in any case.
  std::optional<bool> anonymous{};
  /// Whether a client may bring its token in the first message instead; empty: as the server's tokens say.
  /// Only where nobody may be anonymous.
  std::optional<bool> first_message_token{};
  std::optional<rate> messages{};  ///< in the place of `client_limits::messages`
  std::optional<rate> bytes{};     ///< in the place of `client_limits::bytes`
  /// Looks at every message before the handler does. Past it an error message that names the field, and 1008
  /// at the third. Empty: everything may pass.
  std::shared_ptr<const message_validator> validator{};
};

/// An answer of a plain HTTP endpoint.
struct response {
  unsigned status = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers{};
};

/// A plain HTTP endpoint for GET and HEAD. Called on an executor of the server, which it must not block; the
/// request lives until it completes. It has `server_options::handshake_timeout` for its answer, and is then
/// cancelled (`terminal`) and answered with 503, as it is, without an answer, when its peer keeps others out;
/// an exception counts as status 500.
using endpoint = std::function<asio::awaitable<response>(const request&)>;

/// How much and how fast clients may be. A rate that is off, and zero, are no limit.
///
/// If there are `handshakes`, `connections_per_address` or `accepts`, an address is told of twenty refusals a
/// second, whatever they are for (401, 403, 404, 426, 429 and others); while it goes on beyond that, its
/// connections are reset as they are accepted, whatever they would ask; meanwhile connections are accepted in
/// batches, every 5 ms. Each refusal is counted. Trusted proxies are many clients, and are always told.
struct client_limits {
  /// Messages received from one connection. Past it the message is dropped and answered with an error; at the
  /// third time 1008. The count of times begins anew once the connection has been slow enough for the whole
  /// burst to be there again.
  rate messages{};
  rate bytes{};          ///< the same for payload bytes; the burst holds the largest message at least
  rate user_messages{};  ///< the same for all connections of one user; anonymous ones are no user
  /// Connections that begin, and requests to upgrade but for the first of each connection, from one address
  /// (IPv6: one /64). Past it a request to upgrade gets 429, a plain one is the last of its connection, and
  /// either counts as a refusal. Of a trusted proxy the requests to upgrade alone count, for whom it reports.
  rate handshakes{};
  std::size_t connections_per_address = 0;  ///< at once (IPv6: one /64); past it 429
  /// Connections of one address (IPv6: one /64) that are still in TLS or HTTP while others wait for a place
  /// among `server_options::max_handshakes`. However many come at once from one address, all are served in
  /// turn; but where no place is left, those past this number that have taken longer than half of the
  /// handshake timeout, or 2 s, are closed without a word, the oldest first; and all those past it at once if
  /// their address was past it for that long and fewer than this number of its requests to upgrade were
  /// granted meanwhile. For the next ten seconds the address gets no more than this, as long as half of the
  /// places are taken. It is never more than half of all places. Trusted proxies are many clients, and are
  /// not counted. Shards divide both numbers among them.
  std::size_t handshakes_per_address = 128;
  rate accepts{};  ///< requests to upgrade, from all addresses together; past it 503
};

/// Proxies in front of the server that may say who their client is.
struct proxy_options {
  std::vector<std::string> trusted{};  ///< networks, as `10.0.0.0/8`, or addresses; empty: nobody is believed
  forwarded_header header = forwarded_header::x_forwarded_for;  ///< what they write
  /// Every connection begins with a header of the PROXY protocol, version 1 or 2; who does not send it, or is
  /// not trusted, is not answered. Needs `trusted`.
  bool proxy_protocol = false;
};

struct server_options {
  std::string address = "127.0.0.1";  ///< IPv4 or IPv6; `0.0.0.0` or `::` for all
  std::uint16_t port = 8080;          ///< 0: the system picks one
  std::chrono::nanoseconds handshake_timeout =
      std::chrono::seconds{5};              ///< TLS and the whole request; past it 408. Not zero
  std::size_t max_header_bytes = 8 * 1024;  ///< request line and headers; past it 431. Not zero
  std::size_t max_header_fields = 100;      ///< past it 431. Not zero
  std::size_t max_handshakes =
      1024;  ///< connections in TLS or HTTP at once. Past it who waits longest for a further request is
             ///< disconnected; or else who has had an answer, or has more places than its address may, and
             ///< takes too long (`client_limits::handshakes_per_address`). If nobody does, accepting waits.
             ///< Not zero
  /// Requests that one connection may make; the last one's answer says that it is. Zero: any number.
  std::size_t max_requests = 100;
  /// Connections at once whose token is still to come in the first message; past it 503. They count among
  /// `max_connections` too. Zero: a quarter of those.
  std::size_t max_unadmitted = 0;
  std::size_t socket_read_buffer = 0;   ///< SO_RCVBUF in bytes; 0: the system's
  std::size_t socket_write_buffer = 0;  ///< SO_SNDBUF in bytes; 0: the system's
  origin_policy origin;
  /// Whose tokens say who a client is, on routes without an authenticator of their own; empty: nobody's.
  std::shared_ptr<token_authenticator> tokens;
  /// Nobody is anonymous but where a route says so. Plain endpoints are open to all.
  bool require_authentication = false;
  client_limits clients;
  proxy_options proxies;
  tls_options tls;
  /// Called with a line for each client that was not let in for who it is, or is not, or for its origin: why,
  /// and no token. Ten lines a second at most; the next says how many were left out. What a client wrote is
  /// in it as it wrote it, at most 100 bytes. On any thread; it must not throw.
  std::function<void(std::string_view)> on_refusal{};
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
  /// does not begin with a slash, if nobody may be anonymous but nothing says who anybody is, or if a burst
  /// of bytes is smaller than the largest message.
  void route(std::string path, handler what, route_options options = {});

  /// Answers GET and HEAD of this exact path. A path may have both a route and an endpoint: requests to
  /// upgrade go to the route.
  void get(std::string path, endpoint what);

  /// Adds `/ws/stats`, `/healthz` and `/readyz`.
  void add_standard_endpoints();

  /// Something else that decides whether the process is live and ready: it may clear the flags and add
  /// reasons. Called for each request to `/healthz` and `/readyz`, at the same time on several threads.
  void add_health_check(std::function<void(health_report&)> check);

  /// A section of your own in `/ws/stats`. Called for each request, at the same time on several threads; it
  /// must not block. Throws `std::invalid_argument` if there is one of this name.
  void add_statistics(std::string name, std::function<boost::json::object()> now);

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

  /// Fetches the JWK set of `server_options::tokens` now, if there is one, as
  /// `token_authenticator::load_keys` does. `done`, if given, is told what that completes with, on a thread
  /// of the manager, unless the manager ends first. Does nothing without tokens. Not before the start. From
  /// any thread.
  void reload_keys(std::function<void(bool)> done = {});

  /// The port that is listened on, once started.
  [[nodiscard]] std::uint16_t port() const noexcept;

 private:
  std::shared_ptr<manager> manager_;
  std::shared_ptr<detail::server_core> core_;
};

}  // namespace skein
