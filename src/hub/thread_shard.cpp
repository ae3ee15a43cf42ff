// A shard with a thread and a context of its own.

#include "hub/shard.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <thread>
#include <utility>

namespace skein::detail {

namespace {

thread_local const shard* current_shard = nullptr;

/// The first half of a context's end is to destroy what waits there.
struct shard_context : asio::io_context {
  using io_context::io_context;
  void discard() { shutdown(); }
};

}  // namespace

struct thread_shard::context_holder {
  std::unique_ptr<shard_context> context = std::make_unique<shard_context>(1);
  asio::executor_work_guard<asio::io_context::executor_type> work{context->get_executor()};
  std::thread thread;
};

std::shared_ptr<thread_shard> thread_shard::make(std::shared_ptr<hub_shared> shared, unsigned index) {
  auto made = std::make_shared<thread_shard>(std::make_unique<context_holder>(), std::move(shared), index);
  made->begin();
  return made;
}

thread_shard::thread_shard(std::unique_ptr<context_holder> holder, std::shared_ptr<hub_shared> shared,
                           unsigned index)
    : shard(holder->context->get_executor(), std::move(shared), index), holder_(std::move(holder)) {}

thread_shard::~thread_shard() {
  halt();
  release();
}

void thread_shard::start() {
  holder_->thread = std::thread{[this] {
    current_shard = this;
    for (;;) {
      try {
        holder_->context->run();
        return;
      } catch (...) {
        // Nothing of ours throws out of a handler; what a user posts here may.
        problem("an exception reached the shard: " + what_of(std::current_exception()));
      }
    }
  }};
}

void thread_shard::halt() {
  if (!holder_->context) return;
  close_gate();
  holder_->work.reset();
  holder_->context->stop();
  if (holder_->thread.joinable()) holder_->thread.join();
}

void thread_shard::run_rest() {
  constexpr int most = 100'000;  // handlers that post to themselves without end do not keep it
  const auto* const before = std::exchange(current_shard, this);
  holder_->context->restart();
  try {
    for (int i = 0; i < most && holder_->context->poll_one() > 0; ++i) {
    }
  } catch (...) {
    problem("an exception reached the shard: " + what_of(std::current_exception()));
  }
  current_shard = before;
}

void thread_shard::discard() {
  finish();
  holder_->context->discard();
}

void thread_shard::release() {
  finish();
  holder_->context.reset();
}

bool thread_shard::running_here() const noexcept {
  return current_shard == this;
}

}  // namespace skein::detail
