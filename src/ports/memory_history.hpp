#pragma once

// The history of topics in memory. Plain state without a lock; the time is passed in.

#include <skein/message_store.hpp>

#include <boost/circular_buffer.hpp>

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

namespace skein::detail {

/// What a message, and a topic or user, count beside their payload or name.
inline constexpr std::size_t message_overhead = 128;
inline constexpr std::size_t owner_overhead = 512;

class memory_history {
 public:
  /// The counters that this changes are `appends`, `trimmed`, `shed`, `forgotten`.
  explicit memory_history(store_stats& counted) noexcept : counted_(counted) {}
  memory_history(const memory_history&) = delete;
  memory_history& operator=(const memory_history&) = delete;

  topic_position append(std::string name, prepared_message what, const history_limits& limits, wall_time now);
  [[nodiscard]] history_page read(const std::string& name, const topic_position& since, page_limits most,
                                  wall_time now);
  [[nodiscard]] topic_position position(const std::string& name);
  bool forget(const std::string& name);

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// Drops the least recently used topics, the history first, until no more than `most` bytes are taken.
  void shed_to(std::size_t most);

 private:
  struct entry {
    prepared_message what;
    wall_time published_at;
  };
  struct topic {
    std::string name;
    std::string epoch;
    std::uint64_t last = 0;
    wall_time last_at = wall_time::min();
    std::chrono::nanoseconds max_age{0};
    std::size_t payload_bytes = 0;
    boost::circular_buffer<entry> entries;  // the last of them has offset `last`

    [[nodiscard]] std::uint64_t first() const noexcept { return last + 1 - entries.size(); }
  };
  using topics = std::list<topic>;

  /// Which is then the most recently used.
  [[nodiscard]] topic* find(const std::string& name);
  topic& use(std::string name);
  /// Of a topic that is not there: nothing is kept for one that somebody only asks about, and it begins all
  /// the same where it was said that it would.
  [[nodiscard]] std::string next_epoch(const std::string& name);
  void drop_oldest(topic& from);
  void drop_all(topic& from);
  void trim_age(topic& of, wall_time now);
  void remove(topics::iterator which);

  topics topics_;  // the most recently used first
  std::unordered_map<std::string_view, topics::iterator> by_name_;
  std::size_t bytes_ = 0;
  std::string epoch_seed_;  // made when it is needed
  store_stats& counted_;
};

}  // namespace skein::detail
