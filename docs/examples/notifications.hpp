#pragma once

// Notifications: an alert to everybody who is here, and a note to one user who may not be.

#include "messages.hpp"

#include <skein/manager.hpp>
#include <skein/users.hpp>

#include <string>

namespace skein::examples {

/// Sends an alert to every connection of the desk, and completes when it is known what became of each copy,
/// or after two seconds. A connection that is too slow to take it goes without: it is counted as dropped.
[[nodiscard]] asio::awaitable<delivery_report> announce(manager& hub, std::string text);

/// Sends a note to a user, now or when she next connects: it is kept until one of her connections has
/// acknowledged it.
[[nodiscard]] asio::awaitable<user_report> notify(users& to, std::string user, std::string text);

}  // namespace skein::examples
