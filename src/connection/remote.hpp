#pragma once

// Running a coroutine on another executor, and coming back.

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

/// Runs `task` on `where` and completes, on the caller's own executor, with its result or exception. When the
/// caller is cancelled, the task is, and decides how it ends.
///
/// `co_spawn` with `use_awaitable` does nearly the same, but what it leaves behind on the other thread counts
/// as work of the caller's context and is dropped only after the caller has gone on: a context that ends with
/// its caller, as in a test, would be used after its end.
template <class T>
asio::awaitable<T> run_on(asio::any_io_executor where, asio::awaitable<T> task) {
  struct state {
    asio::any_io_executor resume_on;
    resumption<void()> waiter;
    std::optional<T> result;
    std::exception_ptr error;
    asio::cancellation_signal cancel;  // used on `where`
  };
  const auto shared = std::make_shared<state>();
  shared->resume_on = co_await asio::this_coro::executor;
  auto done = [shared](const std::exception_ptr& error, T value) {
    shared->error = error;
    if (!error) shared->result.emplace(std::move(value));
    asio::post(shared->resume_on, [shared] {
      auto waiter = std::move(shared->waiter);
      waiter();
    });
  };
  co_await suspend<void()>([&shared, &where, &task, &done](auto handler) {
    if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected()) {
      slot.assign([shared, where](asio::cancellation_type how) {
        asio::post(where, [shared, how] { shared->cancel.emit(how); });
      });
    }
    shared->waiter = resumption<void()>{std::move(handler)};
    asio::co_spawn(where, std::move(task),
                   asio::bind_cancellation_slot(shared->cancel.slot(), std::move(done)));
  });
  if (shared->error) std::rethrow_exception(shared->error);
  co_return std::move(*shared->result);
}

}  // namespace skein::detail
