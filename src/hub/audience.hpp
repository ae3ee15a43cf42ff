#pragma once

// Whom a message is meant for, besides what its delivery options say.

#include <cstdint>
#include <memory>
#include <string>

namespace skein::detail {

struct audience {
  enum class kind : std::uint8_t { followers, user };
  kind what;
  std::string name;  ///< of the topic, or the user
};

/// Shared by the shards' parts of one message; empty: everybody.
using audience_ref = std::shared_ptr<const audience>;

}  // namespace skein::detail
