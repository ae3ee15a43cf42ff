#pragma once

// Where one coroutine waits for something on its connection's executor.

#include "connection/resumption.hpp"

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_type.hpp>

#include <utility>

namespace skein::detail {

/// One waiter at a time. `wake` resumes it within the call, so it is called where the waiter may run, and
/// last.
class wake_slot {
 public:
  /// `co_await slot.wait()` completes with false at the next `wake`, or with true when the waiting coroutine
  /// is cancelled.
  auto wait() noexcept {
    return suspend<void(bool)>([this](auto handler) {
      auto slot = asio::get_associated_cancellation_slot(handler);
      waiter_ = resumption<void(bool)>{std::move(handler)};
      if (slot.is_connected()) {
        slot.assign([this](asio::cancellation_type) { resume(true); });
      }
    });
  }

  [[nodiscard]] bool waiting() const noexcept { return static_cast<bool>(waiter_); }

  void wake() { resume(false); }

  /// Destroys the waiting coroutine.
  void abandon() noexcept { waiter_.reset(); }

 private:
  void resume(bool cancelled) {
    if (!waiter_) return;
    auto waiter = std::move(waiter_);
    waiter(cancelled);
  }

  resumption<void(bool)> waiter_;
};

}  // namespace skein::detail
