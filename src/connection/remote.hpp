#pragma once

// Running a coroutine on a shard, and coming back.

#include "connection/host.hpp"
#include "connection/resumption.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <utility>

namespace skein::detail {

/// What `run_on` and its task share.
template <class T>
struct remote_call {
  asio::any_io_executor resume_on;
  resumption<void()> waiter;
  std::optional<T> result;
  std::exception_ptr error;
  asio::cancellation_signal cancel;  // used on the shard

  void resume() {
    if (waiter) asio::post(resume_on, [back = std::move(waiter)]() mutable { back(); });
  }
};

/// Resumes the caller when the task has ended, or, without a result, when the task is destroyed because its
/// shard has gone.
template <class T>
class remote_completion {
 public:
  explicit remote_completion(std::shared_ptr<remote_call<T>> call) noexcept : call_(std::move(call)) {}
  remote_completion(remote_completion&&) noexcept = default;
  remote_completion& operator=(remote_completion&&) = delete;
  ~remote_completion() {
    if (call_) call_->resume();
  }
  void operator()(const std::exception_ptr& error, T value) {
    const auto call = std::exchange(call_, nullptr);
    call->error = error;
    if (!error) call->result.emplace(std::move(value));
    call->resume();
  }

 private:
  std::shared_ptr<remote_call<T>> call_;
};

/// Runs `task` on a shard and completes, on the caller's own executor, with its result or exception, or with
/// `if_gone` if the shard has ended first. When the caller is cancelled, the task is, and decides how it
/// ends. The shard must be kept until then.
///
/// `co_spawn` with `use_awaitable` does nearly the same, but what it leaves behind on the other thread counts
/// as work of the caller's context and is dropped only after the caller has gone on: a context that ends with
/// its caller, as in a test, would be used after its end.
template <class T>
asio::awaitable<T> run_on(host& where, asio::awaitable<T> task, T if_gone) {
  const auto call = std::make_shared<remote_call<T>>();
  call->resume_on = co_await asio::this_coro::executor;
  co_await suspend<void()>([&call, &where, &task](auto handler) {
    if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected()) {
      slot.assign([call, &where](asio::cancellation_type how) {
        where.post([call, how] { call->cancel.emit(how); });
      });
    }
    call->waiter = resumption<void()>{std::move(handler)};
    remote_completion<T> done{call};
    where.when_there([&] {
      asio::co_spawn(where.executor(), std::move(task),
                     asio::bind_cancellation_slot(call->cancel.slot(), std::move(done)));
    });
  });
  if (call->error) std::rethrow_exception(call->error);
  if (!call->result) co_return std::move(if_gone);
  co_return std::move(*call->result);
}

}  // namespace skein::detail
