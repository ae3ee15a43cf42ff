// What docs/reference/message-store.md shows.

#include "sqlite_support.hpp"

#include <skein/message_store.hpp>
#include <skein/sqlite.hpp>
#include <skein/testing.hpp>
#include <skein/websocket.hpp>

#include <doctest/doctest.h>

#include <iostream>
#include <memory>
#include <string>

namespace skein::test {
namespace {

// [open]
std::shared_ptr<skein::message_store> open_store(std::string path) {
  skein::sqlite_store_options options;
  options.path = std::move(path);
  options.max_bytes = 1'000'000'000;
  options.on_event = [](const skein::sqlite_event& what) {  // on the store's thread: must not block
    std::clog << "store: " << static_cast<int>(what.what) << ' ' << what.text << '\n';
  };
  return skein::make_sqlite_store(std::move(options));
}
// [/open]

// [catch_up]
/// Sends what a client has missed. False: there is a gap, and the client must load everything anew.
asio::awaitable<bool> catch_up(skein::message_store& store, skein::websocket& client,
                               skein::topic_position since) {
  bool is_whole = true;
  for (bool more = true; more;) {
    const auto page = co_await store.read("news", since, skein::page_limits());
    is_whole = is_whole && page.recovered;
    for (const auto& each : page.publications) co_await client.write(each.what);
    since = page.next();
    more = page.more;
  }
  co_return is_whole;
}
// [/catch_up]

// [waiting]
/// Sends what waits for a user. Each stays in the store until the client has confirmed it by its id.
asio::awaitable<void> send_waiting(skein::message_store& store, skein::websocket& client, std::string user) {
  skein::stored_id last = 0;
  for (bool more = true; more;) {
    const auto page = co_await store.waiting(user, last, skein::page_limits());
    for (const auto& each : page) {
      co_await client.write(each.what);
      last = each.id;
    }
    more = !page.empty();
  }
}
// [/waiting]

}  // namespace

TEST_SUITE("sqlite_store") {
  TEST_CASE("the recipes of the reference page work") {
    const temporary_directory directory;
    store_caller f;
    f.store = open_store(directory.file("store.db"));
    const history_limits limits{.max_messages = 250};
    const auto start = f.position("news");
    for (int i = 0; i < 251; ++i) f.append("news", std::to_string(i), limits);
    for (int i = 0; i < 101; ++i) f.keep("ann", std::to_string(i));

    testing::mock_websocket client;
    CHECK(testing::run(catch_up(*f.store, client, {start.epoch, 1})));
    CHECK(client.writes() == 250);
    CHECK(client.last_written().payload() == "250");
    CHECK(!testing::run(catch_up(*f.store, client, start)));
    CHECK(client.writes() == 500);
    testing::run(send_waiting(*f.store, client, "ann"));
    CHECK(client.writes() == 601);
    CHECK(client.last_written().payload() == "100");
  }
}

}  // namespace skein::test
