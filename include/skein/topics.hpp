#pragma once

// Publishing to those who follow a topic.
//
// A topic is a name of tokens with dots between them: `market.AAPL`. Nobody creates one; it is there while
// somebody follows it. A subscription is to a topic or to a pattern of topics, in which `*` stands for one
// token and `>`, at the end, for one or more: `market.*`, `orders.>`. A connection that matches by several
// subscriptions gets each publication once.
//
// A topic may keep a history. Its publications are then numbered, by one owner and in order, kept in a
// message store (message_store.hpp), and delivered in that order; whoever comes back says what was seen last
// and gets the rest.

#include <skein/connection.hpp>
#include <skein/delivery.hpp>
#include <skein/manager.hpp>
#include <skein/message.hpp>
#include <skein/message_store.hpp>

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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

/// What a topic remembers.
struct topic_history {
  history_limits keep;
  /// In the durable store: a publication is delivered once it is on the disk, and `publish` completes after.
  bool durable = false;
  /// If the store cannot keep a publication: deliver it all the same, without a number. Otherwise nobody gets
  /// it, and `publish` throws.
  bool deliver_unkept = false;
};

/// Who may publish to a topic through the JSON protocol. The server's own modules always may.
enum class topic_publishers : std::uint8_t { nobody, subscribers, everybody };

/// What holds for topics that match a pattern.
struct topic_rule {
  std::string pattern;
  /// For publications that come without a policy of their own. Not `wait`. `conflate`: a publication replaces
  /// the waiting one of its topic.
  overflow policy = overflow::evict;
  /// With `conflate`: one of its topic that has the same value in this field of its JSON object. Not for a
  /// topic with a history: what is delivered of that has ascending offsets.
  std::string conflate_by{};
  std::optional<topic_history> history{};
  bool presence = false;
  topic_publishers clients_publish = topic_publishers::nobody;
};

/// Says whether a connection that follows a topic, itself or by a pattern, may have what is published to it.
using topic_filter = std::function<bool(const connection& to, std::string_view topic)>;

struct topics_options {
  std::size_t max_subscriptions = 128;  ///< of one connection; at least 1
  std::vector<topic_rule> rules;        ///< the first that matches counts
  /// Where histories are kept. Empty: in memory, if a rule asks for any.
  std::shared_ptr<message_store> store{};
  /// Where durable ones are; required if a rule asks for any.
  std::shared_ptr<message_store> durable_store{};
  /// Asked for each delivery to each follower, on that connection's executor; it must not block. A follower
  /// for whom it is false is not matched. What it throws counts as false, and is in the log. Not asked for
  /// what is recovered from a history. Empty: whoever may subscribe gets everything.
  topic_filter may_receive{};
  std::size_t presence_members = 200;  ///< of a topic with more, only their number is told
  /// Joins and leaves are gathered for so long before they are told; more than zero.
  std::chrono::nanoseconds presence_interval = std::chrono::seconds{1};
};

/// What became of a `subscribe`.
enum class subscribed : std::uint8_t {
  yes = 1,
  already,  ///< the connection has this subscription; nothing changed
  invalid,  ///< not a topic or pattern
  limit,    ///< the connection has `max_subscriptions` already
  closed,   ///< the connection is closing or has ended
  /// The subscription was ended while the connection was still being told what it had missed.
  withdrawn,
};

/// What became of a `subscribe` with options.
struct subscribe_report {
  subscribed what = subscribed::closed;
  /// Of a topic with history: what comes live comes after this. Its epoch is empty for patterns, for topics
  /// without history, and if the store could not tell.
  topic_position position{};
  /// Whether everything after the position that was given has been, or is about to be, sent.
  bool recovered = false;
  std::size_t replayed = 0;  ///< publications that were sent from the history

  subscribe_report() {}  // user-provided: this type is made inside co_await expressions
};

/// Options of a subscription, written as a chain.
class subscription {
 public:
  subscription() {}  // user-provided: this type is made inside co_await expressions

  /// Sends what was published after this position, before anything that is published from now on.
  subscription& recover(topic_position since) {
    since_ = std::move(since);
    return *this;
  }
  /// JSON that presence shows of this subscription.
  subscription& info(std::string json) {
    info_ = std::move(json);
    return *this;
  }
  /// Called on the connection's executor once position and `recovered` are known; what it returns is sent to
  /// the connection before any publication. Not called if the subscription is refused.
  subscription& announce(std::function<prepared_message(const subscribe_report&)> by) {
    announce_ = std::move(by);
    return *this;
  }

  /// Does not tell the connection, by this subscription, who joins and leaves.
  subscription& blind_to_presence(bool yes = true) noexcept {
    blind_ = yes;
    return *this;
  }

  [[nodiscard]] const std::optional<topic_position>& since() const noexcept { return since_; }
  [[nodiscard]] bool is_blind_to_presence() const noexcept { return blind_; }
  [[nodiscard]] const std::string& info() const noexcept { return info_; }
  [[nodiscard]] const auto& announce() const noexcept { return announce_; }

 private:
  std::optional<topic_position> since_;
  std::string info_;
  bool blind_ = false;
  std::function<prepared_message(const subscribe_report&)> announce_;
};

/// What became of a publication. `matched` counts those who get it live, not those who recover it later.
struct publish_report : delivery_report {
  /// Of the publication; its offset is 0 if the topic keeps no history, or it could not be kept.
  topic_position position{};

  publish_report() {}  // user-provided: this type is made inside co_await expressions
};

/// One who is subscribed to exactly this topic.
struct presence_member {
  connection_id connection = 0;
  std::string user;  ///< empty: anonymous
  std::string info;  ///< JSON that the subscription was given; may be empty
};

struct presence_report {
  std::size_t count = 0;
  std::vector<presence_member> members;  ///< empty if there are more than `presence_members`

  presence_report() {}  // user-provided: this type is made inside co_await expressions
};

/// Now, but for the last group, which is counted since the start.
struct topics_stats {
  std::size_t subscriptions = 0;
  std::size_t subscribers = 0;  ///< connections with at least one subscription
  std::size_t topics = 0;       ///< distinct topics and patterns on each shard, added up

  std::uint64_t publications = 0;
  std::uint64_t refused = 0;        ///< subscriptions refused as `invalid` or for the `limit`
  std::uint64_t unkept = 0;         ///< publications that the store could not keep
  std::uint64_t recovered = 0;      ///< subscriptions that recovered
  std::uint64_t not_recovered = 0;  ///< and that wanted to, but could not
  std::uint64_t replayed = 0;       ///< publications sent from a history
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

  /// As above, with what the options say. Completes when what was missed has been queued; with a topic that
  /// keeps a history, what is published meanwhile is held back until then and follows without a gap or a
  /// repeat. What is missed of a topic that conflates or drops is sent in full.
  ///
  /// If the store cannot be read the subscription holds all the same, without recovery.
  /// Cancellation: the subscription is withdrawn, but what was sent has been sent.
  [[nodiscard]] virtual asio::awaitable<subscribe_report> subscribe(connection& who, std::string pattern,
                                                                    subscription how) = 0;

  /// Ends a subscription; completes with whether there was one. What was queued before is still delivered.
  virtual asio::awaitable<bool> unsubscribe(connection& who, std::string pattern) = 0;

  /// What a connection has subscribed to, sorted.
  [[nodiscard]] virtual asio::awaitable<std::vector<std::string>> subscriptions(connection& who) = 0;

  /// Sends a message to every open connection that follows the topic, with the policy that the rules say, and
  /// waits for what becomes of each copy, as `manager::broadcast` does, with the same errors and the same
  /// cancellation. Throws `std::invalid_argument` if `topic` is not one.
  ///
  /// A topic with history: the publication is first kept and numbered, by the topic's owner. If that fails,
  /// `boost::system::system_error` with `errc::store_full` or `errc::store_unavailable`, and nobody gets it,
  /// unless the rule says otherwise. Once it is being kept, cancellation has no effect.
  ///
  /// Those who speak the JSON protocol get the object with its topic and number in it, or an envelope
  /// (docs/reference/protocol.md); everybody else the message as it is.
  ///
  /// Publications to a topic that one coroutine awaits, or posts, one after another arrive in that order.
  [[nodiscard]] virtual asio::awaitable<publish_report> publish(std::string topic, prepared_message what) = 0;
  /// As above, delivered as `how` says; if that has no policy, with the one of the rules.
  [[nodiscard]] virtual asio::awaitable<publish_report> publish(std::string topic, prepared_message what,
                                                                delivery how) = 0;

  /// As `publish`, without waiting and without a report. What could not be kept is counted, and said in the
  /// log.
  virtual void post_publish(std::string_view topic, prepared_message what) = 0;
  virtual void post_publish(std::string_view topic, prepared_message what, delivery how) = 0;

  /// What holds for a topic.
  [[nodiscard]] virtual const topic_rule& rule_of(std::string_view topic) const = 0;

  /// The publications of a topic after a position, the oldest first, as many as fit. Throws
  /// `std::invalid_argument` if the topic keeps no history, and what the store throws.
  [[nodiscard]] virtual asio::awaitable<history_page> history(std::string topic, topic_position since,
                                                              page_limits most) = 0;
  /// The latest ones, likewise the oldest first.
  [[nodiscard]] virtual asio::awaitable<history_page> latest(std::string topic, page_limits most) = 0;

  /// Who is subscribed to exactly this topic. Legal for every topic, with presence in its rule or without.
  [[nodiscard]] virtual asio::awaitable<presence_report> presence(std::string topic) = 0;

  [[nodiscard]] virtual topics_stats stats() const = 0;
};

/// The topics of a manager that `make_manager` made, which they keep. Subscriptions end with them. Throws
/// `std::invalid_argument` for any other manager, for one that has topics already, and for an option that is
/// not allowed.
[[nodiscard]] std::shared_ptr<topics> make_topics(const std::shared_ptr<manager>& of,
                                                  topics_options options = {});

}  // namespace skein
