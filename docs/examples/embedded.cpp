// Skein inside somebody's own io_context, on somebody's own threads.

#include <skein/skein.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <csignal>

#include <cstdio>
#include <thread>
#include <vector>

namespace asio = boost::asio;

namespace {

asio::awaitable<void> echo(skein::websocket& client) {
  while (auto received = co_await client.read()) {
    co_await client.write(std::move(*received));
  }
}

}  // namespace

// [embedded]
int main() {
  const auto options = skein::config::from_environment();

  asio::io_context context;  // yours; it may serve anything else as well
  const auto manager = skein::make_manager(context.get_executor(), options.manager);
  skein::server server{manager, options.server};
  server.route("/echo", echo);
  server.start();
  std::printf("listening on %s:%u\n", options.server.address.c_str(), static_cast<unsigned>(server.port()));
  std::fflush(stdout);

  auto drained = [&context](const std::exception_ptr&, const skein::drain_report&) { context.stop(); };
  asio::signal_set signals{context, SIGINT, SIGTERM};
  signals.async_wait([&](const skein::error_code&, int) {
    server.stop();
    asio::co_spawn(context, manager->drain(options.shutdown_timeout), drained);
  });

  std::vector<std::jthread> threads;
  for (int i = 0; i < 2; ++i) threads.emplace_back([&context] { context.run(); });
}
// [/embedded]
