#pragma once

// What a connection needs from the shard it lives on.

#include "connection/deadline_queue.hpp"
#include "connection/engine.hpp"
#include "connection/heartbeat.hpp"
#include "connection/poller.hpp"
#include "connection/send_channel.hpp"

#include <skein/manager.hpp>

#include <boost/asio/post.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace skein::detail {

class connection_impl;

/// What a log says about an exception.
[[nodiscard]] std::string what_of(const std::exception_ptr& error);

/// Written by one thread, read by any: no locked instruction on the way of a message.
class counter {
 public:
  void add(std::uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void subtract(std::uint64_t n) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// What one shard counts; `manager_stats` explains each.
struct shard_counters {
  counter open, closing, queued_messages, queued_bytes;
  counter total, closed, resets;
  counter messages_in, bytes_in, messages_out, bytes_out, wire_bytes_in, wire_bytes_out, writes;
  counter dropped_overflow, dropped_conflated, discarded, evictions;
  counter pings_sent, pongs_received, pong_timeouts, pings_received;
  counter write_timeouts, close_timeouts, protocol_failures, handler_exceptions;
  counter rate_limited, invalid, token_expiries;
};

/// A shard as its connections see it. Everything but `running_here` and `executor` is used on the executor
/// only.
class host {
 public:
  host(asio::any_io_executor executor, std::shared_ptr<clock> time, const manager_options& options);
  host(const host&) = delete;
  host& operator=(const host&) = delete;
  virtual ~host() = default;

  [[nodiscard]] const asio::any_io_executor& executor() const noexcept { return executor_; }
  /// Whether the caller runs on the executor.
  [[nodiscard]] virtual bool running_here() const noexcept = 0;
  /// Calls `use`, which may use the executor, unless the executor's context is about to go, in which case
  /// nothing is done. Any thread.
  template <class Use>
  bool when_there(Use&& use) {
    const std::shared_lock lock{gate_};
    if (gone_) return false;
    use();
    return true;
  }
  /// Runs a function on the executor, later; it is destroyed uncalled if the context goes first. Any thread.
  template <class Function>
  bool post(Function&& function) {
    return when_there([&] { asio::post(executor_, std::forward<Function>(function)); });
  }
  [[nodiscard]] time_point now() const noexcept { return time_->now(); }
  [[nodiscard]] std::chrono::system_clock::time_point wall() const noexcept { return time_->wall_now(); }
  [[nodiscard]] const manager_options& options() const noexcept { return options_; }
  [[nodiscard]] const connection_limits& limits() const noexcept { return options_.limits; }
  [[nodiscard]] const channel_limits& channel() const noexcept { return channel_; }
  [[nodiscard]] const heartbeat_times& beats() const noexcept { return beats_; }
  [[nodiscard]] const ping_limit& pings() const noexcept { return pings_; }

  shard_counters counters;

  /// Calls `flush` of this connection when everything that is ready has run.
  virtual void mark(connection_impl& who) = 0;

  void set_deadline(deadline_entry& entry, time_point when) {
    deadlines_.set(entry, when);
    rearm();
  }
  void set_deadline_no_later(deadline_entry& entry, time_point when) {
    deadlines_.set_no_later(entry, when);
    rearm();
  }
  void remove_deadline(deadline_entry& entry) noexcept { deadlines_.remove(entry); }

  /// Watches the sockets of the shard's connections.
  [[nodiscard]] detail::poller& poller() noexcept { return *poller_; }

  /// What is read goes here, and is used up before anything else is read.
  [[nodiscard]] std::span<char> read_buffer() noexcept { return read_buffer_; }
  [[nodiscard]] std::span<char> engine_scratch() noexcept { return scratch_; }
  /// What is written may be put together here, for one write.
  [[nodiscard]] std::span<char> gather_scratch() noexcept { return gather_; }
  [[nodiscard]] const engine_options& engine() const noexcept { return engine_; }

  /// It is known now who the connection belongs to.
  virtual void on_admitted(connection_impl& who) = 0;
  /// Both loops of the connection have ended.
  virtual void on_ended(connection_impl& who) = 0;
  /// Every coroutine of the connection has ended.
  virtual void on_joined(connection_impl& who) noexcept = 0;
  virtual void problem(std::string_view line) noexcept = 0;

 protected:
  /// Deadlines run and sockets are watched from now on. `self` is this host.
  void begin(const std::weak_ptr<host>& self);
  /// From now on nobody else uses the executor.
  void close_gate();
  /// Lets go of everything that belongs to the executor's context, but for the executor. No transport is
  /// open any more.
  void finish();

 private:
  void ring();
  void watch(std::weak_ptr<host> self);
  void rearm();

  asio::any_io_executor executor_;
  std::shared_mutex gate_;  // of `gone_`: taken by those who come from other threads
  bool gone_ = false;
  std::shared_ptr<clock> time_;
  const manager_options& options_;
  engine_options engine_;
  channel_limits channel_;
  heartbeat_times beats_;
  ping_limit pings_;
  deadline_queue deadlines_;
  std::unique_ptr<alarm> alarm_;
  std::optional<detail::poller> poller_;
  time_point armed_ = time_point::max();
  std::vector<char> read_buffer_;
  std::vector<char> scratch_;
  std::vector<char> gather_;
};

}  // namespace skein::detail
