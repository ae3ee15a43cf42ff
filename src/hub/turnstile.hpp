#pragma once

// Lets those who were first in line for a name go on first: what is numbered by a store, one after another,
// is delivered in that order however long each takes.

#include "connection/host.hpp"
#include "connection/wake_slot.hpp"

#include <boost/asio/awaitable.hpp>

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

namespace skein::detail {

/// Used on one host's executor. It outlives its places.
class turnstile {
  using line = std::deque<std::shared_ptr<wake_slot>>;

 public:
  /// A place in the line of a name. Leaving lets the next one go on, later, not within the call.
  class place {
   public:
    place(turnstile& in, host& where, std::string name)
        : in_(in), host_(where), name_(std::move(name)), me_(std::make_shared<wake_slot>()) {
      in_.lines_[name_].push_back(me_);
    }
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    ~place() { leave(); }

    /// Completes when everybody who was here before has left. Cannot be cancelled.
    asio::awaitable<void> turn() {
      while (in_.lines_.find(name_)->second.front() != me_) static_cast<void>(co_await me_->wait());
    }

    void leave() noexcept {
      if (!me_) return;
      const auto found = in_.lines_.find(name_);
      auto& all = found->second;
      const bool first = all.front() == me_;
      std::erase(all, me_);
      me_.reset();
      if (all.empty()) {
        in_.lines_.erase(found);
      } else if (first) {
        host_.post([next = all.front()] { next->wake(); });
      }
    }

   private:
    turnstile& in_;
    host& host_;
    std::string name_;
    std::shared_ptr<wake_slot> me_;
  };

 private:
  std::unordered_map<std::string, line> lines_;
};

}  // namespace skein::detail
