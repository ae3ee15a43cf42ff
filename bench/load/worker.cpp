#include "worker.hpp"

#include "clock.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <system_error>
#include <utility>

namespace skein::bench {
namespace {

constexpr std::size_t read_buffer_bytes = 256U * 1024;
constexpr std::int64_t handshake_patience_ns = 10'000'000'000;
constexpr std::int64_t close_patience_ns = 2'000'000'000;

}  // namespace

worker::worker(handshake_settings settings, socket_events& events)
    : settings_(std::move(settings)),
      events_(events),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      buffer_(read_buffer_bytes) {
  if (epoll_ < 0) throw std::system_error{errno, std::system_category(), "epoll_create1"};
}

worker::~worker() {
  sockets_.clear();
  ::close(epoll_);
}

void worker::open(std::uint32_t count, std::uint32_t at_once) {
  const auto first = sockets_.size();
  const auto wanted = first + count;
  auto deadline_ns = tick() + handshake_patience_ns;
  auto finished = tally_.opened + tally_.refused;
  while (sockets_.size() < wanted || handshaking_ != 0) {
    while (sockets_.size() < wanted && handshaking_ < at_once) {
      sockets_.push_back(std::make_unique<client_socket>(*this, static_cast<std::uint32_t>(sockets_.size())));
      ++handshaking_;
      sockets_.back()->connect();
    }
    poll(std::chrono::milliseconds{10});
    if (const auto now = tally_.opened + tally_.refused; now != finished) {
      finished = now;
      deadline_ns = tick() + handshake_patience_ns;
    } else if (tick() > deadline_ns) {
      for (std::size_t i = first; i < sockets_.size(); ++i)
        if (!sockets_[i]->is_open()) sockets_[i]->abandon("no handshake has ended for 10 s");
      if (sockets_.size() < wanted) tally_.refused += wanted - sockets_.size();
      return;
    }
    // A server that refuses everything need not be asked thousands of times.
    if (tally_.opened == 0 && tally_.refused >= at_once) {
      tally_.refused += wanted - sockets_.size();
      return;
    }
  }
}

void worker::poll(std::chrono::milliseconds longest) {
  std::array<epoll_event, 512> ready;
  const int count =
      ::epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()), static_cast<int>(longest.count()));
  if (count < 0 && errno != EINTR) throw std::system_error{errno, std::system_category(), "epoll_wait"};
  for (int i = 0; i < count; ++i) {
    const auto& event = ready[static_cast<std::size_t>(i)];
    static_cast<client_socket*>(event.data.ptr)->on_events(event.events);
    flush();
  }
}

void worker::flush() {
  for (std::size_t i = 0; i < to_flush_.size(); ++i) to_flush_[i]->flush();
  to_flush_.clear();
}

void worker::close_all() {
  for (auto& socket : sockets_) {
    if (!socket->is_open()) continue;
    ++closing_;
    socket->close();
    flush();
  }
  poll_until(tick() + close_patience_ns, [this] { return closing_ == 0; });
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

std::int64_t worker::cpu_ns() noexcept {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return std::int64_t{used.tv_sec} * 1'000'000'000 + used.tv_nsec;
}

void worker::opened(client_socket& socket) {
  --handshaking_;
  ++tally_.opened;
  tally_.handshake_ns.record(static_cast<std::uint64_t>(read_time_ns_ - socket.connect_started_ns()));
  events_.on_open(socket);
}

void worker::ended(client_socket& socket, client_socket::state before, const std::string& why) {
  switch (before) {
    case client_socket::state::closing:
      --closing_;
      return;
    case client_socket::state::open:
      ++tally_.lost;
      if (tally_.first_problem.empty()) tally_.first_problem = why;
      return events_.on_lost(socket);
    default:
      --handshaking_;
      ++tally_.refused;
      if (tally_.first_problem.empty()) tally_.first_problem = why;
  }
}

}  // namespace skein::bench
