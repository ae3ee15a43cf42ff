#include "notifications.hpp"

#include "desk.hpp"

#include <chrono>

namespace skein::examples {

// [announce]
asio::awaitable<delivery_report> announce(manager& hub, std::string text) {
  auto alert = json_message({{"type", "alert"}, {"text", text}});
  co_return co_await hub.broadcast(std::move(alert),
                                   delivery().on_route(desk_path).drop().deadline(std::chrono::seconds{2}));
}
// [/announce]

// [notify]
asio::awaitable<user_report> notify(users& to, std::string user, std::string text) {
  auto note = json_message({{"type", "note"}, {"text", text}});
  co_return co_await to.send(std::move(user), std::move(note), delivery().stored());
}
// [/notify]

}  // namespace skein::examples
