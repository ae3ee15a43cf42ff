#pragma once

// What those have in common who tell a connection what a store has for it.

#include "hub/shard.hpp"

#include <skein/message_store.hpp>

#include <memory>
#include <string>
#include <utility>

namespace skein::detail {

/// What is read from a store and sent before the next is read.
inline const page_limits replay_page{256, 256 * 1024};

/// What is delivered meanwhile is held back, and let through at last, whatever happens.
class held_back {
 public:
  held_back(shard& where, connection_impl& who, audience::kind what, std::string name)
      : shard_(where), who_(who), state_(where.begin_catch_up(who, what, std::move(name))) {}
  held_back(const held_back&) = delete;
  held_back& operator=(const held_back&) = delete;
  ~held_back() { shard_.go_live(who_, state_); }
  [[nodiscard]] catch_up& state() const noexcept { return *state_; }
  [[nodiscard]] const std::shared_ptr<catch_up>& shared() const noexcept { return state_; }

 private:
  shard& shard_;
  connection_impl& who_;
  std::shared_ptr<catch_up> state_;
};

}  // namespace skein::detail
