#pragma once

// The routes that the benchmarks load; `--bench-routes` adds them.

#include <skein/container.hpp>

namespace skein::app {

/// `/echo`: each message comes back. `/broadcast`: each message goes to everybody on this route. Who is slow
/// is evicted there, on `/broadcast-drop` misses messages, and on `/broadcast-conflate`, where they are news
/// of sixteen things by turns, gets the newest of each.
/// `/broadcast-awaited`: the same, and the next message is read when the report of this one is there.
void add_bench_routes(container& into);

}  // namespace skein::app
