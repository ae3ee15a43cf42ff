#include "http/listener.hpp"
#include "http/server_core.hpp"

#include <boost/asio/co_spawn.hpp>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace skein::detail {

static void require(bool allowed, const char* what) {
  if (!allowed) throw std::invalid_argument{what};
}

namespace {

asio::awaitable<bool> load_keys(std::shared_ptr<token_authenticator> of) {
  const bool there = co_await of->load_keys();
  co_return there;
}

}  // namespace

void server_core::start(const std::vector<std::shared_ptr<shard>>& shards) {
  const std::lock_guard lock{mutex_};
  require(!started, "the server was started before");
  if (!options.tls.certificate_files.empty())
    certificates_ = std::make_shared<const tls_context>(options.tls);
  const auto address = asio::ip::make_address(options.address);
  asio::ip::tcp::endpoint at{address, options.port};
  if (options.port != 0) {
    // SO_REUSEPORT would let a second server of the same user share the port in silence. Without it, binding
    // fails if anybody is there.
    asio::io_context probe_context;
    asio::ip::tcp::acceptor probe{probe_context};
    probe.open(at.protocol());
    probe.set_option(asio::socket_base::reuse_address{true});
    probe.bind(at);
  }
  for (const auto& where : shards) {
    listeners_.push_back(std::make_shared<listener>(shared_from_this(), where, at));
    at.port(listeners_.front()->port());
  }
  port = at.port();
  started = true;
  for (const auto& one : listeners_) one->start();
  fetch_keys(*shards.front(), {});
}

void server_core::fetch_keys(shard& where, std::function<void(bool)> done) {
  if (!options.tokens) return;
  asio::co_spawn(where.executor(), load_keys(options.tokens),
                 [done = std::move(done)](const std::exception_ptr& error, bool there) {
                   if (done) done(!error && there);
                 });
}

std::shared_ptr<void> server_core::take_unadmitted() {
  const auto most = options.max_unadmitted != 0 ? options.max_unadmitted
                                                : std::max<std::size_t>(1, hub->options.max_connections / 4);
  if (unadmitted_.fetch_add(1) >= most) {
    unadmitted_.fetch_sub(1);
    return nullptr;
  }
  // The deleter is called even if there is no memory for the count of owners.
  return {this, [keep = shared_from_this()](void*) { keep->unadmitted_.fetch_sub(1); }};
}

void server_core::stop() {
  stopping = true;
  const std::lock_guard lock{mutex_};
  for (const auto& one : std::exchange(listeners_, {})) one->stop();
}

std::shared_ptr<const tls_context> server_core::certificates() const {
  const std::lock_guard lock{certificates_mutex_};
  return certificates_;
}

void server_core::reload_certificates() {
  const bool used = certificates() != nullptr;
  if (!used) return;
  std::shared_ptr<const tls_context> loaded;
  try {
    loaded = std::make_shared<const tls_context>(options.tls);
  } catch (const tls_error&) {
    hub->tls.failed_reloads.fetch_add(1, std::memory_order_relaxed);
    throw;
  }
  hub->tls.reloads.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock{certificates_mutex_};
  certificates_ = std::move(loaded);
}

}  // namespace skein::detail

namespace skein {
namespace {

using detail::require;

void check_path(const std::string& path) {
  require(path.starts_with('/'), "a path begins with a slash");
}

}  // namespace

server::server(std::shared_ptr<manager> hub, server_options options) : manager_(std::move(hub)) {
  using namespace std::chrono_literals;
  auto* const known = dynamic_cast<detail::hub*>(manager_.get());
  require(known != nullptr, "the server's manager must come from make_manager");
  require(options.handshake_timeout > 0ns, "handshake_timeout: more than zero");
  require(options.max_header_bytes > 0, "max_header_bytes: more than zero");
  require(options.max_header_fields > 0, "max_header_fields: more than zero");
  require(options.max_handshakes > 0, "max_handshakes: more than zero");
  for (const auto& origin : options.origin.allowed) {
    require(origin == "*" || is_origin(origin), "allowed origin: scheme://host[:port] or *");
  }
  require(options.tls.certificate_files.size() == options.tls.key_files.size(),
          "tls: as many key files as certificate files");
  require(options.tls.client_ca_file.empty() || !options.tls.certificate_files.empty(),
          "client_ca_file: of no use without certificate files");
  core_ = std::make_shared<detail::server_core>(manager_, *known, std::move(options));
}

server::~server() {
  stop();
}

void server::route(std::string path, handler what, route_options options) {
  check_path(path);
  require(!core_->started, "routes are registered before the start");
  require(static_cast<bool>(what), "a route needs a handler");
  detail::route_entry entry{std::make_shared<const handler>(std::move(what)), std::move(options)};
  const auto& how = entry.options;
  const auto& tokens = core_->options.tokens;
  entry.anonymous = how.anonymous.value_or(!core_->options.require_authentication);
  require(
      entry.anonymous || how.authenticator || tokens || !core_->options.tls.client_ca_file.empty(),
      "authentication is required, but nothing says who anybody is: neither tokens, an authenticator, nor "
      "certificates of clients");
  if (!entry.anonymous && !how.authenticator && tokens &&
      how.first_message_token.value_or(tokens->options().places.first_message)) {
    entry.token_may_follow = true;
  }
  entry.rules = core_->gate.rules(how);
  const auto largest = core_->hub->options.limits.max_message_bytes;
  require(!entry.rules || entry.rules->bytes.is_off() || entry.rules->bytes.burst() >= largest,
          "the burst of a rate of bytes: no smaller than the largest message");
  require(core_->routes.try_emplace(std::move(path), std::move(entry)).second, "this path has a route");
}

void server::get(std::string path, endpoint what) {
  check_path(path);
  require(!core_->started, "endpoints are registered before the start");
  require(static_cast<bool>(what), "an endpoint needs a function");
  require(core_->endpoints.try_emplace(std::move(path), std::move(what)).second, "this path has an endpoint");
}

void server::add_health_check(std::function<void(health_report&)> check) {
  require(!core_->started, "health checks are added before the start");
  require(static_cast<bool>(check), "a health check needs a function");
  core_->health_checks.push_back(std::move(check));
}

void server::add_statistics(std::string name, std::function<boost::json::object()> now) {
  require(!core_->started, "statistics are added before the start");
  require(!name.empty() && now, "statistics need a name and a function");
  require(core_->statistics.try_emplace(std::move(name), std::move(now)).second,
          "there are statistics of this name");
}

void server::start() {
  core_->start(dynamic_cast<detail::hub&>(*manager_).shards());
}
void server::stop() {
  core_->stop();
}
void server::reload_certificates() {
  core_->reload_certificates();
}
void server::reload_keys(std::function<void(bool)> done) {
  require(core_->started, "reload_keys: not before the start");
  core_->fetch_keys(*dynamic_cast<detail::hub&>(*manager_).shards().front(), std::move(done));
}
std::uint16_t server::port() const noexcept {
  return core_->port;
}

}  // namespace skein
