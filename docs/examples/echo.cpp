// [program]
#include <skein/skein.hpp>

namespace asio = boost::asio;

// [handler]
asio::awaitable<void> echo(skein::websocket& client) {
  while (auto received = co_await client.read()) {
    co_await client.write(std::move(*received));
  }
}
// [/handler]

int main() {
  skein::container container{skein::config::from_environment()};
  container.server().add_standard_endpoints();
  container.server().route("/echo", echo);
  return container.run();
}
// [/program]
