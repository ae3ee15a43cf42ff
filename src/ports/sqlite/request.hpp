#pragma once

// What callers ask of the worker: requests, and the bounded queue in which they wait.

#include "ports/sqlite/history.hpp"
#include "ports/sqlite/mailboxes.hpp"
#include "ports/sqlite/way_back.hpp"

#include <skein/clock.hpp>
#include <skein/error.hpp>
#include <skein/message_store.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace skein::detail::sqlite {

/// What a request works on.
struct tables {
  explicit tables(connection& in) : topics(in), users(in) {}
  history topics;
  mailboxes users;
};

class request {
 public:
  request() = default;
  request(const request&) = delete;
  request& operator=(const request&) = delete;
  virtual ~request() = default;

  /// Tries to answer from what is committed; false if it needs a transaction. Throws `failure`.
  virtual bool look(tables& in, wall_time now) = 0;
  /// Does the work in the caller's transaction. May be called again if that was rolled back. Throws
  /// `failure`.
  virtual void change(tables& in, wall_time now, store_stats& counted) = 0;

  /// Whoever wins, the worker or the caller who is cancelled, completes the request.
  [[nodiscard]] bool claim() noexcept { return !claimed_.exchange(true, std::memory_order_acq_rel); }
  /// The caller goes on, with the result or with this error. It is thrown on the caller's thread: no two
  /// threads share an exception.
  void complete(error_code error = {}, std::string text = {}) {
    error_ = error;
    text_ = std::move(text);
    waiter_.take();
  }

  std::exception_ptr refusal;  ///< what is wrong with it; then nobody does it
  std::size_t bytes = 0;       ///< of payload
  bool makes_room = false;     ///< removes something and adds nothing

 protected:
  error_code error_;
  std::string text_;
  way_back waiter_;

 private:
  std::atomic<bool> claimed_{false};
};

/// Where requests wait. Thread-safe; outlives the worker if somebody still holds it.
class request_queue {
 public:
  request_queue(std::size_t max_requests, std::size_t max_bytes) noexcept
      : max_requests_(max_requests), max_bytes_(max_bytes) {}

  /// Why it is not taken: `store_full` or `store_unavailable`; nothing if it is.
  [[nodiscard]] std::optional<errc> push(std::shared_ptr<request> what);
  /// Takes up to `most` requests. Waits for the first up to `wait`, and returns none if none came, or when
  /// the queue is closed.
  [[nodiscard]] std::vector<std::shared_ptr<request>> pop(std::size_t most, std::chrono::milliseconds wait);
  /// What is in it is still handed out; what comes later is refused as if the store were unavailable.
  void close();

  [[nodiscard]] bool is_closed() const;
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_.load(std::memory_order_relaxed); }

 private:
  const std::size_t max_requests_;
  const std::size_t max_bytes_;
  mutable std::mutex mutex_;  // of all below
  std::condition_variable arrived_;
  std::deque<std::shared_ptr<request>> waiting_;
  std::size_t bytes_ = 0;
  bool closed_ = false;
  std::atomic<std::uint64_t> refused_{0};
};

template <class T>
class call final : public request {
 public:
  using looker = std::function<std::optional<T>(tables&, wall_time)>;
  using changer = std::function<T(tables&, wall_time, store_stats&)>;

  /// Either may be empty.
  call(looker look, changer change) : look_(std::move(look)), change_(std::move(change)) {}

  bool look(tables& in, wall_time now) override {
    if (!look_) return false;
    result_ = look_(in, now);
    return result_.has_value();
  }
  void change(tables& in, wall_time now, store_stats& counted) override {
    result_.emplace(change_(in, now, counted));
  }

  /// Puts the request into the queue and completes with its result on the caller's executor.
  static asio::awaitable<T> run(std::shared_ptr<call> self, std::shared_ptr<request_queue> queue) {
    if (self->refusal) std::rethrow_exception(self->refusal);
    const auto executor = co_await asio::this_coro::executor;
    co_await suspend<void()>([&](auto handler) {
      // From `push` on the frame may be gone: what is needed then is held here.
      const auto mine = self;  // NOLINT(performance-unnecessary-copy-initialization)
      const auto to = queue;   // NOLINT(performance-unnecessary-copy-initialization)
      if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected()) {
        slot.assign([weak = std::weak_ptr{mine}](asio::cancellation_type) {
          if (const auto cancelled = weak.lock(); cancelled && cancelled->claim()) {
            cancelled->complete(asio::error::operation_aborted);
          }
        });
      }
      mine->waiter_ = way_back{executor, resumption<void()>{std::move(handler)}};
      if (const auto refused = to->push(mine); refused && mine->claim())
        mine->complete(make_error_code(*refused));
    });
    if (self->error_ && self->text_.empty()) throw boost::system::system_error{self->error_};
    if (self->error_) throw boost::system::system_error{self->error_, self->text_};
    co_return std::move(*self->result_);
  }

 private:
  looker look_;
  changer change_;
  std::optional<T> result_;
};

}  // namespace skein::detail::sqlite
