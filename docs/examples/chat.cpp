#include "chat.hpp"

#include <string>

namespace skein::examples {

// [handler]
asio::awaitable<void> chat(connection& client, manager& room) {
  const auto others = delivery().on_route("/chat").except(client.id()).deadline(std::chrono::seconds{1});
  while (auto said = co_await client.read()) {
    const auto report = co_await room.broadcast(std::move(*said), others);
    co_await client.write(message::text("told " + std::to_string(report.written)));
  }
}
// [/handler]

}  // namespace skein::examples
