#pragma once

// A client of Skein's JSON protocol (docs/reference/protocol.md) for services: it comes back after every end,
// subscribes again, recovers what was published meanwhile, and keeps its token fresh.
//
//   skein::client feed{executor, {.url = "wss://example.org/ws"}};
//   auto orders = feed.subscribe("orders.alice");
//   while (auto item = co_await orders.next()) {
//     if (item->gap) co_await load_everything_again();
//     else handle(item->data);
//   }
//
// All members of all classes here are used on the client's executor, which must run one thing at a time: that
// of an io_context with one thread, or a strand.

#include <skein/clock.hpp>
#include <skein/message.hpp>
#include <skein/message_store.hpp>
#include <skein/protocol.hpp>
#include <skein/topics.hpp>
#include <skein/websocket_client.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skein {

enum class client_state : std::uint8_t {
  connecting = 1,
  connected,  ///< welcomed by the server
  waiting,    ///< for the time to try again
  closed,     ///< for good
};
[[nodiscard]] std::string_view name(client_state state) noexcept;

struct client_options {
  std::string url{};  ///< `ws://host[:port]/path` or `wss://…`
  /// What each connection is made with; its `token` only if the function below is empty.
  connect_options connect{};
  /// Asked for a token before each connection, and before the one in use expires. What it throws counts as a
  /// connection that could not be made. Empty: no tokens.
  std::function<asio::awaitable<std::string>()> token{};
  /// The first pause before trying again; each further one may be twice as long. A pause is drawn evenly from
  /// zero to that. Not zero.
  std::chrono::nanoseconds min_pause = std::chrono::milliseconds{200};
  std::chrono::nanoseconds max_pause = std::chrono::seconds{20};
  /// A connection that held so long since it was welcomed begins with the first pause again.
  std::chrono::nanoseconds steady_after = std::chrono::seconds{10};
  /// Until an answer, or the welcome of a new connection, has come. Not zero.
  std::chrono::nanoseconds request_timeout = std::chrono::seconds{10};
  std::size_t max_waiting = 4096;  ///< items of a subscription, and messages, not yet taken. Not zero
  /// Messages that wait for their acknowledgement are acknowledged when the next one is asked for.
  bool acknowledge = true;
  /// Told of each change, with the reason; within the call the client must not be destroyed. What it throws
  /// is ignored.
  std::function<void(client_state now, std::string_view why)> on_state{};
  /// Told of the server's errors that answer no request, and, with its channel, of why a subscription has not
  /// begun yet (`rate_limited`, `store_unavailable`, `internal_error`, `timed_out`, …): it is asked for
  /// again. Also, once, with `buffer_full` when messages of the user's own begin to be dropped
  /// (`max_waiting`). As with `on_state`.
  std::function<void(const request_error& what, std::string_view channel)> on_error{};
  std::shared_ptr<clock> time{};  ///< empty: the machine's
  /// Makes the connections; empty: `connect_websocket`.
  std::function<asio::awaitable<std::shared_ptr<websocket>>(std::string url, connect_options options)>
      connector{};
  std::function<double()> random{};  ///< evenly from 0 to 1; empty: a generator of the client's own
};

/// What a subscription gives.
struct feed_item {
  /// The publication as the protocol has it: the publisher's object with `channel` (and `epoch`, `offset`),
  /// or the envelope. Empty if there is a gap.
  boost::json::object data{};
  /// The same as it was received. Boost.JSON 1.81 reads a number of more than 15 digits into a `double` that
  /// may be off by its last bit; here it is exact.
  message text{};
  topic_position position{};  ///< empty where the topic keeps no history
  /// Publications were missed here: the connection was lost and they cannot be recovered, or they were not
  /// taken in time (`max_waiting`). Load the state from where it is kept; later items follow it.
  bool gap = false;
  /// `data` says who has come to the topic and who has gone (`presence_change`); no publication is taken for
  /// it.
  bool presence = false;
  std::string channel{};  ///< of a gap: the topic; or what was subscribed to, if anything may be missing
  /// Of a gap: how many are missing, up to `position`, where the server left them out because this client
  /// took them too slowly (the policies `drop` and `conflate`). 0: not known.
  std::uint64_t missing = 0;
};

/// A message of the user's own.
struct user_message {
  boost::json::object data{};
  message text{};                 ///< the same as it was received, with its numbers exact
  std::optional<stored_id> id{};  ///< it waits on the server to be acknowledged
};

struct client_stats {
  std::uint64_t connections = 0;  ///< that were welcomed
  std::uint64_t failures = 0;     ///< connections that could not be made, or ended without being asked to
  std::uint64_t publications = 0;
  std::uint64_t repeats = 0;  ///< publications and messages that had come before, and were dropped
  std::uint64_t gaps = 0;     ///< told to subscriptions
  /// Messages of the user's own past `max_waiting`. Stored ones, and those after them, come again: with the
  /// next connection, which is made when all that waits has been taken.
  std::uint64_t dropped = 0;
  std::uint64_t refreshes = 0;  ///< tokens that were renewed in place
};

namespace detail {
class client_core;
struct feed_reader;
}  // namespace detail

/// A subscription of a client. Ends when it is destroyed, with the client, or by the server.
class client_subscription {
 public:
  client_subscription(client_subscription&& other) noexcept;
  client_subscription& operator=(client_subscription&& other) noexcept;
  ~client_subscription();

  [[nodiscard]] const std::string& channel() const noexcept;

  /// The next item. Completes with nothing at the end; throws `request_error` if the server ended it or never
  /// began it (`not_allowed`, `bad_channel`, …). One caller at a time. Cancellation: terminal; nothing is
  /// lost by it.
  [[nodiscard]] asio::awaitable<std::optional<feed_item>> next();

  /// Where the last item taken stands, or where it began: keep it, and begin there next time.
  [[nodiscard]] const topic_position& position() const noexcept;

  /// Whether the server has confirmed the subscription on the present connection.
  [[nodiscard]] bool is_live() const noexcept;

 private:
  friend class client;
  explicit client_subscription(std::shared_ptr<detail::feed_reader> reader) noexcept;
  std::shared_ptr<detail::feed_reader> reader_;
};

struct subscribe_options {
  std::optional<topic_position> since{};     ///< what was seen last; empty: begin with what comes now
  std::optional<boost::json::value> info{};  ///< what presence says of this subscription
};

/// Connects at once, and again after every end but these: `close`, a close code from 4500 on, an answer to
/// the handshake with 400, 403, 404, 405 or 426, or with 401 if there is no `token` function.
///
/// Requests throw `request_error` if the server refuses them, `boost::system::system_error` with
/// `errc::timed_out` if there is no answer in `request_timeout`, with `errc::connection_closed` if the
/// connection ends before the answer comes (whether it was done is not known), or the client. Requests made
/// while there is no connection wait for one. Cancellation: terminal; the request may still be done.
class client {
 public:
  /// Throws `std::invalid_argument` for an option that is not allowed.
  client(asio::any_io_executor executor, client_options options);
  /// Cuts the connection; subscriptions end, requests fail.
  ~client();
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  /// Follows a topic or a pattern. Several subscriptions to one channel share the server's: the first one's
  /// `info` counts, and a later one whose `since` is not where that is begins with a gap.
  [[nodiscard]] client_subscription subscribe(std::string channel, subscribe_options how = {});

  /// Completes when the server has taken the publication; with its position if the topic keeps a history.
  asio::awaitable<topic_position> publish(std::string channel, boost::json::value data);

  /// Any request, of the protocol or of the server's own. Completes with the answer. `id` is given here.
  asio::awaitable<boost::json::object> request(boost::json::object fields);

  /// The next message of the user's own; nothing once the client is closed. One caller at a time.
  /// Acknowledges the one before, if that is wanted. Cancellation: terminal; nothing is lost by it.
  [[nodiscard]] asio::awaitable<std::optional<user_message>> next_message();

  /// Removes a stored message from the server. Completes when it is removed for good.
  asio::awaitable<void> acknowledge(stored_id id);

  /// Closes with 1000, and completes when the connection has ended. Subscriptions end, requests fail.
  /// Cancellation: terminal; the end goes on.
  asio::awaitable<void> close();

  [[nodiscard]] client_state state() const noexcept;
  [[nodiscard]] client_stats stats() const noexcept;

 private:
  std::shared_ptr<detail::client_core> core_;
};

}  // namespace skein
