// A business module and its test, as a user of the package writes them.

#include <skein/skein.hpp>
#include <skein/testing.hpp>

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
  return EXIT_SUCCESS;
}
