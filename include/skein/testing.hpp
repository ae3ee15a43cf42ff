#pragma once

// For the tests of business modules: a scripted websocket, a manager that records, a clock whose hands the
// test turns, an in-memory pair of real connections, and a way to run a coroutine to its end. Nothing here
// opens a socket or sleeps. Used from one thread.

#include <skein/clock.hpp>
#include <skein/connection.hpp>
#include <skein/manager.hpp>
#include <skein/server.hpp>
#include <skein/topics.hpp>
#include <skein/users.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace skein::testing {

namespace detail {
/// A context for one `run`. It is not destroyed afterwards but kept for the next: a manager's thread that has
/// just resumed the coroutine may still be about to leave the context.
class leased_context {
 public:
  leased_context();
  ~leased_context();
  leased_context(const leased_context&) = delete;
  leased_context& operator=(const leased_context&) = delete;
  [[nodiscard]] asio::io_context& get() noexcept { return *context_; }

 private:
  std::unique_ptr<asio::io_context> context_;
};
}  // namespace detail

/// Runs a coroutine to its end on `context`, and whatever else is ready there. Rethrows its exception. If it
/// has not ended within `limit` of real time it is cancelled, and `boost::system::system_error` with
/// `errc::timed_out` thrown; a coroutine that never suspends cannot be ended.
void run(asio::io_context& context, asio::awaitable<void> task,
         std::chrono::milliseconds limit = std::chrono::seconds{10});
void run(asio::awaitable<void> task, std::chrono::milliseconds limit = std::chrono::seconds{10});

template <class T>
T run(asio::io_context& context, asio::awaitable<T> task,
      std::chrono::milliseconds limit = std::chrono::seconds{10}) {
  auto result =
      std::make_shared<std::optional<T>>();  // shared: on a time-out the coroutine may outlive this call
  auto keep = [](asio::awaitable<T> inner, std::shared_ptr<std::optional<T>> out) -> asio::awaitable<void> {
    out->emplace(co_await std::move(inner));
  };
  run(context, keep(std::move(task), result), limit);
  return std::move(**result);
}
template <class T>
T run(asio::awaitable<T> task, std::chrono::milliseconds limit = std::chrono::seconds{10}) {
  detail::leased_context context;
  return run(context.get(), std::move(task), limit);
}

/// Runs everything that is ready on `context`, without waiting.
void settle(asio::io_context& context);

/// A clock that moves only when told. Alarms ring through their executor, so run the context after `advance`.
class virtual_clock : public clock {
 public:
  virtual_clock();
  ~virtual_clock() override;
  [[nodiscard]] time_point now() const noexcept override;
  /// The first day of 2030 at first. Moves with `advance`.
  [[nodiscard]] wall_time wall_now() const noexcept override;
  [[nodiscard]] std::unique_ptr<alarm> make_alarm(asio::any_io_executor executor,
                                                  std::function<void()> ring) override;
  /// Moves the hands and rings, in order, every alarm that has come due.
  void advance(duration by);
  /// Sets the time of day, forward or back, and nothing else.
  void set_wall(wall_time to);
  /// When the next alarm will ring.
  [[nodiscard]] std::optional<time_point> next() const;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

/// A connection that is all script: what `read` gives is set up front, what is written is recorded.
class mock_websocket : public connection {
 public:
  explicit mock_websocket(asio::any_io_executor executor = {});
  ~mock_websocket() override;

  // The script.
  mock_websocket& will_read(message what);
  mock_websocket& will_read_text(std::string text) { return will_read(message::text(std::move(text))); }
  /// After the scripted messages `read` gives nothing (the default), as if the peer had closed with this
  /// code.
  mock_websocket& then_peer_closes(close_code code = close_code::normal, std::string text = {});
  /// After the scripted messages `read` throws this.
  mock_websocket& then_read_throws(std::exception_ptr error);
  /// After the scripted messages `read` waits, until `peer_closes`, `peer_sends` or `close`.
  mock_websocket& then_read_waits();
  /// From the nth write on (0: the next), writes have this outcome and are not recorded.
  mock_websocket& will_fail_writes(std::size_t after = 0, outcome with = outcome::closed);
  mock_websocket& with_request(skein::request what);
  mock_websocket& with_user(skein::identity who);
  mock_websocket& with_id(connection_id id);
  mock_websocket& with_route(std::string path);

  // While a handler runs.
  void peer_sends(message what);
  void peer_closes(close_code code = close_code::normal, std::string text = {});

  // The record.
  [[nodiscard]] std::size_t reads() const noexcept;  ///< messages handed out
  [[nodiscard]] std::size_t writes() const noexcept;
  [[nodiscard]] const std::vector<message>& written() const noexcept;
  [[nodiscard]] const message& last_written() const;  ///< throws `std::out_of_range` if nothing was written
  [[nodiscard]] const std::vector<delivery>& deliveries()
      const noexcept;                              ///< the options of each recorded write
  [[nodiscard]] bool was_closed() const noexcept;  ///< by the handler
  [[nodiscard]] close_code closed_with() const noexcept;

  // connection
  asio::awaitable<std::optional<message>> read() override;
  asio::awaitable<outcome> write(prepared_message what) override;
  asio::awaitable<void> close(close_code code, std::string text) override;
  [[nodiscard]] bool is_open() const noexcept override;
  [[nodiscard]] const skein::close_reason& close_reason() const noexcept override;
  [[nodiscard]] connection_id id() const noexcept override;
  [[nodiscard]] std::string_view route() const noexcept override;
  [[nodiscard]] const skein::request& request() const noexcept override;
  [[nodiscard]] const skein::identity& user() const noexcept override;
  [[nodiscard]] bool renew(skein::identity who) override;
  [[nodiscard]] std::string_view subprotocol() const noexcept override;
  [[nodiscard]] asio::any_io_executor executor() const override;
  [[nodiscard]] connection_stats stats() const override;
  asio::awaitable<outcome> send(prepared_message what, delivery how) override;
  void post_send(prepared_message what, delivery how) override;
  void post_close(close_code code, std::string text) override;
  [[nodiscard]] std::any& attributes() noexcept override;
  [[nodiscard]] const std::any& attributes() const noexcept override;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;  // shared with a `read` that waits
};

/// A manager without connections that records what it is asked, and answers with the report that it was
/// given.
class mock_manager : public manager {
 public:
  mock_manager();
  ~mock_manager() override;

  struct sent {
    message what;
    delivery how;
    std::optional<connection_id> to;  ///< nothing: a broadcast
  };
  mock_manager& will_report(delivery_report report);
  mock_manager& will_answer(outcome what);
  [[nodiscard]] const std::vector<sent>& record() const noexcept;
  [[nodiscard]] const std::vector<connection_id>& closed() const noexcept;

  asio::awaitable<delivery_report> broadcast(prepared_message what, delivery how) override;
  void post_broadcast(prepared_message what, delivery how) override;
  asio::awaitable<outcome> send_to(connection_id id, prepared_message what, delivery how) override;
  asio::awaitable<bool> close(connection_id id, close_code code, std::string text) override;
  asio::awaitable<void> for_each(std::function<void(connection&)> visit) override;
  [[nodiscard]] manager_stats stats() const override;
  [[nodiscard]] health_report health() const override;
  asio::awaitable<drain_report> drain(std::chrono::nanoseconds deadline) override;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Topics without connections: subscriptions are kept by connection id, publications are recorded and
/// answered with the report that was given. What real topics refuse is refused.
class mock_topics : public topics {
 public:
  mock_topics();
  ~mock_topics() override;

  struct published {
    std::string topic;
    message what;
    delivery how;
  };
  mock_topics& will_report(const delivery_report& report);
  mock_topics& will_answer(subscribed what);  ///< to every `subscribe`
  /// What holds for topics; the first that matches counts.
  mock_topics& with_rules(std::vector<topic_rule> rules);
  [[nodiscard]] const std::vector<published>& record() const noexcept;

  asio::awaitable<subscribed> subscribe(connection& who, std::string pattern) override;
  /// Announces, and recovers nothing.
  asio::awaitable<subscribe_report> subscribe(connection& who, std::string pattern,
                                              subscription how) override;
  asio::awaitable<bool> unsubscribe(connection& who, std::string pattern) override;
  asio::awaitable<std::vector<std::string>> subscriptions(connection& who) override;
  asio::awaitable<publish_report> publish(std::string topic, prepared_message what) override;
  asio::awaitable<publish_report> publish(std::string topic, prepared_message what, delivery how) override;
  void post_publish(std::string_view topic, prepared_message what) override;
  void post_publish(std::string_view topic, prepared_message what, delivery how) override;
  [[nodiscard]] const topic_rule& rule_of(std::string_view topic) const override;
  /// What was published to the topic, numbered from 1 in the epoch `mock`.
  asio::awaitable<history_page> history(std::string topic, topic_position since, page_limits most) override;
  asio::awaitable<history_page> latest(std::string topic, page_limits most) override;
  asio::awaitable<presence_report> presence(std::string topic) override;
  [[nodiscard]] topics_stats stats() const override;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Users without connections: what is sent is recorded and answered with the report that was given.
class mock_users : public users {
 public:
  mock_users();
  ~mock_users() override;

  struct sent {
    std::string user;
    message what;
    delivery how;
  };
  mock_users& will_report(const user_report& report);
  mock_users& with_connections(std::string user, std::vector<connection_id> ids);
  [[nodiscard]] const std::vector<sent>& record() const noexcept;
  [[nodiscard]] const std::vector<std::string>& closed() const noexcept;  ///< users, in order

  /// What is `stored` waits under the next id, from 1, unless the report has one.
  asio::awaitable<user_report> send(std::string user, prepared_message what, delivery how) override;
  void post_send(std::string_view user, prepared_message what, delivery how) override;
  /// Writes what waits to the connection.
  asio::awaitable<std::size_t> replay(connection& to) override;
  asio::awaitable<bool> acknowledge(std::string user, stored_id id) override;
  asio::awaitable<std::vector<stored_message>> waiting(std::string user, stored_id after,
                                                       page_limits most) override;
  asio::awaitable<std::vector<connection_id>> connections(std::string user) override;
  asio::awaitable<std::size_t> close(std::string user, close_code code, std::string text) override;
  [[nodiscard]] users_stats stats() const override;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// The client's end of an in-memory connection whose other end is a real connection of a manager: the same
/// read loop, write loop, send channel, limits and heartbeat, over memory in place of a socket. Speaks RFC
/// 6455 in plain frames. Runs on the manager's context.
class memory_peer {
 public:
  memory_peer(const memory_peer&) = delete;
  memory_peer& operator=(const memory_peer&) = delete;
  ~memory_peer();  ///< cuts the connection, as a crashed peer does

  /// What arrived since the last call, whole messages in order. Run the context first.
  std::vector<message> received();
  void send(message what);
  /// Raw bytes, for protocol tests.
  void send_bytes(std::string_view bytes);
  /// Raw bytes that arrived since the last call and were not taken by `received`.
  std::string received_bytes();
  void send_close(close_code code = close_code::normal, std::string_view text = {});
  void send_ping(std::string_view payload = {});
  /// Answer pings and close frames, as any peer does (the default).
  void answer_control(bool yes);
  /// How many bytes the peer takes before its socket is "full"; default 1 MiB. What was taken frees room when
  /// it is read by `received`, `received_bytes` or `discard`.
  void set_capacity(std::size_t bytes);
  void discard();
  [[nodiscard]] std::size_t pings() const noexcept;  ///< received
  [[nodiscard]] std::optional<close_code> close_received() const noexcept;
  [[nodiscard]] bool is_cut() const noexcept;  ///< the other end has closed or reset the transport
  void cut();                                  ///< the transport fails
  /// Nothing of the peer answers any more, not even the transport, as after the loss of its machine.
  void vanish();

  /// The connection at the other end.
  [[nodiscard]] std::shared_ptr<connection> other_end() const;

 private:
  friend std::unique_ptr<memory_peer> connect(manager&, handler, request, identity, const route_options&);
  memory_peer();
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Connects a handler with a memory peer through `hub`, which must come from `make_manager`. Of `how` only
/// the rates and the validator are of effect. Throws `boost::system::system_error` with
/// `errc::connection_limit` or `errc::draining`.
[[nodiscard]] std::unique_ptr<memory_peer> connect(manager& hub, handler what, request with = {},
                                                   identity user = {}, const route_options& how = {});

}  // namespace skein::testing
