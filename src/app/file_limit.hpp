#pragma once

// Every connection is an open file, and a process may have only so many.

#include <cstddef>

namespace skein::app {

/// Raises the soft limit of open files to the hard one, and says how many of the connections wanted fit below
/// it with 64 files left for everything else; at least 1.
[[nodiscard]] std::size_t connections_that_fit(std::size_t wanted);

}  // namespace skein::app
