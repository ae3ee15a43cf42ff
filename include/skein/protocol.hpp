#pragma once

// The JSON protocol: topics, recovery, presence, messages that wait for their user, as browsers and services
// speak it. docs/reference/protocol.md is its specification.
//
//   skein::json_protocol protocol{topics, users};
//   protocol.on("place_order", place_order);                // requests of your own beside it
//   server.route("/ws", protocol.handler());

#include <skein/server.hpp>
#include <skein/topics.hpp>
#include <skein/users.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace skein {

/// What a client asks to do with a topic or pattern.
enum class topic_action : std::uint8_t { subscribe = 1, publish, history, presence };

/// Says whether a client may. Called on the connection's executor, for each request; while it waits the
/// client's next requests do. What it throws is an `internal_error` for the client.
using topic_authorizer =
    std::function<asio::awaitable<bool>(connection& who, topic_action what, std::string channel)>;

/// Whether everything that `wanted`, a topic or pattern, follows is also followed by `allowed`. Both must be
/// well formed.
[[nodiscard]] bool topic_covers(std::string_view allowed, std::string_view wanted) noexcept;

/// Reads what a user may do from the identity's claims: an object with the lists `subscribe`, `publish` and
/// `presence` of topics and patterns. A pattern may be subscribed to if one on the list covers it. Reading a
/// history takes the right to subscribe, and so does presence if there is no list `presence`. Whoever has no
/// such claim may do nothing.
[[nodiscard]] topic_authorizer authorize_by_claim(std::string claim = "topics");

/// Thrown by a request's handler to answer with an error. Closes nothing.
struct request_error : std::runtime_error {
  request_error(std::string kind, const std::string& text)
      : std::runtime_error(text), code(std::move(kind)) {}
  std::string code;
  std::chrono::milliseconds retry_after{0};  ///< more than zero: told to the client
};

/// Answers requests of a type of your own. Gets the whole message; answers, if it does, with `answer_to` or
/// `client.write`. The client's next request waits until it completes. `request_error` is told to the client;
/// any other exception is an `internal_error` for it, and in the log.
using request_handler =
    std::function<asio::awaitable<void>(connection& who, const boost::json::object& request)>;

/// `fields` with the `id` of the request, as a message.
[[nodiscard]] prepared_message answer_to(const boost::json::object& request, boost::json::object fields);

struct protocol_options {
  topic_authorizer authorize{};  ///< empty: everything that the topics' rules allow
  /// Whose tokens a client may renew its own with; empty: nobody's, and `refresh` is `not_available`. What a
  /// client has subscribed to and may not any more with the new token is ended.
  std::shared_ptr<token_authenticator> tokens{};
  std::size_t max_depth = 16;        ///< of a request's JSON; 1 to 256. Past it `bad_json`
  std::size_t max_faults = 3;        ///< of one connection; at least 1. The last one closes it
  std::size_t max_info_bytes = 256;  ///< of a subscription's `info`
  // What clients are told; see the options of the manager and of the topics.
  std::chrono::nanoseconds ping_interval = std::chrono::seconds{25};
  std::size_t max_message_bytes = 64 * 1024;
  std::size_t max_subscriptions = 128;
};

/// Since the start.
struct protocol_stats {
  std::uint64_t requests = 0;
  std::uint64_t errors = 0;  ///< answered with an error, faults among them
  std::uint64_t faults = 0;  ///< `bad_json`, `bad_request`, `unknown_type`, `bad_channel`, …
  std::uint64_t not_allowed = 0;
};

/// Copies share one protocol. Thread safety: `on` before the first connection; the rest from any thread.
class json_protocol {
 public:
  /// Throws `std::invalid_argument` for an option that is not allowed, or an empty part.
  json_protocol(std::shared_ptr<topics> of, std::shared_ptr<users> to, protocol_options options = {});

  /// Answers requests of this type. Throws `std::invalid_argument` if the protocol has the type already.
  json_protocol& on(std::string type, request_handler answer);

  /// The coroutine handler of a route: completes when the connection has ended.
  [[nodiscard]] skein::handler handler() const;
  asio::awaitable<void> serve(connection& client) const;

  [[nodiscard]] protocol_stats stats() const;

  struct impl;

 private:
  std::shared_ptr<impl> impl_;
};

}  // namespace skein
