#pragma once

// The coroutine type of a connection's read and write loops. They wait only for the connection's transport
// and for a wake-up, so they need none of what `asio::awaitable` carries along: a frame of a hundred bytes,
// resumed within the call that has what it waits for.

#include "connection/transport.hpp"
#include "connection/wake_slot.hpp"

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

/// A suspended loop, as a function that resumes it. Destroys the loop if it is never called.
class suspended_loop {
 public:
  /// `result` takes what the wait came to.
  explicit suspended_loop(std::coroutine_handle<> frame, error_code* result = nullptr) noexcept
      : frame_(frame), result_(result) {}
  suspended_loop(suspended_loop&& other) noexcept
      : frame_(std::exchange(other.frame_, nullptr)), result_(other.result_) {}
  suspended_loop& operator=(suspended_loop&&) = delete;
  ~suspended_loop() {
    if (frame_) frame_.destroy();
  }
  void operator()() { std::exchange(frame_, nullptr).resume(); }
  void operator()(wait_result how) {
    *result_ = how.ec;
    (*this)();
  }

 private:
  std::coroutine_handle<> frame_;
  error_code* result_;
};

/// `co_await` in a loop: until the transport is ready, or closed; gives the error if there is one.
template <void (transport::*Wait)(transport::ready_handler)>
class transport_wait {
 public:
  explicit transport_wait(transport& what) noexcept : where_(what) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> frame) {
    (where_.*Wait)(transport::ready_handler{suspended_loop{frame, &result_}});
  }
  [[nodiscard]] error_code await_resume() const noexcept { return result_; }

 private:
  transport& where_;
  error_code result_{};
};
using readable = transport_wait<&transport::wait_readable>;
using writable = transport_wait<&transport::wait_writable>;

/// `co_await` in a loop: until the slot's next `wake`.
struct woken {
  explicit woken(wake_slot& what) noexcept : slot(what) {}
  wake_slot& slot;
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> frame) const {
    slot.keep(resumption<void()>{suspended_loop{frame}});
  }
  void await_resume() const noexcept {}
};

}  // namespace skein::detail
