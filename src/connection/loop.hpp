#pragma once

// The coroutine type of a connection's read and write loops. They wait only for the connection's transport
// and for a wake-up, so they need none of what `asio::awaitable` carries along: a frame of a hundred bytes,
// resumed within the call that has what it waits for.

#include "connection/suspended_loop.hpp"
#include "connection/transport.hpp"

#include <coroutine>
#include <exception>
#include <utility>

namespace skein::detail {

/// Runs when it is called, up to its first wait, and belongs to nobody: it is destroyed at its end, or with
/// what it waits for. An exception must not leave it.
struct loop {
  struct promise_type {
    [[nodiscard]] loop get_return_object() const noexcept { return {}; }
    [[nodiscard]] std::suspend_never initial_suspend() const noexcept { return {}; }
    [[nodiscard]] std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

/// `co_await` in a loop: until the transport is writable (true) or closed (false).
class writable {
 public:
  explicit writable(transport& what) noexcept : where_(what) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> frame) {
    where_.wait_writable(transport::ready_handler{frame, &ready_});
  }
  [[nodiscard]] bool await_resume() const noexcept { return ready_; }

 private:
  transport& where_;
  bool ready_ = false;
};

/// Where a loop waits to be woken.
class loop_slot {
 public:
  void keep(std::coroutine_handle<> frame) noexcept { waiter_ = suspended_loop{frame}; }
  /// The loop goes on within this call.
  void wake() {
    if (auto waiter = std::move(waiter_)) waiter.resume();
  }
  /// Destroys the loop that waits here.
  void abandon() noexcept { waiter_ = {}; }

 private:
  suspended_loop waiter_;
};

}  // namespace skein::detail
