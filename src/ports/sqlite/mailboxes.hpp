#pragma once

// Offline messages in a database. Every function that changes something runs in the caller's transaction and
// throws `failure`.

#include "ports/sqlite/connection.hpp"

#include <skein/message_store.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace skein::detail::sqlite {

class mailboxes {
 public:
  explicit mailboxes(connection& in);

  /// The limits allow the message.
  kept_message keep(const std::string& user, const prepared_message& what, const offline_limits& limits,
                    wall_time now, store_stats& counted);
  [[nodiscard]] std::vector<stored_message> waiting(const std::string& user, stored_id after,
                                                    page_limits most, wall_time now);
  bool acknowledge(const std::string& user, stored_id id, wall_time now, store_stats& counted);

  /// Removes what has expired from up to `most` mailboxes. Completes with whether none is left that has any.
  bool sweep(std::size_t most, wall_time now, store_stats& counted);

 private:
  struct mailbox {
    std::int64_t id = 0;
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    wall_time next_end = wall_time::max();  // not later than the end of any of its messages
  };

  [[nodiscard]] static mailbox to_mailbox(const statement::use& row);
  [[nodiscard]] std::optional<mailbox> find(const std::string& user);
  void expire(mailbox& of, wall_time now, store_stats& counted);
  std::size_t make_room(mailbox& in, std::uint64_t size, const offline_limits& limits);
  stored_id next_id();
  /// Removes the mailbox if it is empty.
  void save(const mailbox& which);

  statement find_, make_, save_, remove_, ended_, insert_, oldest_, page_, one_, delete_one_, delete_oldest_,
      count_ended_, delete_ended_, next_end_, next_id_;
};

}  // namespace skein::detail::sqlite
