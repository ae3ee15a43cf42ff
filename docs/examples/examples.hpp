#pragma once

// Three small business modules behind one route, as a model for your own: `orders` publishes to its owner's
// topic, `market_data` to a topic for each symbol, `notifications` to everybody or to one user. `desk`
// answers their requests on a route that speaks the JSON protocol; docs/reference/desk.md has the messages.

#include <skein/config.hpp>
#include <skein/container.hpp>

namespace skein::examples {

/// Adds what holds for the modules' topics.
void configure(config& options);

/// Adds the modules and their route, `/ws`, to a container with such a configuration.
void install(container& into);

}  // namespace skein::examples
