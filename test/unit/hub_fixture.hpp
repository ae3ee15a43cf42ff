#pragma once

// A manager in memory: one shard on a context that the test runs, and a clock that the test turns.

#include "test_engine.hpp"

#include <skein/manager.hpp>
#include <skein/testing.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hub_test {

using namespace skein;
using namespace std::chrono_literals;
namespace asio = boost::asio;

inline asio::awaitable<void> echo(connection& client) {
  while (auto got = co_await client.read()) co_await client.write(std::move(*got));
}

inline asio::awaitable<void> ignore(connection& client) {
  for (;;) {
    const auto got = co_await client.read();
    if (!got) break;
  }
}

struct ended {
  connection_id id;
  close_reason reason;
};

struct fixture {
  explicit fixture(manager_options options = {}) : hub(make(std::move(options))) {}
  ~fixture() {
    peers.clear();
    settle();
  }

  std::shared_ptr<manager> make(manager_options options) {
    options.shards = 1;
    options.engine = skein::test::test_engine();
    options.time = time;
    options.on_open = [this](connection& who) { opened.push_back(who.id()); };
    options.on_closed = [this](connection& who, const close_reason& why) {
      closed.push_back({who.id(), why});
    };
    options.on_problem = [this](std::string_view line) { problems.emplace_back(line); };
    return make_manager(context.get_executor(), std::move(options));
  }
  testing::memory_peer& connect(handler what = ignore) {
    peers.push_back(testing::connect(*hub, std::move(what)));
    settle();
    return *peers.back();
  }
  void settle() { testing::settle(context); }
  void advance(duration by) {
    time->advance(by);
    settle();
  }
  /// Starts a coroutine whose result is looked at later.
  template <class T>
  std::shared_ptr<std::optional<T>> start(asio::awaitable<T> task) {
    auto result = std::make_shared<std::optional<T>>();
    asio::co_spawn(context, std::move(task), [result](const std::exception_ptr& error, T value) {
      if (!error) *result = std::move(value);
    });
    settle();
    return result;
  }

  asio::io_context context{1};
  std::shared_ptr<testing::virtual_clock> time = std::make_shared<testing::virtual_clock>();
  std::vector<connection_id> opened;
  std::vector<ended> closed;
  std::vector<std::string> problems;
  std::shared_ptr<manager> hub;
  std::vector<std::unique_ptr<testing::memory_peer>> peers;
};

inline message text(std::string what) {
  return message::text(std::move(what));
}

/// Reads everything that a peer gets, a little at a time, until nothing more comes.
inline std::vector<message> drink(fixture& f, testing::memory_peer& peer) {
  std::vector<message> all;
  for (;;) {
    auto some = peer.received();
    f.settle();
    if (some.empty()) {
      some = peer.received();
      if (some.empty()) return all;
    }
    for (auto& one : some) all.push_back(std::move(one));
  }
}

}  // namespace hub_test
