#pragma once

// Publishing to those who follow a topic.
//
// A topic is a name of tokens with dots between them: `market.AAPL`. Nobody creates one; it is there while
// somebody follows it. A subscription is to a topic or to a pattern of topics, in which `*` stands for one
// token and `>`, at the end, for one or more: `market.*`, `orders.>`. A connection that matches by several
// subscriptions gets each publication once.

#include <skein/connection.hpp>
#include <skein/delivery.hpp>
#include <skein/manager.hpp>
#include <skein/message.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skein {

inline constexpr std::size_t max_topic_bytes = 255;
inline constexpr std::size_t max_topic_tokens = 16;

/// Whether this may be published to: 1 to 255 bytes, 1 to 16 tokens, none of them empty; no control
/// characters, spaces, `*` or `>`.
[[nodiscard]] bool is_topic(std::string_view name) noexcept;
/// Whether this may be subscribed to: a topic, or one in which tokens are `*`, or the last is `>`.
[[nodiscard]] bool is_topic_pattern(std::string_view pattern) noexcept;
/// Whether a subscription to `pattern` follows `topic`. Both must be well formed.
[[nodiscard]] bool topic_matches(std::string_view pattern, std::string_view topic) noexcept;

/// How publications are delivered to those who follow topics that match a pattern, unless the publisher says
/// otherwise.
struct topic_rule {
  std::string pattern;
  /// `conflate`: a publication replaces the waiting one of its topic. Not `wait`.
  overflow policy = overflow::evict;
};

struct topics_options {
  std::size_t max_subscriptions = 128;  ///< of one connection; at least 1
  std::vector<topic_rule> rules;        ///< the first that matches counts
};

/// What became of a `subscribe`.
enum class subscribed : std::uint8_t {
  yes = 1,
  already,  ///< the connection has this subscription; nothing changed
  invalid,  ///< not a topic or pattern
  limit,    ///< the connection has `max_subscriptions` already
  closed,   ///< the connection is closing or has ended
};

/// Now, but for the last group, which is counted since the start.
struct topics_stats {
  std::size_t subscriptions = 0;
  std::size_t subscribers = 0;  ///< connections with at least one subscription
  std::size_t topics = 0;       ///< distinct topics and patterns on each shard, added up

  std::uint64_t publications = 0;
  std::uint64_t refused = 0;  ///< subscriptions refused as `invalid` or for the `limit`
};

/// All functions are legal on any thread; coroutines go on where they were called.
class topics {
 public:
  topics() = default;
  topics(const topics&) = delete;
  topics& operator=(const topics&) = delete;
  virtual ~topics() = default;

  /// Lets a connection follow a topic or pattern until it unsubscribes or ends.
  ///
  /// Completes once the subscription holds: what is published by whoever learns of that afterwards is
  /// delivered. Throws `std::invalid_argument` if the connection is not one of the manager's.
  [[nodiscard]] virtual asio::awaitable<subscribed> subscribe(connection& who, std::string pattern) = 0;

  /// Ends a subscription; completes with whether there was one. What was queued before is still delivered.
  virtual asio::awaitable<bool> unsubscribe(connection& who, std::string pattern) = 0;

  /// What a connection has subscribed to, sorted.
  [[nodiscard]] virtual asio::awaitable<std::vector<std::string>> subscriptions(connection& who) = 0;

  /// Sends a message to every open connection that follows the topic, with the policy that the rules say, and
  /// waits for what becomes of each copy, as `manager::broadcast` does, with the same errors and the same
  /// cancellation. Throws `std::invalid_argument` if `topic` is not one.
  ///
  /// Publications to a topic that one coroutine awaits, or posts, one after another arrive in that order.
  [[nodiscard]] virtual asio::awaitable<delivery_report> publish(std::string topic,
                                                                 prepared_message what) = 0;
  /// As above, delivered as `how` says.
  [[nodiscard]] virtual asio::awaitable<delivery_report> publish(std::string topic, prepared_message what,
                                                                 delivery how) = 0;

  /// As `publish`, without waiting and without a report.
  virtual void post_publish(std::string_view topic, prepared_message what) = 0;
  virtual void post_publish(std::string_view topic, prepared_message what, delivery how) = 0;

  [[nodiscard]] virtual topics_stats stats() const = 0;
};

/// The topics of a manager that `make_manager` made, which they keep. Throws `std::invalid_argument` for any
/// other manager, for one that has topics already, and for an option that is not allowed.
[[nodiscard]] std::shared_ptr<topics> make_topics(const std::shared_ptr<manager>& of,
                                                  topics_options options = {});

}  // namespace skein
