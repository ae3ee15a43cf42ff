#pragma once

// The history of topics in a database. Every function that changes something runs in the caller's transaction
// and throws `failure`.

#include "ports/sqlite/connection.hpp"

#include <skein/message_store.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace skein::detail::sqlite {

/// Times as they stand in the database.
[[nodiscard]] inline std::int64_t to_column(wall_time at) noexcept {
  return at.time_since_epoch().count();
}
[[nodiscard]] inline wall_time to_time(std::int64_t column) noexcept {
  return wall_time{std::chrono::nanoseconds{column}};
}
[[nodiscard]] message to_message(const statement::use& row, int opcode_column, int payload_column);

class history {
 public:
  explicit history(connection& in);

  topic_position append(const std::string& name, const prepared_message& what, const history_limits& limits,
                        wall_time now, store_stats& counted);
  // A topic that is not there is not made: it is as it would begin.
  [[nodiscard]] history_page read(const std::string& name, const topic_position& since, page_limits most,
                                  wall_time now);
  [[nodiscard]] topic_position position(const std::string& name);
  bool forget(const std::string& name, store_stats& counted);

  /// What is to be swept next, and how much one slice may take.
  struct sweep {
    std::int64_t after_topic = 0;
    std::size_t max_topics;
    std::size_t max_rows;
  };
  /// Removes what forgotten topics left behind. Completes with whether nothing is left.
  bool sweep_forgotten(sweep& progress);
  /// Trims topics by age and forgets those that were idle for `idle` (zero or less: none). Completes with
  /// whether the last topic has been visited.
  bool sweep_topics(sweep& progress, std::chrono::nanoseconds idle, wall_time now, store_stats& counted);

 private:
  struct topic {
    std::int64_t id = 0;
    std::string epoch;
    std::uint64_t first = 1;
    std::uint64_t last = 0;
    std::uint64_t bytes = 0;  // of payload, from `first` to `last`
    std::chrono::nanoseconds max_age{0};
    wall_time last_at = wall_time::min();
  };

  [[nodiscard]] static topic to_topic(const statement::use& row);
  [[nodiscard]] std::optional<topic> find(const std::string& name);
  topic find_or_make(const std::string& name, wall_time now);
  /// `over`: what was published then or earlier goes, whatever the limits' age.
  void trim(topic& of, const history_limits& limits, wall_time over, store_stats& counted);
  void save(const topic& which);
  void remove(std::int64_t id, store_stats& counted);
  /// Of a topic that is not there.
  [[nodiscard]] std::string next_epoch(const std::string& name);

  statement find_, make_, save_, insert_, oldest_, visible_, page_, delete_, delete_some_, forget_,
      note_forgotten_, next_forgotten_, done_forgotten_, epoch_seed_, renew_seed_, next_topics_;
};

}  // namespace skein::detail::sqlite
