#pragma once

// Where one coroutine waits for something on its connection's executor.

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <optional>
#include <utility>

namespace skein::detail {

namespace asio = boost::asio;

/// One waiter at a time. `wake` resumes it within the call, so it is called where the waiter may run, and
/// last.
class wake_slot {
 public:
  using handler_type = asio::any_completion_handler<void()>;

  /// Completes at the next `wake`, or when the waiting coroutine is cancelled.
  auto wait() {
    return asio::async_initiate<const asio::use_awaitable_t<>, void()>(
        [this](auto handler) {
          auto slot = asio::get_associated_cancellation_slot(handler);
          waiter_.emplace(std::move(handler));
          if (slot.is_connected()) {
            slot.assign([this](asio::cancellation_type) { wake(); });
          }
        },
        asio::use_awaitable);
  }

  [[nodiscard]] bool waiting() const noexcept { return waiter_.has_value(); }

  void wake() {
    if (!waiter_) return;
    auto handler = std::move(*waiter_);
    waiter_.reset();
    std::move(handler)();
  }

 private:
  // Constructed in place: assigning an any_completion_handler recurses without end in Boost 1.81.
  std::optional<handler_type> waiter_;
};

}  // namespace skein::detail
