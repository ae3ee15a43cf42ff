#pragma once

// Where time comes from. Everything in Skein that waits for a deadline asks a `clock`, so that tests can turn
// the hands themselves (`testing::virtual_clock`).

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <functional>
#include <memory>

namespace skein {

namespace asio = boost::asio;

using time_point = std::chrono::steady_clock::time_point;
using duration = std::chrono::steady_clock::duration;

/// One alarm at a time, rung on the executor it was made for. Used only on that executor.
class alarm {
 public:
  virtual ~alarm() = default;
  /// Calls the function given to `clock::make_alarm` once `when` has come; replaces an earlier setting.
  virtual void set(time_point when) = 0;
  /// The function is not called any more; a call already under way is not waited for.
  virtual void cancel() = 0;
};

/// Thread-safe.
class clock {
 public:
  virtual ~clock() = default;
  [[nodiscard]] virtual time_point now() const noexcept = 0;
  /// The time of day, for what carries a date, as tokens do. Unlike `now` it may be set back.
  [[nodiscard]] virtual std::chrono::system_clock::time_point wall() const noexcept {
    return std::chrono::system_clock::now();
  }
  [[nodiscard]] virtual std::unique_ptr<alarm> make_alarm(asio::any_io_executor executor,
                                                          std::function<void()> ring) = 0;
};

/// The steady clock of the machine.
[[nodiscard]] std::shared_ptr<clock> steady_clock();

}  // namespace skein
