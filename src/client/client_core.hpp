#pragma once

// The client of the JSON protocol from the inside. All of it on one executor.

#include "client/happening.hpp"
#include "client/pace.hpp"

#include <skein/client.hpp>

#include <boost/asio/cancellation_signal.hpp>

#include <deque>
#include <exception>
#include <iterator>
#include <list>
#include <map>
#include <set>
#include <utility>

namespace skein::detail {

namespace json = boost::json;

struct feed;

/// What one subscription object has not taken yet.
struct feed_reader {
  feed_reader(std::shared_ptr<client_core> whose, std::string of, const asio::any_io_executor& executor)
      : owner(std::move(whose)), channel(std::move(of)), changed(executor) {}
  const std::shared_ptr<client_core> owner;
  const std::string channel;
  std::shared_ptr<feed> source;  ///< null once it has ended
  std::deque<feed_item> items;
  topic_position taken;
  happening changed;
  std::exception_ptr failure;  ///< why it ended, if the server wanted it to
};

/// What a pattern has seen last of a topic.
struct seen_position {
  topic_position at;
  std::uint64_t confirmed = 0;  ///< which confirmation of the subscription it came under
};

/// Of so many topics, the latest of them.
class recent_positions {
 public:
  /// The caller may replace it. Empty: nothing is known.
  seen_position& of(std::string_view topic) {
    if (const auto found = known_.find(topic); found != known_.end()) {
      order_.splice(order_.end(), order_, found->second);
      return order_.back().second;
    }
    order_.emplace_back(topic, seen_position{});
    known_.emplace(order_.back().first, std::prev(order_.end()));
    if (order_.size() > most) {
      known_.erase(order_.front().first);
      order_.pop_front();
    }
    return order_.back().second;
  }

 private:
  static constexpr std::size_t most = 4096;
  using entries = std::list<std::pair<std::string, seen_position>>;
  entries order_;
  std::map<std::string_view, entries::iterator> known_;
};

/// What the server is asked for until it answers: to begin or to end a subscription. Until an end is
/// confirmed its channel is not asked for again: that would be answered with the subscription which is about
/// to end.
struct errand {
  enum class stage : std::uint8_t { idle, wanted, under_way, resting };
  std::string channel;
  bool leaves = false;
  stage now = stage::idle;
  bool doubtful = false;  ///< under way, and what was refused may have been this
  unsigned failures = 0;
  std::unique_ptr<alarm> timer{};  ///< under way: for the answer; resting: until it is wanted again
};

/// What the server is subscribed to.
struct feed : errand {
  bool pattern = false;
  std::optional<topic_position> position{};  ///< last seen; nothing: neither seen nor asked for
  recent_positions positions{};              ///< of a pattern
  std::optional<json::value> info{};
  bool live = false;            ///< confirmed on this connection
  bool lived = false;           ///< confirmed on any
  std::uint64_t confirmed = 0;  ///< times
  std::vector<feed_reader*> readers{};
};

/// A request whose answer has not come.
struct pending_request {
  pending_request(std::uint64_t place, const asio::any_io_executor& executor)
      : number(place), finished(executor) {}
  const std::uint64_t number;
  std::string text;
  bool sent = false;
  bool done = false;
  json::object answer;
  std::exception_ptr failure;
  std::unique_ptr<alarm> limit;
  happening finished;
};

/// Numbers that were seen, the latest of them.
class recent_ids {
 public:
  [[nodiscard]] bool has(stored_id id) const { return known_.contains(id); }
  void add(stored_id id) {
    if (!known_.insert(id).second) return;
    order_.push_back(id);
    if (order_.size() > most) {
      known_.erase(order_.front());
      order_.pop_front();
    }
  }

 private:
  static constexpr std::size_t most = 4096;
  std::set<stored_id> known_;
  std::deque<stored_id> order_;
};

class client_core : public std::enable_shared_from_this<client_core> {
 public:
  client_core(asio::any_io_executor executor, client_options options);

  void start();
  void stop();
  /// The client is gone: nobody is told any more.
  void abandon() noexcept;
  asio::awaitable<void> close();

  std::shared_ptr<feed_reader> subscribe(std::string channel, subscribe_options how);
  void unsubscribe(feed_reader& reader);
  static asio::awaitable<std::optional<feed_item>> next(std::shared_ptr<feed_reader> reader);
  asio::awaitable<json::object> request(json::object fields);
  asio::awaitable<std::optional<user_message>> next_message();
  /// A stored message is done with, and need not come again.
  void on_acknowledged(stored_id id);

  [[nodiscard]] client_state state() const noexcept { return state_; }
  [[nodiscard]] const client_stats& stats() const noexcept { return stats_; }

 private:
  /// One connection: what goes out on it, in order.
  struct line {
    std::shared_ptr<websocket> socket;
    std::deque<std::string> out{};
    bool writing = false;
    bool late = false;  ///< no welcome came in time
    bool over = false;  ///< it is being closed, for another
  };
  enum class verdict : std::uint8_t { come_back, stay_away };

  // client_session.cpp: a connection after the other.
  static asio::awaitable<void> run(std::shared_ptr<client_core> self);
  asio::awaitable<verdict> connect_once();
  asio::awaitable<verdict> converse();
  void on_welcome(const json::object& hello);
  /// To the rates that the server has told.
  void keep_to(const json::object& hello);
  void on_message(json::object message, skein::message text);
  void on_user_message(json::object message, skein::message text);
  void drop(const user_message& item);
  void come_back();
  void lose_connection();
  asio::awaitable<void> pause();
  [[nodiscard]] std::chrono::nanoseconds longest_pause(unsigned failures) const;
  void set_state(client_state now, std::string_view why);
  static asio::awaitable<void> say_goodbye(std::shared_ptr<websocket> to);

  // client_requests.cpp: what is said to the server.
  void send(std::string text);
  static asio::awaitable<void> write_all(std::shared_ptr<client_core> self, std::shared_ptr<line> to);
  static void on_answer(pending_request& request, json::object answer);
  static void lose(pending_request& request);
  static void finish(pending_request& request);
  /// `id` may be that of others, too: a message can be acknowledged again meanwhile.
  void forget(const std::string& id, const pending_request& request);
  void expect_expiry(const json::object& said);
  static asio::awaitable<void> refresh(std::shared_ptr<client_core> self);

  // client_feeds.cpp: subscriptions.
  [[nodiscard]] static json::object subscribe_request(const feed& what);
  [[nodiscard]] bool follows(const feed& what) const;
  void on_answer_to(const std::shared_ptr<feed>& what, const json::object& answer);
  void on_subscribed(feed& what, const json::object& answer);
  void on_refused(const std::shared_ptr<feed>& what, request_error error);
  void on_ended_by_server(const json::object& message);
  void on_publication(std::string_view channel, json::object message, const skein::message& text);
  /// How far this is beyond what was seen of the topic, 0 if it is not. 1 where nothing can be missing that
  /// was not told of.
  [[nodiscard]] static std::uint64_t move_to(feed& what, std::string_view topic, const topic_position& to);
  void give(feed_reader& to, feed_item item);
  void give_gap(const feed& from, feed_reader& to);
  void on_joined(feed& what, feed_reader& reader, const std::optional<topic_position>& since);
  void end_feed(const std::shared_ptr<feed>& what, const std::exception_ptr& why);
  void end_all_feeds();

  // client_outlet.cpp: one thing after the other.
  void say_on();
  bool say_one();
  bool say_errand();
  bool say_request();
  bool say_acknowledgement();
  [[nodiscard]] bool has_something_to_say();
  void acknowledge(stored_id id);
  void acknowledge_again(const json::value& ids, const request_error& why);
  [[nodiscard]] std::size_t may_be_under_way() const;
  [[nodiscard]] alarm& alarm_of(const std::shared_ptr<errand>& what);
  /// It is neither under way nor about to be.
  void settle(const std::shared_ptr<errand>& what);
  void want(const std::shared_ptr<errand>& what);
  void want_later(const std::shared_ptr<errand>& what, std::chrono::milliseconds retry_after);
  [[nodiscard]] std::chrono::nanoseconds pause_after(unsigned failures,
                                                     std::chrono::milliseconds retry_after);
  void ask_doubtful_again();
  bool answers_an_errand(const std::string& id, const json::object& answer);
  void on_farewell(const std::shared_ptr<errand>& what, const json::object& answer);
  void heed(const json::object& message, const request_error& error);
  void forget_what_was_asked();
  void tell(const request_error& error, std::string_view channel);

  [[nodiscard]] std::string next_id() { return own_id(++last_number_); }
  [[nodiscard]] std::string own_id(std::uint64_t number) const { return id_prefix_ + std::to_string(number); }

  const asio::any_io_executor executor_;
  const client_options options_;
  client_state state_ = client_state::waiting;
  client_stats stats_;
  bool stopping_ = false, running_ = false, welcomed_ = false, abandoned_ = false;
  time_point welcomed_at_{};
  unsigned failures_in_turn_ = 0;
  std::chrono::nanoseconds at_least_{0};  // before trying again, as the server asked
  std::string why_;
  std::shared_ptr<line> line_;
  std::unique_ptr<alarm> waker_, fresh_token_, welcome_limit_, held_back_, acknowledge_again_;
  asio::cancellation_signal give_up_;  // connecting
  happening slept_, ended_;
  // Of this client alone: no publisher can guess what an answer looks like, and an answer that comes too
  // late is known for one.
  const std::string id_prefix_;
  std::uint64_t last_number_ = 0;
  std::multimap<std::string, std::shared_ptr<pending_request>, std::less<>> requests_;
  std::deque<std::shared_ptr<pending_request>> unsent_;
  pace pace_;
  unsigned turn_ = 0;
  std::deque<std::shared_ptr<errand>> wanted_;
  std::vector<std::shared_ptr<errand>> under_way_;
  std::map<std::string, std::shared_ptr<errand>, std::less<>> asked_;  // what may still be answered, by id
  std::size_t asked_so_far_ = 0, answered_so_far_ = 0;                 // on this connection
  std::map<std::string, std::shared_ptr<errand>, std::less<>> farewells_;
  std::vector<stored_id> to_acknowledge_;
  std::vector<stored_id> refused_;  // acknowledgements, until `acknowledge_again_` rings
  std::map<std::string, std::shared_ptr<feed>, std::less<>> feeds_;
  std::vector<std::shared_ptr<feed>> in_order_;  // as they were asked for
  std::deque<user_message> messages_;
  std::optional<stored_id> unacknowledged_;
  bool left_some_ = false;  // stored messages, on this connection: what is behind them must come after them
  bool told_full_ = false;
  unsigned failed_refreshes_ = 0;
  recent_ids acknowledged_;
  happening message_came_;
};

/// What a request is known by: its id, or what it acknowledges.
[[nodiscard]] std::string id_of_request(const json::object& request);
/// What an answer is known by, the same; empty: this answers nothing.
[[nodiscard]] std::string id_of_answer(const json::object& message);
/// Whether it may be otherwise the next time.
[[nodiscard]] bool is_passing(const request_error& error) noexcept;
/// What the server refused a request with.
[[nodiscard]] request_error to_error(const json::object& answer);
[[nodiscard]] topic_position position_of(const json::object& message);
[[nodiscard]] std::string_view text_of(const json::object& message, std::string_view field) noexcept;

}  // namespace skein::detail
