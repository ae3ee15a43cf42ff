#pragma once

#include <skein/connection.hpp>
#include <skein/manager.hpp>

namespace skein::examples {

/// Tells everybody else on the route `/chat` what one client says, and the client how many were told.
asio::awaitable<void> chat(connection& client, manager& room);

}  // namespace skein::examples
