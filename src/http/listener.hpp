#pragma once

// Where connections come in.

#include "connection/deadline_queue.hpp"
#include "connection/wake_slot.hpp"
#include "http/handshakes.hpp"
#include "http/server_core.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace skein::detail {

/// A descriptor that is kept to accept with when there is no other.
class spare_descriptor {
 public:
  spare_descriptor() noexcept { open(); }
  ~spare_descriptor() { close(); }
  spare_descriptor(const spare_descriptor&) = delete;
  spare_descriptor& operator=(const spare_descriptor&) = delete;
  void open() noexcept;
  /// Whether there was one.
  bool close() noexcept;

 private:
  int descriptor_ = -1;
};

/// Accepts on one shard. Every shard has one, on a socket of its own with SO_REUSEPORT: the kernel spreads
/// the connections.
class listener : public std::enable_shared_from_this<listener> {
 public:
  /// Binds; throws `boost::system::system_error`.
  listener(std::shared_ptr<server_core> server, std::shared_ptr<shard> where,
           const asio::ip::tcp::endpoint& at);

  [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  void start();
  /// Any thread.
  void stop();

 private:
  class stop_order;

  /// Wakes the accept loop where it waits, by the shard's own clock.
  class wake_up final : public deadline_entry {
   public:
    explicit wake_up(wake_slot& where) noexcept : where_(where) {}
    void on_deadline(time_point) override { where_.wake(); }

   private:
    wake_slot& where_;
  };

  static asio::awaitable<void> accept_loop(std::shared_ptr<listener> self);
  /// Accepts those who wait, or waits for them, or for a place.
  static asio::awaitable<void> accept_next(std::shared_ptr<listener> self);
  /// Accepts who waits, a batch at most; whether there may be more. Those who are to be reset are taken
  /// together: unless they have gathered during a pause, the first one ends it.
  bool accept_some(bool gathered, error_code& ec);
  void serve(int accepted, const asio::ip::tcp& protocol);

  /// Whether there is somebody to accept.
  [[nodiscard]] bool somebody_waits() noexcept;
  /// Nobody may keep others out who has had an answer, or whose address has more places than it may.
  void make_room() noexcept;
  /// Why this connection is not listened to; nothing if it is.
  [[nodiscard]] std::optional<refusal_reason> refuses(const asio::ip::tcp::endpoint& peer) noexcept;
  /// Ends a connection that nobody listens to; nothing is kept for it.
  void reset(int accepted, refusal_reason why) noexcept;
  /// Lets the accept loop pause, unless it is about to, or there is no memory to end the pause.
  void rest(std::chrono::milliseconds time) noexcept { set(rest_, shard_->now() + time); }
  /// Unless it is set already, or there is no memory for it.
  void set(wake_up& what, time_point when) noexcept;

  /// Not each time: it may last, and there are ten times a second.
  void report(std::string_view what, std::string_view why, time_point& silent_until) noexcept;
  /// Out of descriptors, who waits would wait in vain, and is told so with the one that is kept. False:
  /// nobody waits, or it could not be kept.
  bool turn_away();

  std::shared_ptr<server_core> server_;
  std::shared_ptr<shard> shard_;
  asio::ip::tcp::acceptor acceptor_;
  std::shared_ptr<handshakes> handshakes_;
  spare_descriptor spare_;
  time_point accept_silent_until_ = time_point::min();
  time_point session_silent_until_ = time_point::min();
  wake_slot rested_;
  wake_up rest_{rested_};
  wake_up look_;  // who keeps others out is given a moment; then the accept loop looks again
};

}  // namespace skein::detail
