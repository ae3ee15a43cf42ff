#pragma once

// A connection that is being told what it missed of a topic, or what waits for its user, while more comes in.
//
// From the moment it is registered here, what is delivered to it as a follower of that topic, or as that
// user, is held back. Meanwhile somebody reads what was missed from a store, sends it, and notes in `last`
// how far that reached. `shard::go_live` then sends what was held and is newer, and lets everything through
// from then on. What the store had told already may still be on its way to the shard: it is kept back until
// the first newer one shows that nothing older can come.

#include "hub/audience.hpp"
#include "wire/frame_block.hpp"

#include <skein/delivery.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace skein::detail {

class broadcast_part;

struct catch_up {
  struct held {
    frame_ref what;
    overflow policy;
    std::shared_ptr<const std::string> key;
    broadcast_part* part;  // told what becomes of it, if anybody
    std::uint64_t number;
    std::string epoch;
  };

  audience::kind what;
  std::string name;
  std::string epoch{};      ///< of `last`
  std::uint64_t last = 0;   ///< everything up to this number has been sent, or is not wanted
  bool live = false;        ///< nothing is held any more
  bool overflowed = false;  ///< more came than may be held: it has been let go, and must be read again
  bool withdrawn = false;   ///< nobody wants it any more: whoever sends what was missed stops
  std::vector<held> waiting{};
  std::size_t bytes = 0;  ///< of payload in `waiting`

  /// Whether a numbered message is among what has been sent already.
  [[nodiscard]] bool has_seen(std::uint64_t number, const std::string& in) const noexcept {
    return number != 0 && number <= last && in == epoch;
  }
};

}  // namespace skein::detail
