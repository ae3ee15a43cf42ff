#pragma once

// Where a client's coroutines wait.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace skein::detail {

namespace asio = boost::asio;

/// Something that happens again and again. Whoever waits belongs to the executor's context and is destroyed
/// with it: a client's executor is its user's, who may end it at any moment.
class happening {
 public:
  explicit happening(const asio::any_io_executor& executor)
      : timer_(executor, asio::steady_timer::time_point::max()) {}

  /// All who wait go on, and not within this call.
  void notify() { timer_.cancel(); }

  /// Completes at the next `notify`; throws `operation_aborted` if the waiting coroutine is cancelled.
  asio::awaitable<void> wait() {
    co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none)
      throw boost::system::system_error{asio::error::operation_aborted};
  }

 private:
  asio::steady_timer timer_;
};

}  // namespace skein::detail
