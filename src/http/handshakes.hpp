#pragma once

// The connections of one listener that are still in TLS or HTTP: how many there may be, and who makes room
// for others.

#include "connection/deadline_queue.hpp"
#include "connection/wake_slot.hpp"
#include "security/client_address.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>

namespace skein::detail {

class http_stream;
class handshakes;

/// One connection as long as it is in TLS or HTTP.
class handshake {
 public:
  /// What it waits for.
  enum class wait : std::uint8_t {
    nothing,       ///< the server works for it
    rest,          ///< its peer, for the rest of a request, or to take an answer; a stop leaves it its time
    first,         ///< its peer, which has not asked for anything yet; a stop may end it
    next_request,  ///< as `first`, and it has had an answer
  };

  handshake(std::shared_ptr<handshakes> among, http_stream& stream, time_point now);
  ~handshake();
  handshake(const handshake&) = delete;
  handshake& operator=(const handshake&) = delete;

  /// Whose connection it is, as soon as that is known; it counts for this address alone. False: the address
  /// has as many as it may, and is held to that.
  [[nodiscard]] bool comes_from(const boost::asio::ip::address& peer, time_point now);
  void has_an_answer() noexcept { answered_ = true; }
  void begins_to_wait(wait for_what);
  void ends_waiting() noexcept;

 private:
  friend class handshakes;
  std::shared_ptr<handshakes> among_;
  http_stream& stream_;
  std::list<handshake*>::iterator where_, between_requests_;
  const time_point begun_;
  std::optional<address_key> from_;
  wait waits_for_ = wait::nothing;
  bool answered_ = false;
};

/// Used on the listener's executor.
class handshakes {
 public:
  struct limits {
    std::size_t most = 1;        ///< connections at once. Not zero
    std::size_t of_address = 0;  ///< of them, so many of one address where others wait. Zero: any number
    duration patience{};         ///< how long one that others wait for may take
  };
  /// How long an address is held to its number after it was last found past it.
  static constexpr auto memory = std::chrono::seconds{10};
  /// `make_room` looks at all of them no more often than this where it found nobody.
  static constexpr auto look_interval = std::chrono::milliseconds{100};

  explicit handshakes(const limits& what) noexcept : limits_(what) {}
  handshakes(const handshakes&) = delete;
  handshakes& operator=(const handshakes&) = delete;

  /// Whether one more connection of this address is listened to: not if it was found past its number a
  /// moment ago, and would be again.
  [[nodiscard]] bool listens_to(const boost::asio::ip::address& peer, time_point now) noexcept;

  /// A connection takes a place when it is accepted, and gives it back when its session has ended.
  void take_place() noexcept { ++taken_; }
  void give_place_back() noexcept {
    --taken_;
    room.wake();
  }
  [[nodiscard]] bool is_full() const noexcept { return taken_ >= limits_.most; }
  [[nodiscard]] bool empty() const noexcept { return all_.empty(); }

  struct told_to_leave {
    std::size_t past_address = 0;  ///< because their address has more than it may
    std::size_t too_slow = 0;      ///< because they have had an answer, and take their time
  };
  /// Ends those who keep others out: the one that waits longest for a further request; or else those that
  /// have had more than the patience, and have had an answer, or are past the number of their address.
  told_to_leave make_room(time_point now) noexcept;
  /// Ends those who wait for their peer to begin.
  void stop() noexcept;

  wake_slot room;  ///< of the accept loop, which waits for a place

 private:
  friend class handshake;
  static constexpr std::size_t at_once = 64;
  struct address {
    std::size_t connections = 0;
    time_point held_until = time_point::min();
  };

  void end(handshake& one) noexcept;
  void let_go(handshake& of) noexcept;
  void forget(time_point now) noexcept;

  const limits limits_;
  std::size_t taken_ = 0;
  time_point look_after_ = time_point::min();
  std::list<handshake*> all_;               // who came first is first
  std::list<handshake*> between_requests_;  // of them; who waits longest is first
  std::map<address_key, address> addresses_;
};

}  // namespace skein::detail
