#pragma once

// Notifications: an alert to everybody, and what became of it.

#include "messages.hpp"

#include <skein/manager.hpp>

#include <string>

namespace skein::examples {

/// Sends an alert to every connection of the gateway, and completes when it is known what became of each
/// copy, or after two seconds. A connection that is too slow to take it goes without: it is counted as
/// dropped.
[[nodiscard]] asio::awaitable<delivery_report> announce(manager& hub, std::string text);

/// The report as a message.
[[nodiscard]] prepared_message announced(const delivery_report& report);

}  // namespace skein::examples
