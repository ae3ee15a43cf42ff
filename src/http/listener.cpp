#include "http/listener.hpp"

#include "http/http_stream.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <string>
#include <utility>

namespace skein::detail {
namespace {

constexpr auto accept_pause = std::chrono::milliseconds{100};
// Connections that are to be reset are taken together: to be woken for each would cost as much as the reset.
constexpr auto flood_pause = std::chrono::milliseconds{5};
constexpr int accepts_at_once = 64;
constexpr auto accept_report_interval = std::chrono::seconds{10};

}  // namespace

using asio::ip::tcp;

void spare_descriptor::open() noexcept {
  descriptor_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}

bool spare_descriptor::close() noexcept {
  const int mine = std::exchange(descriptor_, -1);
  return mine >= 0 && ::close(mine) == 0;
}

/// Carried out on the executor; if its context goes without having run it, what is left of the accept loop
/// is let go: it keeps the listener, which keeps it while it waits.
class listener::stop_order {
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

listener::listener(std::shared_ptr<server_core> server, std::shared_ptr<shard> where, const tcp::endpoint& at)
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
    acceptor_.set_option(asio::socket_base::send_buffer_size{static_cast<int>(options.socket_write_buffer)});
  }
  acceptor_.bind(at);
  acceptor_.listen(asio::socket_base::max_listen_connections);
}

void listener::start() {
  asio::co_spawn(shard_->executor(), accept_loop(shared_from_this()),
                 [self = shared_from_this()](const std::exception_ptr& error) {
                   if (error) self->shard_->problem("the accept loop ended");
                 });
}

void listener::stop() {
  asio::post(shard_->executor(), stop_order{shared_from_this()});
}

asio::awaitable<void> listener::accept_loop(std::shared_ptr<listener> self) {
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

bool listener::accept_waiting() {
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

bool listener::is_full() const noexcept {
  return sessions_ >= std::max<std::size_t>(1, server_->options.max_handshakes / server_->hub->shard_count);
}

void listener::make_room() noexcept {
  const auto& idle = idle_->between_requests;
  if (!idle.empty()) idle.front()->cancel();
}

bool listener::listens_to(const tcp::endpoint& peer) const {
  return server_->gate.listens_to(peer.address(), shard_->now());
}

void listener::reset(int accepted) noexcept {
  server_->hub->count_refusal(refusal_reason::rate);
  rest(flood_pause);  // before the peer can know
  constexpr ::linger at_once{1, 0};
  ::setsockopt(accepted, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  ::close(accepted);
}

void listener::rest(std::chrono::milliseconds time) noexcept {
  try {
    if (!rest_.is_set()) shard_->set_deadline(rest_, shard_->now() + time);
  } catch (const std::bad_alloc&) {
    shard_->remove_deadline(rest_);
  }
}

void listener::report(const error_code& ec) {
  const auto now = shard_->now();
  if (now < silent_until_) return;
  silent_until_ = now + accept_report_interval;
  shard_->problem("accept: " + ec.message());
}

bool listener::turn_away() {
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

void listener::serve(tcp::socket socket) {
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

}  // namespace skein::detail
