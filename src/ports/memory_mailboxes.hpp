#pragma once

// Offline messages in memory. Plain state without a lock; the time is passed in.

#include <skein/message_store.hpp>

#include <cstddef>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace skein::detail {

class memory_mailboxes {
 public:
  /// The counters that this changes are `kept`, `acknowledged`, `expired`, `pushed_out`.
  memory_mailboxes(store_stats& counted, stored_id first) noexcept : counted_(counted), next_(first) {}
  memory_mailboxes(const memory_mailboxes&) = delete;
  memory_mailboxes& operator=(const memory_mailboxes&) = delete;

  /// The limits allow the message. `most`: the bytes that all mailboxes may take together.
  kept_message keep(std::string user, prepared_message what, const offline_limits& limits, std::size_t most,
                    wall_time now);
  [[nodiscard]] std::vector<stored_message> waiting(const std::string& user, stored_id after,
                                                    page_limits most, wall_time now);
  bool acknowledge(const std::string& user, stored_id id, wall_time now);

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  struct entry {
    prepared_message what;
    wall_time kept_at;
    wall_time end;
  };
  struct mailbox {
    std::map<stored_id, entry> entries;
    std::size_t payload_bytes = 0;
  };
  using mailboxes = std::unordered_map<std::string, mailbox>;

  /// Drops what has ended: all of this user, and of the others no more than a call can afford.
  void expire(const std::string& of, wall_time now);
  /// Drops up to `most` messages that have ended, the earliest first.
  void expire_some(std::size_t most, wall_time now);
  void expire_all(wall_time now) { expire_some(ends_.size(), now); }
  void erase(mailboxes::value_type& from, std::map<stored_id, entry>::iterator which);
  void drop_if_empty(mailboxes::value_type* which);
  [[nodiscard]] mailboxes::value_type* find(const std::string& user);

  mailboxes mailboxes_;
  std::map<std::pair<wall_time, stored_id>, mailboxes::value_type*> ends_;  // of messages that have one
  std::size_t bytes_ = 0;
  store_stats& counted_;
  stored_id next_;
};

}  // namespace skein::detail
