#pragma once

// How a coroutine that waits for another thread goes on where it was.
//
// The other thread must neither lose the coroutine nor touch its execution context once that has ended. So
// each context has a service that knows who of it is away; when the context ends, it lets go of them itself,
// while everything that they refer to is still there.

#include "connection/resumption.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/query.hpp>

#include <list>
#include <memory>
#include <mutex>
#include <utility>

namespace skein::detail {

/// The way back of one suspended coroutine, taken at most once. Move-only. `take` is legal from any thread,
/// but not together with another call.
class way_back {
 public:
  way_back() noexcept = default;
  /// `executor` is the coroutine's own.
  way_back(const asio::any_io_executor& executor, resumption<void()> waiter);
  way_back(way_back&&) noexcept = default;
  way_back& operator=(way_back&&) noexcept = default;

  /// Posts the coroutine to its executor; does nothing if that has ended.
  void take();

 private:
  struct traveller {
    asio::any_io_executor executor;
    resumption<void()> waiter;
  };
  // What a context shares with those who are away; it outlives the context.
  struct gate {
    std::mutex mutex;
    bool is_open = true;
    std::list<traveller> away;
  };
  class home;

  std::shared_ptr<gate> gate_;
  std::list<traveller>::iterator place_;
};

class way_back::home final : public asio::execution_context::service {
 public:
  using key_type = home;
  explicit home(asio::execution_context& of) : service(of) {}
  [[nodiscard]] const std::shared_ptr<gate>& entrance() const noexcept { return gate_; }

 private:
  void shutdown() noexcept override {
    std::list<traveller> away;
    {
      const std::lock_guard lock{gate_->mutex};
      gate_->is_open = false;
      away.swap(gate_->away);
    }
    // Destroying a coroutine runs code that we do not know: without the lock.
  }

  std::shared_ptr<gate> gate_ = std::make_shared<gate>();
};

inline way_back::way_back(const asio::any_io_executor& executor, resumption<void()> waiter) {
  auto& context = asio::query(executor, asio::execution::context);
  gate_ = asio::use_service<home>(context).entrance();
  std::list<traveller> one;
  one.push_back({executor, std::move(waiter)});
  place_ = one.begin();
  const std::lock_guard lock{gate_->mutex};
  gate_->away.splice(gate_->away.end(), one);
}

inline void way_back::take() {
  const auto through = std::exchange(gate_, nullptr);
  if (!through) return;
  std::list<traveller> one;
  // The context cannot end before the lock is released, so its executor is good until the post is done.
  const std::lock_guard lock{through->mutex};
  if (!through->is_open) return;
  one.splice(one.end(), through->away, place_);
  asio::post(one.front().executor, [back = std::move(one.front().waiter)]() mutable { back(); });
  one.clear();  // the executor, too, while it is good
}

}  // namespace skein::detail
