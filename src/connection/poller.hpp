#pragma once

// Waits for the sockets of one shard with an epoll descriptor of its own, which the executor's context
// watches in turn. A connection that waits costs nothing but its entry in the kernel's table: no operation is
// allocated, and none is started again for each message.

#include "connection/resumption.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

struct epoll_event;

namespace skein::detail {

/// Whom a poller tells what has become ready.
class poller_client {
 public:
  /// `readable` and `writable` are both set when the socket has failed. May do anything to the poller.
  virtual void on_ready(bool readable, bool writable, bool failed) = 0;

 protected:
  ~poller_client() = default;
};

/// Used on its executor only. Level-triggered: what is ready is reported again until it is not, or no longer
/// asked for.
class poller {
 public:
  /// Throws `boost::system::system_error` if the system has no descriptor left.
  explicit poller(const asio::any_io_executor& executor);
  poller(const poller&) = delete;
  poller& operator=(const poller&) = delete;
  ~poller();

  [[nodiscard]] const asio::any_io_executor& executor() const noexcept { return executor_; }

  /// Begins to report about a descriptor, which must not be watched yet.
  void add(int descriptor, poller_client& who, bool reading, bool writing, error_code& ec) noexcept;
  /// Changes what is asked for. A failure of the socket is always reported.
  void change(int descriptor, poller_client& who, bool reading, bool writing) noexcept;
  /// Nothing is reported any more, nor what has already been found.
  void remove(int descriptor, const poller_client& who) noexcept;

  /// Calls `ready` on the executor when there is something to `dispatch`. Once, until called again.
  template <class Ready>
  void wait(Ready&& ready) {
    watched_.async_wait(asio::posix::stream_descriptor::wait_read, std::forward<Ready>(ready));
  }
  /// Reports what is ready, at most a batch: what comes behind it is found by the next `wait`.
  void dispatch();

 private:
  asio::any_io_executor executor_;
  asio::posix::stream_descriptor watched_;
  std::span<epoll_event> found_{};  // being reported
};

}  // namespace skein::detail
