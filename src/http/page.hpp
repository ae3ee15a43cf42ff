#pragma once

// The page for people: what the example modules do, live in a browser.

#include <skein/server.hpp>

namespace skein::app {

/// Adds `/` and the files that the page needs. The page connects to the route `/ws`
/// (docs/reference/gateway.md). Before the server starts.
void install_page(server& into);

}  // namespace skein::app
