// A business module and its test, as a user of the package writes them.

#include <skein/skein.hpp>
#ifdef WITH_SQLITE
#include <skein/sqlite.hpp>
#endif
#include <skein/testing.hpp>

#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace asio = boost::asio;

namespace {

asio::awaitable<void> orders(skein::connection& client) {
  while (auto request = co_await client.read())
    co_await client.send(skein::message::text("ack " + std::string{request->payload()}));
}

}  // namespace

int main() {
  // Linking the whole server shows that the package brings everything that it needs.
  skein::container container{skein::config{}};
  container.server().route("/orders", orders);

  skein::testing::mock_websocket client;
  client.will_read_text("1").will_read_text("2");
  skein::testing::run(orders(client));
  if (client.writes() != 2 || client.last_written().payload() != "ack 2") {
    std::cerr << "the handler did not acknowledge both orders\n";
    return EXIT_FAILURE;
  }
#ifdef WITH_SQLITE
  skein::sqlite_store_options options;
  options.path = "consumer.db";
  auto store = skein::make_sqlite_store(options);
  const auto at = skein::testing::run(store->append("orders", skein::message::text("1"), {}));
  store.reset();
  std::remove("consumer.db");
  if (at.offset == 0) {
    std::cerr << "the store did not count\n";
    return EXIT_FAILURE;
  }
#endif
  return EXIT_SUCCESS;
}
