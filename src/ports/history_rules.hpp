#pragma once

// What every store decides alike: how long something is kept, what a page holds, where a page of history
// begins.

#include <skein/error.hpp>
#include <skein/message_store.hpp>

#include <boost/system/system_error.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

namespace skein::detail {

/// The end of something that began at `start` and lasts for `length`; no end for zero or less.
[[nodiscard]] inline wall_time end_of(wall_time start, std::chrono::nanoseconds length) noexcept {
  if (length <= std::chrono::nanoseconds{0} || start > wall_time::max() - length) return wall_time::max();
  return start + length;
}

/// Whether something with this end is over. What has no end is never over.
[[nodiscard]] inline bool is_over(wall_time end, wall_time now) noexcept {
  return end <= now && end != wall_time::max();
}

/// What is over by now if each lasts for `age`: whatever began then or earlier.
[[nodiscard]] inline wall_time latest_over(wall_time now, std::chrono::nanoseconds age) noexcept {
  if (age <= std::chrono::nanoseconds{0} || now < wall_time::min() + age) return wall_time::min();
  return now - age;
}

/// Counts what goes into a page.
class page_room {
 public:
  explicit page_room(page_limits most) noexcept : most_(most) {}
  /// Whether one more message of this size fits; if so, it is counted.
  [[nodiscard]] bool take(std::size_t size) noexcept {
    if (messages_ == most_.max_messages) return false;
    if (messages_ != 0 && most_.max_bytes != 0 &&
        (size > most_.max_bytes || bytes_ > most_.max_bytes - size)) {
      return false;
    }
    ++messages_;
    bytes_ += size;
    return true;
  }

 private:
  page_limits most_;
  std::size_t messages_ = 0;
  std::size_t bytes_ = 0;
};

/// How far a topic has come: `first` is the oldest offset that is kept, `last + 1` if none is.
struct history_extent {
  std::string_view epoch;
  std::uint64_t first;
  std::uint64_t last;
};

struct history_start {
  std::uint64_t offset;  ///< of the first publication to return
  bool recovered;
};

[[nodiscard]] inline history_start start_after(const topic_position& since,
                                               const history_extent& of) noexcept {
  if (since.epoch != of.epoch || since.offset > of.last) return {of.first, false};
  if (since.offset + 1 < of.first) return {of.first, false};
  return {since.offset + 1, true};
}

inline constexpr std::string_view epoch_digits = "0123456789abcdefghijkmnpqrstuvwx";

/// 65 random bits, from which topics that are begun from now on have their epochs. Another one whenever a
/// topic is forgotten, so that it does not get the epoch again that it had.
[[nodiscard]] inline std::string new_epoch_seed() {
  std::random_device source;
  std::string seed(13, '0');
  for (char& digit : seed) digit = epoch_digits[source() % epoch_digits.size()];
  return seed;
}

/// The epoch with which this topic begins: known before it does, and another one for each topic.
[[nodiscard]] inline std::string epoch_of(const std::string& seed, std::string_view topic) {
  std::string from{seed};
  from += topic;
  std::uint64_t bits = std::hash<std::string>{}(from);
  std::string epoch(13, '0');
  for (char& digit : epoch) {
    digit = epoch_digits[bits % epoch_digits.size()];
    bits /= epoch_digits.size();
  }
  return epoch;
}

/// The first id of a store that is made now.
[[nodiscard]] inline stored_id first_id(wall_time now) noexcept {
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
  return since > 0 ? static_cast<stored_id>(since) : 1;
}

inline void require(bool allowed, const char* what) {
  if (!allowed) throw std::invalid_argument{what};
}

inline void check_owner(const std::string& name) {
  require(!name.empty(), "a topic or user has no name");
}

inline void check_append(const std::string& topic, const prepared_message& what) {
  check_owner(topic);
  require(static_cast<bool>(what), "there is no message to append");
}

/// Throws `errc::message_too_big`, too.
inline void check_keep(const std::string& user, const prepared_message& what, const offline_limits& limits) {
  check_owner(user);
  require(static_cast<bool>(what), "there is no message to keep");
  require(limits.max_messages > 0, "max_messages must be at least 1");
  if (limits.max_bytes != 0 && what.size() > limits.max_bytes) {
    throw boost::system::system_error{make_error_code(errc::message_too_big)};
  }
}

}  // namespace skein::detail
