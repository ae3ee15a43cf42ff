#pragma once

// A real server in the test's own process, on a port of the system's choice: it has threads of its own, so a
// test may block on its sockets. It records what the manager reports.

#include "raw_client.hpp"
#include "test_engine.hpp"

#include <skein/manager.hpp>
#include <skein/server.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace skein::test {

inline asio::awaitable<void> echo(connection& client) {
  while (auto received = co_await client.read()) co_await client.write(std::move(*received));
}

/// Runs a coroutine on a thread of its own, which lives as long as the process, and waits for its end. A
/// context that went away with the call would go too early for the shards: they let go of it a little after
/// they have resumed it.
template <class T>
T await(asio::awaitable<T> task) {
  static auto& context = *new asio::io_context{1};
  static auto& runner = *new std::thread{[] {
    const auto work = asio::make_work_guard(context);
    context.run();
  }};
  static_cast<void>(runner);
  auto result = asio::co_spawn(context, std::move(task), asio::use_future);
  if (result.wait_for(3 * patience) != std::future_status::ready) throw timed_out{"a coroutine does not end"};
  return result.get();
}

/// Two shards, and no pings: frames that come unasked would make a conversation depend on time.
inline manager_options quiet_options() {
  manager_options options;
  options.shards = 2;
  options.max_connections = 1'000;
  options.limits.ping_interval = std::chrono::seconds{0};
  return options;
}

class test_server {
 public:
  struct ended {
    connection_id id = 0;
    skein::close_reason reason;
  };

  /// `add` registers routes beside `/echo`.
  explicit test_server(manager_options options = quiet_options(), server_options where = {},
                       const std::function<void(skein::server&)>& add = {})
      : manager_(make_manager(recorded(std::move(options)))),
        server_(manager_, on_any_port(std::move(where))) {
    server_.route("/echo", echo);
    if (add) add(server_);
    server_.start();
  }
  test_server(const test_server&) = delete;
  test_server& operator=(const test_server&) = delete;
  ~test_server() { server_.stop(); }

  [[nodiscard]] std::uint16_t port() const { return server_.port(); }
  [[nodiscard]] skein::server& server() { return server_; }
  [[nodiscard]] skein::manager& manager() { return *manager_; }
  [[nodiscard]] const std::shared_ptr<skein::manager>& manager_pointer() const { return manager_; }
  [[nodiscard]] manager_stats stats() const { return manager_->stats(); }

  // What was recorded.

  [[nodiscard]] std::vector<connection_id> opened() const {
    const std::lock_guard lock{record_.mutex};
    return record_.opened;
  }
  [[nodiscard]] std::vector<ended> closed() const {
    const std::lock_guard lock{record_.mutex};
    return record_.closed;
  }
  [[nodiscard]] std::size_t problems() const {
    const std::lock_guard lock{record_.mutex};
    return record_.problems.size();
  }
  /// Waits until this many connections have ended.
  [[nodiscard]] bool wait_for_closed(std::size_t count) const {
    return eventually([&] { return closed().size() >= count; });
  }

  /// Whether another client is served.
  [[nodiscard]] bool serves() const {
    raw_client other{port()};
    if (other.open("/echo").status != 101) return false;
    other.send(text_frame("anybody there?"));
    const auto answer = other.read_message();
    if (!answer || answer->payload != "anybody there?") return false;
    other.send(close_frame());
    return other.read_conclusion().code() == 1000;
  }

 private:
  manager_options recorded(manager_options options) {
    options.engine = test_engine();
    options.on_open = [this, then = std::move(options.on_open)](connection& who) {
      {
        const std::lock_guard lock{record_.mutex};
        record_.opened.push_back(who.id());
      }
      if (then) then(who);
    };
    options.on_closed = [this, then = std::move(options.on_closed)](connection& who,
                                                                    const skein::close_reason& why) {
      if (then) then(who, why);
      const std::lock_guard lock{record_.mutex};
      record_.closed.push_back({who.id(), why});
    };
    options.on_problem = [this, then = std::move(options.on_problem)](std::string_view line) {
      if (then) then(line);
      const std::lock_guard lock{record_.mutex};
      record_.problems.emplace_back(line);
    };
    return options;
  }
  static server_options on_any_port(server_options where) {
    where.port = 0;
    return where;
  }

  struct {
    mutable std::mutex mutex;
    std::vector<connection_id> opened;
    std::vector<ended> closed;
    std::vector<std::string> problems;
  } record_;
  std::shared_ptr<skein::manager> manager_;
  skein::server server_;
};

}  // namespace skein::test
