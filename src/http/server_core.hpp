#pragma once

// What the listeners and the HTTP sessions of one server share.

#include "hub/hub.hpp"

#include <skein/server.hpp>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace skein::detail {

class listener;

struct route_entry {
  std::shared_ptr<const handler> runs;
  route_options options;
};
/// Everything but `start` and `stop` is read-only once started, so the shards share it without a lock. The
/// hub is held by the `server`, not here: sessions live on the hub's own executors and must not be what keeps
/// it alive.
class server_core : public std::enable_shared_from_this<server_core> {
 public:
  server_core(hub& owner, server_options given) : manager(owner), options(std::move(given)) {}

  void start();
  void stop();

  hub& manager;
  server_options options;
  std::map<std::string, route_entry, std::less<>> routes;
  std::map<std::string, endpoint, std::less<>> endpoints;
  std::atomic<std::uint16_t> port{0};
  std::atomic<bool> stopping{false};
  bool started = false;

 private:
  std::vector<std::shared_ptr<listener>> listeners_;
};

}  // namespace skein::detail
