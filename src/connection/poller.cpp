#include "connection/poller.hpp"

#include "connection/transport.hpp"

#include <boost/system/system_error.hpp>

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>

namespace skein::detail {
namespace {

// Between two batches everything else that is ready has its turn.
constexpr int batch = 256;

int make_descriptor() {
  const int made = ::epoll_create1(EPOLL_CLOEXEC);
  if (made < 0) throw boost::system::system_error{errno, boost::system::system_category(), "epoll_create1"};
  return made;
}

epoll_event interest(poller_client& who, bool reading, bool writing) noexcept {
  epoll_event event{};
  event.events = (reading ? std::uint32_t{EPOLLIN} : 0U) | (writing ? std::uint32_t{EPOLLOUT} : 0U);
  event.data.ptr = &who;
  return event;
}

poller_client* client_of(const epoll_event& event) noexcept {
  return static_cast<poller_client*>(event.data.ptr);
}
bool has_failed(const epoll_event& event) noexcept {
  return (event.events & (EPOLLERR | EPOLLHUP)) != 0;
}
bool is_readable(const epoll_event& event) noexcept {
  return has_failed(event) || (event.events & EPOLLIN) != 0;
}

}  // namespace

poller::poller(const asio::any_io_executor& executor)
    : executor_(executor), watched_(executor, make_descriptor()), ahead_buffer_(bytes_ahead) {}

poller::~poller() = default;

void poller::add(int descriptor, poller_client& who, bool reading, bool writing, error_code& ec) noexcept {
  auto event = interest(who, reading, writing);
  const int result = ::epoll_ctl(watched_.native_handle(), EPOLL_CTL_ADD, descriptor, &event);
  ec = result == 0 ? error_code{} : error_code{errno, boost::system::system_category()};
}

void poller::change(int descriptor, poller_client& who, bool reading, bool writing) noexcept {
  auto event = interest(who, reading, writing);
  ::epoll_ctl(watched_.native_handle(), EPOLL_CTL_MOD, descriptor, &event);
}

void poller::remove(int descriptor, const poller_client& who) noexcept {
  epoll_event unused{};
  ::epoll_ctl(watched_.native_handle(), EPOLL_CTL_DEL, descriptor, &unused);
  for (auto& event : found_) {
    if (event.data.ptr == &who) event.data.ptr = nullptr;
  }
  if (told_ == &who) told_ = nullptr;
}

std::size_t poller::read_ahead() noexcept {
  const auto most = std::min(found_.size(), clients_ahead);
  auto room = std::span{ahead_buffer_};
  std::size_t count = 0;
  for (; count < most && room.size() >= max_ahead; ++count) {
    auto& arrived = ahead_[count];
    arrived.reset();
    const auto& event = found_[count];
    const int from = event.data.ptr && is_readable(event) ? client_of(event)->reads_ahead() : -1;
    if (from < 0) continue;
    arrived.emplace();
    arrived->bytes = room.first(receive_some(from, room.first(max_ahead), arrived->ec));
    room = room.subspan(arrived->bytes.size());
  }
  return count;
}

void poller::dispatch() {
  std::array<epoll_event, batch> events;
  const int count = ::epoll_wait(watched_.native_handle(), events.data(), batch, 0);
  if (count <= 0) return;
  found_ = std::span{events}.first(static_cast<std::size_t>(count));
  std::exception_ptr first;
  while (!found_.empty()) {
    const auto asked = read_ahead();
    for (std::size_t i = 0; i < asked; ++i) {
      const auto event = found_.front();
      found_ = found_.subspan(1);
      if (!event.data.ptr) continue;
      told_ = client_of(event);
      arrived_ = ahead_[i];
      try {
        client_of(event)->on_ready(is_readable(event), has_failed(event) || (event.events & EPOLLOUT) != 0,
                                   has_failed(event));
      } catch (...) {  // what was read for the others must still reach them
        if (!first) first = std::current_exception();
      }
      told_ = nullptr;
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace skein::detail
