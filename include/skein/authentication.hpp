#pragma once

// Authentication by JSON Web Tokens, ready made: where a token stands in a request, which keys verify it and
// where they come from, when a connection ends because its token has, and how a token is renewed in place.
//
// One `token_authenticator` serves any number of servers. Every member is legal from any thread unless it
// says otherwise.

#include <skein/clock.hpp>
#include <skein/connection.hpp>
#include <skein/handshake.hpp>
#include <skein/jwt.hpp>

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace skein {

/// Where a request may bring its token: one place only, two tokens are answered with 400.
struct token_places {
  bool header = true;       ///< `Authorization: Bearer TOKEN` (RFC 6750)
  bool subprotocol = true;  ///< an element `skein.jwt.TOKEN` of `Sec-WebSocket-Protocol`, for browsers
  /// The name of a cookie; empty: none. A browser sends cookies whatever page asks, so a cookie counts only
  /// if the request has an Origin that the route's origin policy lists (`*` lists nobody) or its callback
  /// accepts, and only if no other place has a token.
  std::string cookie{};
  std::string
      query{};  ///< the name of a query parameter; empty: none. Proxies and browsers keep those in logs
  /// `{"type":"auth","token":"TOKEN"}` as the first message, where a route does not say otherwise.
  bool first_message = false;
};

/// A JWK set that is fetched by HTTP GET from this address, and from no other: redirects are not followed.
struct jwks_endpoint {
  std::string url{};  ///< https://, or http:// to a loopback address; empty: none
  jwks_options format{};
  std::string
      ca_file{};  ///< certificates, in PEM, one of which must have signed the server's; empty: the system's
  std::chrono::nanoseconds timeout = std::chrono::seconds{5};  ///< for everything. Not zero
  /// Between two fetches, however many tokens with an unknown `kid` come. Not zero.
  std::chrono::nanoseconds pause = std::chrono::minutes{1};
  /// Keys older than this are fetched again while they are used; so a key that was withdrawn goes. Zero:
  /// never.
  std::chrono::nanoseconds max_age = std::chrono::minutes{10};
};

/// Whom a token is about.
enum class token_user : std::uint8_t {
  subject,             ///< its `sub`
  issuer_and_subject,  ///< its `iss`, a space, and its `sub`: where several issuers name users of their own
};

struct token_options {
  std::vector<jwt_key> keys{};  ///< beside those of `jwks`, until `replace_keys`
  jwks_endpoint jwks{};
  jwt_options jwt{};
  token_places places{};
  std::chrono::seconds grace{25};  ///< from a token's expiry to its connection's end; not negative
  /// To come with the first message; past it 4001. Not zero.
  std::chrono::nanoseconds first_message_timeout = std::chrono::seconds{10};
  token_user user = token_user::subject;  ///< unless there is a `to_identity`
  /// Empty: the user is what `user` says, the claims are all of the payload. `expires` is set afterwards.
  std::function<identity(const jwt_claims&)> to_identity{};
  std::shared_ptr<clock> time{};  ///< empty: the machine's
  /// Called when keys could not be fetched, or some were skipped. Any thread.
  std::function<void(std::string_view)> on_problem{};
};

enum class token_status : std::uint8_t {
  good = 1,
  refused,     ///< `why` says for what reason
  other_user,  ///< the token is good, but somebody else's, or another issuer's, or the user has no token
  keys_unavailable,  ///< the JWK set has never been fetched
  closed,            ///< the connection is not open any more
};

/// What became of a token.
class token_answer {
 public:
  explicit token_answer(identity found) : status_(token_status::good), who_(std::move(found)) {}
  explicit token_answer(token_status bad) : status_(bad) {}
  explicit token_answer(jwt_refusal reason) : status_(token_status::refused), why_(reason) {}

  [[nodiscard]] bool good() const noexcept { return status_ == token_status::good; }
  [[nodiscard]] token_status status() const noexcept { return status_; }
  /// Why it was refused; for logs, a client learns only that it was.
  [[nodiscard]] std::optional<jwt_refusal> why() const noexcept { return why_; }
  /// Of a good token. `expires` is when the connection ends: the token's expiry and the grace.
  [[nodiscard]] const identity& who() const noexcept { return who_; }
  [[nodiscard]] identity& who() noexcept { return who_; }

 private:
  token_status status_;
  identity who_;
  std::optional<jwt_refusal> why_;
};

/// Counted since it was made.
struct token_stats {
  std::uint64_t good = 0;
  std::uint64_t refused = 0;  ///< with `keys_unavailable`
  std::uint64_t fetches = 0;  ///< of the JWK set, begun
  std::uint64_t failed_fetches = 0;
  std::optional<std::chrono::sys_seconds> last_fetch{};  ///< the last that brought keys; empty: none did
  std::size_t keys = 0;                                  ///< now
};

class token_authenticator {
 public:
  /// Throws `std::invalid_argument` naming the option that is not allowed: neither keys nor an address of
  /// some is one.
  explicit token_authenticator(token_options options);
  token_authenticator(const token_authenticator&) = delete;
  token_authenticator& operator=(const token_authenticator&) = delete;
  ~token_authenticator();

  [[nodiscard]] const token_options& options() const noexcept;
  [[nodiscard]] token_stats stats() const;

  /// Whose token this is. A token whose `kid` is unknown waits for the JWK set to be fetched, if that has not
  /// been done within `jwks_endpoint::pause`. Cancellation: terminal; a fetch goes on.
  [[nodiscard]] asio::awaitable<token_answer> identify(std::string token);

  /// Renews a connection's identity with a newer token of the same user. To be awaited on the connection's
  /// executor; the connection must live until it completes, as it does in its handler. Cancellation: as
  /// `identify`.
  [[nodiscard]] asio::awaitable<token_answer> refresh(connection& who, std::string token);

  /// Fetches the JWK set, if there is one, whatever `jwks_endpoint::pause` says; a fetch that is under way is
  /// followed by another. A server does this when it starts. Completes when the keys are there, or, with
  /// false, when they could not be had and are as they were. Cancellation: terminal; a fetch goes on.
  [[nodiscard]] asio::awaitable<bool> load_keys();

  /// From now on these are the keys beside those of the JWK set that is fetched, in the place of
  /// `token_options::keys`. Tokens that are being verified are so with the old keys or with the new ones.
  void replace_keys(std::vector<jwt_key> keys);

  /// The token that a request brings, where `options().places` says; nothing if there is none, and an error
  /// if there are two.
  [[nodiscard]] std::variant<std::optional<std::string>, refusal> find(const request& what,
                                                                       const origin_policy& origins) const;

  /// The request without any token: what handlers, and their logs, get to see.
  [[nodiscard]] request without_token(const request& what) const;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace skein
