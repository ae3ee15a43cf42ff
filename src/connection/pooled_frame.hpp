#pragma once

// The frames of the awaitables that a connection's own functions return come from the thread's pool of
// blocks: a handler makes and drops one for each message that it reads and writes.
//
// Asio's own recycling is switched off, because it gives a small frame that lives long whatever block was
// freed last, up to several times its size.

#include "wire/block_pool.hpp"

#include <boost/asio/awaitable.hpp>

#include <coroutine>
#include <cstddef>
#include <utility>

namespace skein::detail {

class connection_impl;

/// Asio's promise, in a frame from the pool.
template <class T>
struct pooled_frame : boost::asio::detail::awaitable_frame<T, boost::asio::any_io_executor> {
  using asio_frame = boost::asio::detail::awaitable_frame<T, boost::asio::any_io_executor>;

  static void* operator new(std::size_t size) { return take_block(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { give_back_block(frame, size); }

  using asio_frame::await_transform;
  /// An awaitable wants to be told of its caller by Asio's name.
  template <class U>
  auto await_transform(boost::asio::awaitable<U> what) const {
    struct awaited {
      boost::asio::awaitable<U> inner;
      [[nodiscard]] bool await_ready() const noexcept { return inner.await_ready(); }
      void await_suspend(std::coroutine_handle<pooled_frame> caller) {
        inner.await_suspend(std::coroutine_handle<asio_frame>::from_promise(caller.promise()));
      }
      U await_resume() { return inner.await_resume(); }
    };
    return awaited{asio_frame::await_transform(std::move(what))};
  }
};

// Asio finds the frame's beginning by the address and the alignment of its own promise.
static_assert(sizeof(pooled_frame<bool>) ==
              sizeof(boost::asio::detail::awaitable_frame<bool, boost::asio::any_io_executor>));

}  // namespace skein::detail

template <class T, class... Arguments>
struct std::coroutine_traits<boost::asio::awaitable<T>, skein::detail::connection_impl&, Arguments...> {
  using promise_type = skein::detail::pooled_frame<T>;
};
