#pragma once

// Handlers, notes and connected clients for the tests of a connection's life.

#include "test_server.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <set>
#include <stdexcept>
#include <thread>

namespace skein::test {

using namespace std::chrono_literals;
using namespace std::string_literals;

using skein::close_code;
using skein::closed_by;

/// What a handler and its test share.
struct shared {
  std::mutex mutex;
  std::vector<std::string> messages;
  std::vector<std::string> events;
  std::atomic<int> running{0};

  void note(std::string event) {
    const std::lock_guard lock{mutex};
    events.push_back(std::move(event));
  }
  [[nodiscard]] std::vector<std::string> noted() {
    const std::lock_guard lock{mutex};
    return events;
  }
};

struct running_guard {
  explicit running_guard(shared& s) : where(s) { ++where.running; }
  running_guard(const running_guard&) = delete;
  running_guard& operator=(const running_guard&) = delete;
  ~running_guard() { --where.running; }
  shared& where;
};

/// Waits on the connection's executor until it has ended.
inline asio::awaitable<void> outlive(skein::connection& client) {
  asio::steady_timer timer{co_await asio::this_coro::executor};
  while (client.close_reason().by == closed_by::nobody) {
    timer.expires_after(1ms);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

inline asio::awaitable<void> throw_at_the_third(skein::connection& client) {
  for (int i = 0; i < 2; ++i) {
    auto received = co_await client.read();
    if (!received) co_return;
    co_await client.write(std::move(*received));
  }
  co_await client.read();
  throw std::runtime_error{"three is too many"};
}

inline asio::awaitable<void> throw_at_once(skein::connection&) {
  throw std::runtime_error{"no"};
  co_return;
}

inline asio::awaitable<void> throw_a_number(skein::connection& client) {
  co_await client.read();
  throw 42;
}

inline asio::awaitable<void> return_at_once(skein::connection&) {
  co_return;
}

inline asio::awaitable<void> greet_and_return(skein::connection& client) {
  co_await client.write(skein::message::text("welcome"));
  co_await client.write(skein::message::binary(std::string(200'000, 'x')));
}

inline asio::awaitable<void> close_with_4321(skein::connection& client) {
  co_await client.read();
  co_await client.close(static_cast<close_code>(4321), "enough");
}

inline asio::awaitable<void> read_until_the_end(skein::connection& client) {
  while (const auto received = co_await client.read()) {
  }
}

inline asio::awaitable<void> note_reason(skein::connection& client, shared& notes) {
  const running_guard guard{notes};
  while (auto received = co_await client.read()) notes.note("message " + received->release());
  const auto& why = client.close_reason();
  notes.note("by " + std::to_string(static_cast<int>(why.by)) + " code " +
             std::to_string(static_cast<int>(why.code)) + " " + why.text);
  const auto more = co_await client.read();
  if (more) notes.note("a message behind the end");
}

inline asio::awaitable<void> read_after_the_end(skein::connection& client, shared& notes) {
  co_await outlive(client);
  co_await note_reason(client, notes);
}

inline std::string reason(closed_by by, unsigned code, const std::string& text = {}) {
  return "by " + std::to_string(static_cast<int>(by)) + " code " + std::to_string(code) + " " + text;
}

/// Hands each connection to the test.
class collector {
 public:
  [[nodiscard]] std::function<void(skein::connection&)> on_open() {
    return [this](skein::connection& who) {
      const std::lock_guard lock{mutex_};
      connections_.push_back(who.shared_from_this());
    };
  }
  [[nodiscard]] std::vector<std::shared_ptr<skein::connection>> all() {
    const std::lock_guard lock{mutex_};
    return connections_;
  }
  [[nodiscard]] std::shared_ptr<skein::connection> wait_for(std::size_t index) {
    REQUIRE(eventually([&] { return all().size() > index; }));
    return all()[index];
  }

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<skein::connection>> connections_;
};

inline raw_client connected(const test_server& server, std::string_view path = "/echo",
                            int receive_buffer = 0) {
  raw_client client{server.port(), receive_buffer};
  REQUIRE(client.open(path).status == 101);
  return client;
}

inline std::function<void(skein::server&)> route(std::string path, skein::handler what) {
  return
      [path = std::move(path), what = std::move(what)](skein::server& server) { server.route(path, what); };
}

inline void check_settled(const test_server& server) {
  CHECK(eventually([&] { return server.stats().active == 0 && server.stats().handshaking == 0; }));
  CHECK(eventually([&] { return server.closed().size() == server.opened().size(); }));
  const auto now = server.stats();
  CHECK(now.open == 0);
  CHECK(now.closing == 0);
  CHECK(now.queued_messages == 0);
  CHECK(now.queued_bytes == 0);
  CHECK(now.total == now.closed);
  CHECK(now.total == server.opened().size());
  // Exactly one closed event for each that was opened.
  const auto opened = server.opened();
  std::multiset<skein::connection_id> first{opened.begin(), opened.end()}, second;
  for (const auto& one : server.closed()) second.insert(one.id);
  CHECK(first == second);
  CHECK(std::set<skein::connection_id>(opened.begin(), opened.end()).size() == opened.size());
}

inline std::string repeated_text(std::string_view payload, int times) {
  std::string bytes;
  for (int i = 0; i < times; ++i) bytes += text_frame(payload);
  return bytes;
}

inline std::string repeated_continuation(int times) {
  std::string bytes;
  for (int i = 0; i < times; ++i) bytes += continuation_frame("x", false);
  return bytes;
}

/// Whether an operation throws `std::invalid_argument`. It is caught where it is thrown: the thread sanitizer
/// does not see through the counting of an exception that travels to another thread.
template <class T>
asio::awaitable<bool> refuses(asio::awaitable<T> operation) {
  try {
    co_await std::move(operation);
  } catch (const std::invalid_argument&) {
    co_return true;
  }
  co_return false;
}

inline skein::message text(std::string payload) {
  return skein::message::text(std::move(payload));
}

}  // namespace skein::test
