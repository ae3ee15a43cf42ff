#pragma once

// A suspended coroutine as a handler: what `co_await` of our own operations stores until the coroutine goes
// on.
//
// `any_completion_handler` would do the same with an allocation for each wait. The handlers that Asio makes
// for awaiting coroutines are two words, so they fit in here.

#include <boost/asio/async_result.hpp>
#include <boost/system/error_code.hpp>

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace skein::detail {

namespace asio = boost::asio;
using boost::system::error_code;

template <class Signature>
class resumption;

/// Move-only. Empty after it was moved from or called; a call is made once.
template <class... Args>
class resumption<void(Args...)> {
 public:
  resumption() noexcept = default;
  template <class Handler, class = std::enable_if_t<!std::is_same_v<std::decay_t<Handler>, resumption>>>
  explicit resumption(Handler&& handler) {
    using type = std::decay_t<Handler>;
    static_assert(sizeof(type) <= sizeof(storage_) && alignof(type) <= alignof(void*));
    static_assert(std::is_nothrow_move_constructible_v<type>);
    ::new (static_cast<void*>(storage_)) type(std::forward<Handler>(handler));
    actions_ = &actions_of<type>;
  }
  resumption(resumption&& other) noexcept { take(other); }
  resumption& operator=(resumption&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~resumption() { reset(); }

  explicit operator bool() const noexcept { return actions_ != nullptr; }
  void operator()(Args... args) { std::exchange(actions_, nullptr)->call(storage_, std::move(args)...); }
  /// Lets go of the coroutine, which is then destroyed.
  void reset() noexcept {
    if (actions_) std::exchange(actions_, nullptr)->destroy(storage_);
  }

 private:
  struct actions {
    void (*call)(void*, Args...);
    void (*relocate)(void* from, void* to) noexcept;
    void (*destroy)(void*) noexcept;
  };
  template <class T>
  static constexpr actions actions_of{
      [](void* at, Args... args) {
        T handler{std::move(*static_cast<T*>(at))};
        static_cast<T*>(at)->~T();  // the place may be taken again before the call returns
        std::move(handler)(std::move(args)...);
      },
      [](void* from, void* to) noexcept {
        ::new (to) T(std::move(*static_cast<T*>(from)));
        static_cast<T*>(from)->~T();
      },
      [](void* at) noexcept { static_cast<T*>(at)->~T(); }};

  void take(resumption& other) noexcept {
    if (other.actions_) other.actions_->relocate(other.storage_, storage_);
    actions_ = std::exchange(other.actions_, nullptr);
  }

  alignas(void*) unsigned char storage_[2 * sizeof(void*)];
  const actions* actions_ = nullptr;
};

/// Makes an awaitable operation from a function that is given the resumption: `co_await
/// suspend<void()>(store)`. The function is called once the coroutine is suspended; it must be trivially
/// copyable (g++ 12 destroys other temporaries in an await expression twice).
template <class Signature, class Store>
class suspend_operation {
  struct initiation {
    template <class Handler>
    void operator()(Handler&& handler, Store store) const {
      store(std::forward<Handler>(handler));
    }
  };

 public:
  explicit suspend_operation(Store store) noexcept : store_(store) {}
  template <class Token>
  auto operator()(Token&& token)
      -> decltype(asio::async_initiate<Token, Signature>(std::declval<initiation>(), token,
                                                         std::declval<Store&>())) {
    return asio::async_initiate<Token, Signature>(initiation{}, token, store_);
  }

 private:
  static_assert(std::is_trivially_copyable_v<Store> && std::is_trivially_destructible_v<Store>);
  Store store_;
};

template <class Signature, class Store>
[[nodiscard]] suspend_operation<Signature, Store> suspend(Store store) noexcept {
  return suspend_operation<Signature, Store>{store};
}

}  // namespace skein::detail
