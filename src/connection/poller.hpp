#pragma once

// Waits for the sockets of one shard with an epoll descriptor of its own, which the executor's context
// watches in turn. A connection that waits costs nothing but its entry in the kernel's table: no operation is
// allocated, and none is started again for each message.

#include "connection/resumption.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

struct epoll_event;

namespace skein::detail {

/// Whom a poller tells what has become ready.
class poller_client {
 public:
  /// `readable` and `writable` are both set when the socket has failed. May do anything to the poller.
  virtual void on_ready(bool readable, bool writable, bool failed) = 0;
  /// The socket, if it may be read from before `on_ready` tells that it is readable, which then asks for what
  /// came by `take_arrived`; otherwise -1.
  [[nodiscard]] virtual int reads_ahead() const noexcept { return -1; }

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

  /// What was read for a client before it was told that there is something to read.
  struct arrival {
    std::span<char> bytes;
    error_code ec;
  };
  /// At most so much of each.
  static constexpr std::size_t max_ahead = 1024;
  /// Within this client's `on_ready`, and once. The bytes stand there until that returns; whoever does not
  /// ask loses them.
  [[nodiscard]] std::optional<arrival> take_arrived(const poller_client& who) noexcept {
    if (told_ != &who) return std::nullopt;
    return std::exchange(arrived_, std::nullopt);
  }

 private:
  // What is read ahead in a row, before the first of them is told: the kernel's way through a socket and ours
  // through a message then do not take turns in driving each other out of the processor's caches.
  static constexpr std::size_t clients_ahead = 128;
  static constexpr std::size_t bytes_ahead = std::size_t{32} * 1024;

  /// Reads ahead for the first of `found_`; returns how many were asked.
  [[nodiscard]] std::size_t read_ahead() noexcept;

  asio::any_io_executor executor_;
  asio::posix::stream_descriptor watched_;
  std::span<epoll_event> found_{};  // being reported
  std::vector<char> ahead_buffer_;
  std::array<std::optional<arrival>, clients_ahead> ahead_;  // for the first of `found_`
  const poller_client* told_ = nullptr;                      // who is being told, and what there is for him
  std::optional<arrival> arrived_;
};

}  // namespace skein::detail
