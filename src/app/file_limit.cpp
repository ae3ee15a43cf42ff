#include "app/file_limit.hpp"

#include <sys/resource.h>

#include <algorithm>

namespace skein::app {

std::size_t connections_that_fit(std::size_t wanted, unsigned shards, std::size_t handshakes) {
  // A shard's own: its context's three, the poller, a listener, and one to spare.
  const rlim_t reserve = 64 + rlim_t{6} * shards + handshakes;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return wanted;
  if (files.rlim_cur < files.rlim_max) {
    const rlimit raised{files.rlim_max, files.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) files = raised;
  }
  if (files.rlim_cur == RLIM_INFINITY) return wanted;
  const rlim_t room = files.rlim_cur > reserve ? files.rlim_cur - reserve : 1;
  return std::min<std::size_t>(wanted, room);
}

}  // namespace skein::app
