#include "connection/wake_slot.hpp"
#include "http/http_stream.hpp"
#include "http/server_core.hpp"
#include "http/session.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <new>
#include <stdexcept>
#include <utility>

namespace skein::detail {

using asio::ip::tcp;

static void require(bool allowed, const char* what) {
  if (!allowed) throw std::invalid_argument{what};
}

/// A descriptor that is kept to accept with when there is no other.
class spare_descriptor {
 public:
  spare_descriptor() noexcept { open(); }
  ~spare_descriptor() { close(); }
  spare_descriptor(const spare_descriptor&) = delete;
  spare_descriptor& operator=(const spare_descriptor&) = delete;
  void open() noexcept { descriptor_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
  /// Whether there was one.
  bool close() noexcept {
    const int mine = std::exchange(descriptor_, -1);
    return mine >= 0 && ::close(mine) == 0;
  }

 private:
  int descriptor_ = -1;
};

constexpr auto accept_pause = std::chrono::milliseconds{100};
// Connections that are to be reset are taken together: to be woken for each would cost as much as the reset.
constexpr auto flood_pause = std::chrono::milliseconds{5};
constexpr int accepts_at_once = 64;
constexpr auto accept_report_interval = std::chrono::seconds{10};

/// Accepts on one shard. Every shard has one, on a socket of its own with SO_REUSEPORT: the kernel spreads
/// the connections.
class listener : public std::enable_shared_from_this<listener> {
 public:
  listener(std::shared_ptr<server_core> server, std::shared_ptr<shard> where, const tcp::endpoint& at)
      : server_(std::move(server)), shard_(std::move(where)), acceptor_(shard_->executor()) {
    const auto& options = server_->options;
    acceptor_.open(at.protocol());
    acceptor_.set_option(asio::socket_base::reuse_address{true});
    acceptor_.set_option(asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>{true});
    // Inherited by accepted sockets; the receive buffer must be set before the connection is made.
    if (options.socket_read_buffer != 0) {
      acceptor_.set_option(
          asio::socket_base::receive_buffer_size{static_cast<int>(options.socket_read_buffer)});
    }
    if (options.socket_write_buffer != 0) {
      acceptor_.set_option(
          asio::socket_base::send_buffer_size{static_cast<int>(options.socket_write_buffer)});
    }
    acceptor_.bind(at);
    acceptor_.listen(asio::socket_base::max_listen_connections);
  }

  [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

  void start() {
    asio::co_spawn(shard_->executor(), accept_loop(shared_from_this()),
                   [self = shared_from_this()](const std::exception_ptr& error) {
                     if (error) self->shard_->problem("the accept loop ended");
                   });
  }

  void stop() { asio::post(shard_->executor(), stop_order{shared_from_this()}); }

 private:
  /// Carried out on the executor; if its context goes without having run it, what is left of the accept loop
  /// is let go: it keeps the listener, which keeps it while it waits.
  class stop_order {
   public:
    explicit stop_order(std::shared_ptr<listener> whose) noexcept : self_(std::move(whose)) {}
    stop_order(stop_order&&) noexcept = default;
    stop_order& operator=(stop_order&&) = delete;
    ~stop_order() {
      if (!self_) return;
      self_->idle_->room.abandon();
      self_->rest_.over.abandon();
    }
    void operator()() {
      const auto self = std::exchange(self_, nullptr);
      error_code ignored;
      self->acceptor_.close(ignored);
      for (auto* const each : self->idle_->waiting) each->cancel();
      self->shard_->remove_deadline(self->rest_);
      self->rest_.over.wake();
      self->idle_->room.wake();
    }

   private:
    std::shared_ptr<listener> self_;
  };

  /// A pause of the accept loop, by the shard's own clock.
  struct pause final : deadline_entry {
    wake_slot over;
    void on_deadline(time_point) override { over.wake(); }
  };

  static asio::awaitable<void> accept_loop(std::shared_ptr<listener> self) {
    tcp::endpoint peer;
    while (!self->server_->stopping.load(std::memory_order_relaxed)) {
      if (self->rest_.is_set()) {
        co_await self->rest_.over.wait();
        while (!self->server_->stopping.load(std::memory_order_relaxed) && self->accept_waiting()) {
          co_await asio::post(self->shard_->executor(), asio::use_awaitable);  // the others' turn
        }
        continue;
      }
      if (self->is_full()) {
        self->make_room();
        co_await self->idle_->room.wait();
        continue;
      }
      auto [ec, socket] = co_await self->acceptor_.async_accept(peer, asio::as_tuple(asio::use_awaitable));
      if (self->server_->stopping.load(std::memory_order_relaxed)) break;
      if (ec) {
        if (ec == asio::error::connection_aborted) continue;
        self->report(ec);
        if (self->turn_away()) continue;
        // Accepting again at once would fail a million times a second.
        self->rest(accept_pause);
        continue;
      }
      if (self->listens_to(peer)) {
        self->serve(std::move(socket));
      } else {
        self->reset(socket.release(ec));
      }
    }
  }

  /// Accepts who has come during a pause; whether there may be more.
  bool accept_waiting() {
    for (int count = 0; count < accepts_at_once; ++count) {
      if (is_full()) return false;
      tcp::endpoint peer;
      auto size = static_cast<socklen_t>(peer.capacity());
      const int accepted = ::accept4(acceptor_.native_handle(), peer.data(), &size, SOCK_CLOEXEC);
      if (accepted < 0) return false;  // that was all, or the accept loop will see what is wrong
      if (!listens_to(peer)) {
        reset(accepted);
        continue;
      }
      tcp::socket socket{shard_->executor()};
      error_code ec;
      socket.assign(peer.protocol(), accepted, ec);
      if (ec) {
        ::close(accepted);
      } else {
        serve(std::move(socket));
      }
    }
    return true;
  }

  [[nodiscard]] bool is_full() const noexcept {
    return sessions_ >= std::max<std::size_t>(1, server_->options.max_handshakes / server_->hub->shard_count);
  }

  /// Who has had an answer and asks nothing more must not keep others out.
  void make_room() noexcept {
    const auto& idle = idle_->between_requests;
    if (!idle.empty()) idle.front()->cancel();
  }

  [[nodiscard]] bool listens_to(const tcp::endpoint& peer) const {
    return server_->gate.listens_to(peer.address(), shard_->now());
  }

  /// Ends a connection that nobody listens to; nothing is kept for it.
  void reset(int accepted) noexcept {
    server_->hub->count_refusal(refusal_reason::rate);
    rest(flood_pause);  // before the peer can know
    constexpr ::linger at_once{1, 0};
    ::setsockopt(accepted, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    ::close(accepted);
  }

  /// Lets the accept loop pause, unless it is about to, or there is no memory to end the pause.
  void rest(std::chrono::milliseconds time) noexcept {
    try {
      if (!rest_.is_set()) shard_->set_deadline(rest_, shard_->now() + time);
    } catch (const std::bad_alloc&) {
      shard_->remove_deadline(rest_);
    }
  }

  /// Not each time: it may last, and there are ten times a second.
  void report(const error_code& ec) {
    const auto now = shard_->now();
    if (now < silent_until_) return;
    silent_until_ = now + accept_report_interval;
    shard_->problem("accept: " + ec.message());
  }

  /// Out of descriptors, who waits would wait in vain, and is told so with the one that is kept. False:
  /// nobody waits, or it could not be kept.
  bool turn_away() {
    const bool kept = spare_.close();
    const int gone =
        kept ? ::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
    if (gone >= 0) {
      server_->hub->count_refusal(refusal_reason::descriptors);
      ::close(gone);
    }
    spare_.open();
    return gone >= 0;
  }

  void serve(tcp::socket socket) {
    error_code ignored;
    socket.set_option(tcp::no_delay{true}, ignored);
    ++sessions_;
    asio::co_spawn(shard_->executor(), serve_http(server_, shard_, std::move(socket), idle_),
                   [self = shared_from_this()](const std::exception_ptr& error) {
                     if (error) self->shard_->problem("an HTTP session failed");
                     --self->sessions_;
                     self->idle_->room.wake();
                   });
  }

  std::shared_ptr<server_core> server_;
  std::shared_ptr<shard> shard_;
  tcp::acceptor acceptor_;
  std::shared_ptr<idle_sessions> idle_ = std::make_shared<idle_sessions>();
  spare_descriptor spare_;
  time_point silent_until_ = time_point::min();
  std::size_t sessions_ = 0;
  pause rest_;
};

namespace {

asio::awaitable<void> load_keys(std::shared_ptr<token_authenticator> of) {
  co_await of->load_keys();
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
  if (options.tokens) {
    asio::co_spawn(shards.front()->executor(), load_keys(options.tokens), [](const std::exception_ptr&) {});
  }
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
std::uint16_t server::port() const noexcept {
  return core_->port;
}

}  // namespace skein
