#pragma once

// Who was not let in, for whoever keeps a log of it.

#include <skein/inbound.hpp>

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace skein::detail {

/// Thread-safe.
class refusal_log {
 public:
  /// `to` may be empty: then nothing is told.
  explicit refusal_log(std::function<void(std::string_view)> to) : to_(std::move(to)) {}

  /// So many lines a second, however many knock; then one that says how many were not told.
  static constexpr rate pace{10};

  /// `where` and `why` are what the server has found, or cut to a length by the caller.
  void tell(std::string_view who, std::string_view where, std::string_view answer, std::string_view why,
            time_point now) {
    if (!to_) return;
    std::uint64_t untold = 0;
    {
      const std::lock_guard lock{mutex_};
      if (!bucket_.take(pace, 1, now)) {
        ++untold_;
        return;
      }
      untold = std::exchange(untold_, 0);
    }
    std::string line{"refused "};
    line.append(who).append(" at ").append(where).append(" with ").append(answer).append(": ").append(why);
    if (untold != 0) line += "; " + std::to_string(untold) + " refusals before it were not logged";
    to_(line);
  }

 private:
  const std::function<void(std::string_view)> to_;
  std::mutex mutex_;
  token_bucket bucket_;
  std::uint64_t untold_ = 0;
};

}  // namespace skein::detail
