#pragma once

// The JSON protocol with one client.

#include "protocol/protocol_core.hpp"
#include "protocol/request_fields.hpp"

#include <skein/connection.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace skein::detail {

class conversation {
 public:
  /// The connection outlives it.
  conversation(std::shared_ptr<json_protocol::impl> protocol, connection& client)
      : protocol_(std::move(protocol)), client_(client) {}

  /// Completes when the connection has ended.
  asio::awaitable<void> run();

  /// Whether the protocol itself answers requests of this type.
  [[nodiscard]] static bool answers(std::string_view type) noexcept;

 private:
  /// How a request ended that was not done, and how heavy that is.
  struct failure {
    std::string code;
    std::string text;
    std::string field{};
    std::chrono::milliseconds retry_after{};
    request_refusal::weight counts = request_refusal::weight::none;
    bool unexpected = false;
  };
  static failure current_failure();
  static asio::awaitable<void> stop_if_cancelled();

  asio::awaitable<void> welcome();
  /// What waits for the user. If the store cannot be read, again when the client next asks for something, but
  /// not at once.
  asio::awaitable<void> replay_stored();
  /// Whether the conversation goes on after a request that was not done.
  asio::awaitable<bool> go_on_after(failure problem, const json::value* id);
  asio::awaitable<void> answer_request(std::string_view type, const json::object& request,
                                       const json::value* id);
  [[nodiscard]] asio::awaitable<bool> is_allowed(topic_action what, const std::string& channel);
  /// Whether this client may be told who joins and leaves what it follows by this topic or pattern.
  [[nodiscard]] asio::awaitable<bool> may_see_presence(const std::string& channel);
  asio::awaitable<void> require_allowed(topic_action what, const std::string& channel);

  // Each answers a request of one type, or throws `request_refusal`.
  using answer_function = asio::awaitable<void> (conversation::*)(const json::object&, const json::value* id);
  struct request_kind {
    std::string_view type;
    answer_function answer;
  };
  static const std::array<request_kind, 9> answered;
  asio::awaitable<void> subscribe(const json::object& request, const json::value* id);
  asio::awaitable<void> unsubscribe(const json::object& request, const json::value* id);
  asio::awaitable<void> publish(const json::object& request, const json::value* id);
  asio::awaitable<void> history(const json::object& request, const json::value* id);
  asio::awaitable<void> presence(const json::object& request, const json::value* id);
  asio::awaitable<void> acknowledge(const json::object& request, const json::value* id);
  asio::awaitable<void> authenticate(const json::object& request, const json::value* id);
  asio::awaitable<void> refresh(const json::object& request, const json::value* id);
  asio::awaitable<void> pong(const json::object& request, const json::value* id);

  /// Until the client's token expires; nothing if it has none that does.
  [[nodiscard]] std::optional<std::chrono::milliseconds> token_left() const;
  asio::awaitable<void> end_what_is_not_allowed();

  const std::shared_ptr<json_protocol::impl> protocol_;
  connection& client_;
  std::string_view asked_;  // the request that is being answered
  std::size_t faults_ = 0, refused_subscriptions_ = 0;
  std::optional<time_point> replay_due_;  // again, because the store could not be read
  // What this client has asked for itself, if there are rights that can change: other subscriptions of the
  // connection are the server's doing.
  std::set<std::string, std::less<>> channels_;
};

}  // namespace skein::detail
