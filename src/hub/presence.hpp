#pragma once

// Who is on a topic, and telling its subscribers who comes and goes.
//
// A topic has an owner among the shards. Every shard tells the owner of joins and leaves; the owner gathers
// them for an interval and publishes what is left: who came and went within it is not mentioned.

#include "connection/deadline_queue.hpp"

#include <skein/topics.hpp>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace skein::detail {

class connection_impl;
class shard;

/// What the presence of all topics of one manager shares. Immutable.
struct presence_board {
  std::vector<std::shared_ptr<shard>> shards;
  std::size_t most_members;
  duration interval;
};

/// One shard's part. Used on its executor.
class presence_desk {
 public:
  explicit presence_desk(shard& of);
  presence_desk(const presence_desk&) = delete;
  presence_desk& operator=(const presence_desk&) = delete;
  ~presence_desk();

  // As the shard on which a connection lives.

  void join(const std::shared_ptr<const presence_board>& board, connection_impl& who, std::string topic,
            std::string info);
  void leave(connection_impl& who, std::string_view topic);
  void leave_all(connection_impl& who) noexcept;
  /// What this connection follows by this topic or pattern does not tell it who joins and leaves, until it
  /// leaves that itself.
  void hide_from(const connection_impl& who, std::string pattern);
  /// Whether anything that the connection follows tells it who joins and leaves this topic.
  [[nodiscard]] bool may_see(const connection_impl& who, std::string_view topic) const;
  /// Nobody is on any topic, and nobody is told: the topics have gone.
  void clear() noexcept;
  /// What the subscription was given; empty if there is none.
  [[nodiscard]] std::string_view info_of(const connection_impl& who, std::string_view topic) const noexcept;

  // As the owner of a topic.

  void changed(const std::shared_ptr<const presence_board>& board, const std::string& topic,
               presence_member who, bool joined);

 private:
  struct membership {
    std::string topic;
    std::string info;
    std::weak_ptr<const presence_board> board;
  };
  class gathering;

  void tell(const membership& about, const connection_impl& who, bool joined);
  void publish(gathering& what);

  shard& shard_;
  std::unordered_map<const connection_impl*, std::vector<membership>> members_;
  std::unordered_map<const connection_impl*, std::set<std::string, std::less<>>> hidden_;
  std::unordered_map<std::string, std::unique_ptr<gathering>> gatherings_;
};

/// `{"connection":"1","user":"alice","info":…}`
void append_member(std::string& to, const presence_member& who);

}  // namespace skein::detail
