#pragma once

// Where time comes from. Everything in Skein that waits for a deadline asks a `clock`, so that tests can turn
// the hands themselves (`testing::virtual_clock`). What must outlast the process, such as when a stored
// message expires, is counted in wall time.

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <functional>
#include <memory>

namespace skein {

namespace asio = boost::asio;

using time_point = std::chrono::steady_clock::time_point;
using duration = std::chrono::steady_clock::duration;
/// The time of day, since 1970 in UTC. Somebody may set it back.
using wall_time = std::chrono::sys_time<std::chrono::nanoseconds>;

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
  /// The machine's, unless a clock knows better.
  [[nodiscard]] virtual wall_time wall_now() const noexcept;
  [[nodiscard]] virtual std::unique_ptr<alarm> make_alarm(asio::any_io_executor executor,
                                                          std::function<void()> ring) = 0;
};

/// The steady clock of the machine.
[[nodiscard]] std::shared_ptr<clock> steady_clock();

}  // namespace skein
