#include "worker.hpp"

#include "clock.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <system_error>

namespace skein::bench {
namespace {

constexpr std::size_t read_buffer_bytes = 256U * 1024;
constexpr std::int64_t second_ns = 1'000'000'000;
constexpr std::int64_t longest_poll_ns = second_ns / 10;
constexpr std::int64_t patrol_every_ns = second_ns / 10;

// The kernel hands out at most 28,000 ports for each source address.
constexpr std::uint64_t connects_per_source = 20'000;

}  // namespace

void connection_tally::merge(const connection_tally& other) {
  opened += other.opened;
  refused += other.refused;
  lost += other.lost;
  if (first_problem.empty()) first_problem = other.first_problem;
  handshake_ns.merge(other.handshake_ns);
}

worker::worker(const handshake_settings& settings, std::uint32_t thread, socket_events& events)
    : settings_(settings),
      events_(events),
      thread_(thread),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      buffer_(read_buffer_bytes) {
  if (epoll_ < 0 || wake_ < 0) throw std::system_error{errno, std::system_category(), "epoll"};
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event);
}

worker::~worker() {
  sockets_.clear();
  ::close(wake_);
  ::close(epoll_);
}

route worker::start_connecting() noexcept {
  route way{settings_.target.address, settings_.target.address_size, {}, settings_.tls.get()};
  ++handshaking_;
  const auto turn = static_cast<std::uint32_t>(connects_++ / connects_per_source % 256);
  if (settings_.target.has_many_sources())
    way.source = INADDR_LOOPBACK + (turn << 8) + thread_;  // 127.0.TURN.THREAD
  return way;
}

void worker::open(std::uint32_t count, std::uint32_t at_once) {
  to_open_ += count;
  at_once_ = std::max(1U, at_once);
  sockets_.reserve(sockets_.size() + count);
}

std::int64_t worker::keep_going(std::int64_t now) {
  // A server that refuses everything need not be asked thousands of times.
  if (to_open_ != 0 && tally_.opened == 0 && tally_.refused >= at_once_) {
    tally_.refused += to_open_;
    to_open_ = 0;
  }
  for (; to_open_ != 0 && handshaking_ < at_once_; --to_open_) {
    sockets_.push_back(std::make_unique<client_socket>(*this, static_cast<std::uint32_t>(sockets_.size())));
    sockets_.back()->connect();
  }
  if (all_settled() && all_closed()) return never_ns;
  if (now >= next_patrol_ns_) abandon_overdue(now);
  return next_patrol_ns_;
}

void worker::abandon_overdue(std::int64_t now) {
  next_patrol_ns_ = now + patrol_every_ns;
  for (auto& socket : sockets_) {
    const auto since = socket->waits_since_ns();
    if (since != 0 && now - since > settings_.patience_ns)
      socket->abandon("the server did not answer in " + std::to_string(settings_.patience_ns / second_ns) +
                      " s");
  }
}

int worker::wait_for_events(std::span<epoll_event> ready, std::int64_t longest_ns) noexcept {
  const auto room = static_cast<int>(ready.size());
  if (waits_exactly_) {
    const timespec longest{.tv_sec = 0, .tv_nsec = longest_ns};
    const int count = ::epoll_pwait2(epoll_, ready.data(), room, &longest, nullptr);
    if (count >= 0 || errno != ENOSYS) return count;
    waits_exactly_ = false;  // before Linux 5.11, or under a tool that does not know the call
  }
  return ::epoll_wait(epoll_, ready.data(), room, static_cast<int>((longest_ns + 999'999) / 1'000'000));
}

void worker::poll(std::int64_t until_ns) {
  std::array<epoll_event, 512> ready;
  const auto wait = std::clamp<std::int64_t>(until_ns - read_time_ns_, 0, longest_poll_ns);
  const int count = wait_for_events(ready, wait);
  if (count < 0 && errno != EINTR) throw std::system_error{errno, std::system_category(), "epoll_wait"};
  for (int i = 0; i < count; ++i) {
    const auto& event = ready[static_cast<std::size_t>(i)];
    if (event.data.ptr == nullptr) {
      std::uint64_t wakes = 0;
      [[maybe_unused]] const auto got = ::read(wake_, &wakes, sizeof wakes);
      continue;
    }
    static_cast<client_socket*>(event.data.ptr)->on_events(event.events);
    flush();
  }
}

void worker::wake() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof one);
}

void worker::flush() {
  for (std::size_t i = 0; i < to_flush_.size(); ++i) to_flush_[i]->flush();
  to_flush_.clear();
}

void worker::close_all() {
  for (auto& socket : sockets_) {
    socket->resume_reading();
    socket->close();
    flush();
  }
}

std::span<char> worker::read_buffer(std::size_t kept) {
  // Room for the rest of what a socket has begun to receive, however long it is.
  const auto least = std::max(kept, wanted_buffer_bytes_) + read_buffer_bytes / 2;
  if (buffer_.size() < least) buffer_.resize(least);
  return buffer_;
}

std::int64_t worker::tick() noexcept {
  return read_time_ns_ = now_ns();
}

void worker::opened(client_socket& socket) {
  --handshaking_;
  ++tally_.opened;
  tally_.handshake_ns.record(static_cast<std::uint64_t>(read_time_ns_ - socket.connect_started_ns()));
  events_.on_open(socket);
}

void worker::ended(client_socket& socket, client_socket::state before, const std::string& why) {
  forgot(before);
  switch (before) {
    case client_socket::state::closing:
      if (socket.close_code() == 0) note_problem(why);
      return events_.on_closed(socket);
    case client_socket::state::open:
      ++tally_.lost;
      note_problem(why);
      return events_.on_lost(socket);
    case client_socket::state::connecting:
    case client_socket::state::upgrading:
      ++tally_.refused;
      note_problem(why);
      return events_.on_refused(socket);
    case client_socket::state::closed:
      return;
  }
}

/// The counts of what is under way, without a connection that ended in this state.
void worker::forgot(client_socket::state before) noexcept {
  if (before == client_socket::state::closing) --closing_;
  if (before == client_socket::state::connecting || before == client_socket::state::upgrading) --handshaking_;
}

void worker::note_problem(const std::string& why) {
  if (tally_.first_problem.empty()) tally_.first_problem = why;
}

}  // namespace skein::bench
