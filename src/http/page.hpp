#pragma once

// The page for people: what the example modules do, live in a browser.

#include <skein/server.hpp>

namespace skein::app {

/// Adds `/skein.js`, the JavaScript client of the JSON protocol; pages of other hosts may import it, too.
/// Before the server starts.
void install_client(server& into);

/// Adds `/` and the files that the page needs, `/skein.js` among them. The page connects to the route `/ws`
/// (docs/reference/desk.md). Before the server starts.
void install_page(server& into);

}  // namespace skein::app
