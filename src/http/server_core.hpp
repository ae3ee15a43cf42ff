#pragma once

// What the listeners and the HTTP sessions of one server share.

#include "http/client_gate.hpp"
#include "http/refusal_log.hpp"
#include "hub/hub.hpp"
#include "security/tls_context.hpp"

#include <skein/server.hpp>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace skein::detail {

class listener;

struct route_entry {
  std::shared_ptr<const handler> runs;
  route_options options;
  bool token_may_follow = false;  ///< in the first message
  bool anonymous = true;
  std::shared_ptr<const inbound_rules> rules{};
};
/// Everything but `start`, `stop` and the certificates is read-only once started, so the shards share it
/// without a lock. The hub is held by the `server`, not here: sessions live on the hub's own executors and
/// must not be what keeps it alive.
class server_core : public std::enable_shared_from_this<server_core> {
 public:
  server_core(const std::shared_ptr<skein::manager>& owner, const class hub& of, server_options given)
      : manager(owner),
        hub(of.shared()),
        options(std::move(given)),
        gate(options),
        refusals(std::make_shared<refusal_log>(options.on_refusal)) {}

  void start(const std::vector<std::shared_ptr<shard>>& shards);
  void stop();

  /// What new connections are shown; null: no TLS. Any thread.
  [[nodiscard]] std::shared_ptr<const tls_context> certificates() const;
  /// Throws `tls_error`; then nothing has changed.
  void reload_certificates();
  /// Begins to fetch the JWK set on this shard, if there is one; `done` may be empty.
  void fetch_keys(shard& where, std::function<void(bool)> done);

  /// A place among those whose token is still to come, given back when the last owner lets go; null: there
  /// is none.
  [[nodiscard]] std::shared_ptr<void> take_unadmitted();

  std::weak_ptr<skein::manager> manager;
  std::shared_ptr<hub_shared> hub;
  server_options options;
  client_gate gate;
  const std::shared_ptr<refusal_log> refusals;
  std::map<std::string, route_entry, std::less<>> routes;
  std::map<std::string, endpoint, std::less<>> endpoints;
  std::vector<std::function<void(health_report&)>> health_checks;
  std::map<std::string, std::function<boost::json::object()>> statistics;  // by their section
  std::atomic<std::uint16_t> port{0};
  std::atomic<bool> stopping{false};
  bool started = false;

 private:
  mutable std::mutex certificates_mutex_;
  std::shared_ptr<const tls_context> certificates_;
  std::atomic<std::size_t> unadmitted_{0};
  std::mutex mutex_;  // of the listeners
  std::vector<std::shared_ptr<listener>> listeners_;
};

}  // namespace skein::detail
