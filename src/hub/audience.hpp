#pragma once

// Whom a message is meant for, besides what its delivery options say.

#include <skein/message.hpp>
#include <skein/topics.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace skein::detail {

struct audience {
  enum class kind : std::uint8_t { followers, user };
  kind what;
  std::string name;              ///< of the topic, or the user
  prepared_message enveloped{};  ///< for those who speak the JSON protocol; empty: the message itself
  std::string epoch{};           ///< of `number`, if it is an offset
  std::uint64_t number = 0;      ///< offset in the topic's history, or id of a stored message; 0: none
  std::shared_ptr<const topic_filter> filter{};  ///< who among the followers may have it; empty: all
};

/// Shared by the shards' parts of one message; empty: everybody.
using audience_ref = std::shared_ptr<const audience>;

}  // namespace skein::detail
