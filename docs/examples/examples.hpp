#pragma once

// Three small business modules behind one route, as a model for your own: `orders` sends to one connection,
// `market_data` to those that subscribed, `notifications` to everybody. `gateway` is the handler that reads
// requests and calls them; docs/reference/gateway.md has its messages.

#include <skein/container.hpp>

namespace skein::examples {

/// Adds the modules and their route, `/ws`.
void install(container& into);

}  // namespace skein::examples
