#include "connection/poller.hpp"

#include <boost/system/system_error.hpp>

#include <sys/epoll.h>

#include <array>
#include <cerrno>

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

}  // namespace

poller::poller(const asio::any_io_executor& executor)
    : executor_(executor), watched_(executor, make_descriptor()) {}

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
}

void poller::dispatch() {
  std::array<epoll_event, batch> events;
  const int count = ::epoll_wait(watched_.native_handle(), events.data(), batch, 0);
  if (count <= 0) return;
  // What is left of it when somebody throws is reported again.
  struct forget {
    std::span<epoll_event>& what;
    ~forget() { what = {}; }
  } const at_the_end{found_};
  found_ = std::span{events}.first(static_cast<std::size_t>(count));
  while (!found_.empty()) {
    const auto event = found_.front();
    found_ = found_.subspan(1);
    if (!event.data.ptr) continue;
    const bool failed = (event.events & (EPOLLERR | EPOLLHUP)) != 0;
    static_cast<poller_client*>(event.data.ptr)
        ->on_ready(failed || (event.events & EPOLLIN) != 0, failed || (event.events & EPOLLOUT) != 0, failed);
  }
}

}  // namespace skein::detail
