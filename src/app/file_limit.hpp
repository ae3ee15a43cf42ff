#pragma once

// Every connection is an open file, and a process may have only so many.

#include <cstddef>

namespace skein::app {

/// Raises the soft limit of open files to the hard one, and says how many of the connections wanted fit below
/// it, with what the shards and the requests in progress need, and 64 files for everything else; at least 1.
[[nodiscard]] std::size_t connections_that_fit(std::size_t wanted, unsigned shards, std::size_t handshakes);

}  // namespace skein::app
