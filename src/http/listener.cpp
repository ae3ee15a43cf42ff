#include "http/listener.hpp"

#include "http/session.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <new>
#include <poll.h>
#include <string>
#include <utility>

namespace skein::detail {
namespace {

constexpr auto accept_pause = std::chrono::milliseconds{100};
// Connections that are to be reset are taken together: to be woken for each would cost as much as the reset.
constexpr auto flood_pause = std::chrono::milliseconds{5};
constexpr int accepts_at_once = 64;
constexpr auto report_interval = std::chrono::seconds{10};
constexpr auto most_patience = std::chrono::seconds{2};

/// What one of so many listeners has of the limits of all. However they are set, half of the places are not
/// one address's while others wait.
handshakes::limits share_of(const server_options& options, std::size_t listeners) {
  handshakes::limits result;
  const auto share = [listeners](std::size_t of) { return std::max<std::size_t>(1, of / listeners); };
  result.most = share(options.max_handshakes);
  if (const auto each = options.clients.handshakes_per_address; each != 0)
    result.of_address = std::min(share(each), std::max<std::size_t>(1, result.most / 2));
  result.patience = std::min<std::chrono::nanoseconds>(options.handshake_timeout / 2, most_patience);
  return result;
}

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
    self_->handshakes_->room.abandon();
    self_->rested_.abandon();
  }
  void operator()() {
    const auto self = std::exchange(self_, nullptr);
    error_code ignored;
    self->acceptor_.close(ignored);
    self->handshakes_->stop();
    self->shard_->remove_deadline(self->rest_);
    self->shard_->remove_deadline(self->look_);
    self->rested_.wake();
    self->handshakes_->room.wake();
  }

 private:
  std::shared_ptr<listener> self_;
};

listener::listener(std::shared_ptr<server_core> server, std::shared_ptr<shard> where, const tcp::endpoint& at)
    : server_(std::move(server)),
      shard_(std::move(where)),
      acceptor_(shard_->executor()),
      handshakes_(std::make_shared<handshakes>(share_of(server_->options, server_->hub->shard_count))),
      look_(handshakes_->room) {
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
  acceptor_.non_blocking(true);
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
  while (!self->server_->stopping.load(std::memory_order_relaxed)) {
    try {
      co_await accept_next(self);
    } catch (const std::exception& error) {
      // For want of memory, as a rule. Whoever waits goes on waiting.
      self->report("accept: ", error.what(), self->accept_silent_until_);
      self->rest(accept_pause);
      if (!self->rest_.is_set()) ::poll(nullptr, 0, 1);  // nor for a pause: at least it does not spin
    }
  }
}

asio::awaitable<void> listener::accept_next(std::shared_ptr<listener> self) {
  const bool gathered = self->rest_.is_set();
  if (gathered) {
    co_await self->rested_.wait();
    if (self->server_->stopping.load(std::memory_order_relaxed)) co_return;
  }
  if (self->handshakes_->is_full()) {
    if (self->somebody_waits()) {
      self->make_room();
      if (self->handshakes_->is_full()) co_await self->handshakes_->room.wait();
      co_return;
    }
  } else {
    error_code ec;
    while (self->accept_some(gathered, ec)) {
      co_await asio::post(self->shard_->executor(), asio::use_awaitable);  // the others' turn
      if (self->server_->stopping.load(std::memory_order_relaxed)) co_return;
    }
    if (ec) {
      self->report("accept: ", ec.message(), self->accept_silent_until_);
      // Accepting again at once would fail a million times a second.
      if (!self->turn_away()) self->rest(accept_pause);
      co_return;
    }
    if (self->rest_.is_set() || self->handshakes_->is_full()) co_return;
  }
  co_await self->acceptor_.async_wait(tcp::acceptor::wait_read, asio::as_tuple(asio::use_awaitable));
}

bool listener::accept_some(bool gathered, error_code& ec) {
  for (int count = 0; count < accepts_at_once; ++count) {
    if (handshakes_->is_full()) return false;
    tcp::endpoint peer;
    auto size = static_cast<socklen_t>(peer.capacity());
    const int accepted =
        ::accept4(acceptor_.native_handle(), peer.data(), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0) {
      if (errno == ECONNABORTED || errno == EINTR) continue;
      if (errno != EAGAIN) ec.assign(errno, boost::system::system_category());
      return false;
    }
    peer.resize(size);
    if (const auto why = refuses(peer)) {
      reset(accepted, *why);
      if (!gathered) return false;  // there are more, who are left to gather
    } else {
      serve(accepted, peer.protocol());
    }
  }
  return true;
}

bool listener::somebody_waits() noexcept {
  pollfd waiting{acceptor_.native_handle(), POLLIN, 0};
  return ::poll(&waiting, 1, 0) != 0;
}

void listener::make_room() noexcept {
  const auto now = shard_->now();
  const auto gone = handshakes_->make_room(now);
  server_->hub->count_refusal(refusal_reason::address_limit, gone.past_address);
  server_->hub->count_refusal(refusal_reason::timeout, gone.too_slow);
  set(look_, now + handshakes::look_interval);
}

std::optional<refusal_reason> listener::refuses(const tcp::endpoint& peer) noexcept {
  const auto from = peer.address();
  const auto now = shard_->now();
  if (!server_->gate.listens_to(from, now)) return refusal_reason::rate;
  if (!handshakes_->listens_to(from, now)) return refusal_reason::address_limit;
  return std::nullopt;
}

void listener::reset(int accepted, refusal_reason why) noexcept {
  server_->hub->count_refusal(why);
  rest(flood_pause);  // before the peer can know
  constexpr ::linger at_once{1, 0};
  ::setsockopt(accepted, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  ::close(accepted);
}

void listener::set(wake_up& what, time_point when) noexcept {
  try {
    if (!what.is_set()) shard_->set_deadline(what, when);
  } catch (const std::bad_alloc&) {
    shard_->remove_deadline(what);
  }
}

void listener::report(std::string_view what, std::string_view why, time_point& silent_until) noexcept {
  const auto now = shard_->now();
  if (now < silent_until) return;
  silent_until = now + report_interval;
  try {
    shard_->problem(std::string{what}.append(why));
  } catch (const std::exception&) {  // then it stays unsaid
  }
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

void listener::serve(int accepted, const tcp& protocol) {
  tcp::socket socket{shard_->executor()};
  try {
    socket.assign(protocol, accepted);
  } catch (...) {
    ::close(accepted);
    throw;
  }
  error_code ignored;
  socket.set_option(tcp::no_delay{true}, ignored);
  asio::co_spawn(shard_->executor(),
                 serve_http(server_, shard_, std::move(socket), handshake_place{handshakes_}),
                 [self = shared_from_this()](const std::exception_ptr& error) {
                   if (error) self->report("an HTTP session failed", {}, self->session_silent_until_);
                   self->handshakes_->room.wake();
                 });
}

}  // namespace skein::detail
