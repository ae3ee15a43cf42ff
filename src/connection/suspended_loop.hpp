#pragma once

// A loop (loop.hpp) that waits, as whoever will resume it holds it.

#include <coroutine>
#include <utility>

namespace skein::detail {

/// Destroys the loop if it is never resumed.
class suspended_loop {
 public:
  suspended_loop() noexcept = default;
  explicit suspended_loop(std::coroutine_handle<> frame) noexcept : frame_(frame) {}
  suspended_loop(suspended_loop&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  suspended_loop& operator=(suspended_loop&& other) noexcept {
    if (this != &other) {
      if (const auto old = std::exchange(frame_, std::exchange(other.frame_, nullptr))) old.destroy();
    }
    return *this;
  }
  ~suspended_loop() {
    if (frame_) frame_.destroy();
  }

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(frame_); }
  void resume() { std::exchange(frame_, nullptr).resume(); }

 private:
  std::coroutine_handle<> frame_;
};

/// A loop that waits for a transport, and where it finds out what the wait came to.
class ready_handler {
 public:
  ready_handler() noexcept = default;
  ready_handler(std::coroutine_handle<> frame, bool* ready) noexcept : waiter_(frame), ready_(ready) {}

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(waiter_); }
  void operator()(bool ready) {
    *ready_ = ready;
    waiter_.resume();
  }

 private:
  suspended_loop waiter_;
  bool* ready_ = nullptr;
};

}  // namespace skein::detail
