#pragma once

// The connections of one listener that are still in TLS or HTTP: how many there may be, and who makes room
// for others.

#include "connection/deadline_queue.hpp"
#include "connection/wake_slot.hpp"
#include "security/client_address.hpp"

#include <boost/asio/cancellation_signal.hpp>

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

/// One of the places of a listener, from the moment when a connection is accepted until its session has
/// ended.
class handshake_place {
 public:
  explicit handshake_place(std::shared_ptr<handshakes> of) noexcept;
  handshake_place(handshake_place&&) noexcept = default;
  handshake_place& operator=(handshake_place&&) = delete;
  ~handshake_place();

  [[nodiscard]] const std::shared_ptr<handshakes>& of() const noexcept { return of_; }

 private:
  std::shared_ptr<handshakes> of_;
};

/// One connection as long as it is in TLS or HTTP.
class handshake {
 public:
  /// What it waits for.
  enum class wait : std::uint8_t {
    nothing,       ///< the server works for it
    rest,          ///< its peer, for the rest of a request, or to take an answer; a stop leaves it its time
    first,         ///< its peer, which has not asked for anything yet; a stop may end it
    next_request,  ///< as `first`, and it has had an answer
    farewell,      ///< as `first`; nothing more will be answered
  };
  /// Whether who waits for this makes room before all others.
  [[nodiscard]] static constexpr bool yields(wait for_what) noexcept {
    return for_what == wait::next_request || for_what == wait::farewell;
  }

  handshake(handshake_place place, http_stream& stream, time_point now);
  ~handshake();
  handshake(const handshake&) = delete;
  handshake& operator=(const handshake&) = delete;

  /// Whose connection it is, as soon as that is known; it counts for this address alone. False: the address
  /// has as many as it may, and is held to that.
  [[nodiscard]] bool comes_from(const boost::asio::ip::address& peer, time_point now);
  void has_an_answer() noexcept { answered_ = true; }
  /// It has what it came for, and will be none of these any more.
  void got_in() noexcept;
  void begins_to_wait(wait for_what);
  void ends_waiting() noexcept;
  /// Others need its place: it is over, and has been counted.
  [[nodiscard]] bool must_go() const noexcept { return must_go_; }

  /// Ends what the stream waits for, and what waits with the slot. Any number of times.
  void interrupt() noexcept;
  [[nodiscard]] boost::asio::cancellation_slot slot() noexcept { return signal_.slot(); }
  [[nodiscard]] const std::shared_ptr<handshakes>& among() const noexcept { return place_.of(); }

 private:
  friend class handshakes;
  struct address {
    std::size_t connections = 0;
    std::size_t got_in = 0;  // of it, in the time that it has now
    time_point held_until = time_point::min();
    time_point seen_past = time_point::min();  // its number, the last time
    time_point judged_at = time_point::min();  // when its time is over
  };
  using address_map = std::map<address_key, address>;

  handshake_place place_;
  http_stream& stream_;
  boost::asio::cancellation_signal signal_;
  std::list<handshake*>::iterator where_, yields_;
  const time_point begun_;
  std::optional<address_map::iterator> from_;
  wait waits_for_ = wait::nothing;
  bool answered_ = false;
  bool must_go_ = false;
  bool goes_at_once_ = false;
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
  /// moment ago, would be again, and half of the places are taken.
  [[nodiscard]] bool listens_to(const boost::asio::ip::address& peer, time_point now) noexcept;
  [[nodiscard]] bool empty() const noexcept { return taken_ == 0 && leaving_ == 0 && all_.empty(); }
  [[nodiscard]] bool is_full() const noexcept { return taken_ >= limits_.most; }

  struct told_to_leave {
    std::size_t past_address = 0;  ///< because their address has more than it may
    std::size_t too_slow = 0;      ///< because they have had an answer, and take their time
  };
  /// For one that waits. Ends those who keep others out: the one that has waited longest for a further
  /// request, or for its peer to take its leave; or else those that have had more than the patience, and have
  /// had an answer, or are past the number of their address; of an address that was past it for all of the
  /// patience, and of which fewer than that number got in meanwhile, those past it at once. Does nothing as
  /// long as somebody is about to leave.
  told_to_leave make_room(time_point now) noexcept;
  /// Ends those who wait for their peer to begin.
  void stop() noexcept;

  wake_slot room;  ///< of the accept loop, which waits for a place

 private:
  friend class handshake;
  friend class handshake_place;
  using address = handshake::address;
  static constexpr std::size_t at_once = 64;

  /// Judges the addresses that are past their number, and forgets those that are of no interest any more.
  void look_at_addresses(time_point now) noexcept;
  /// Whether a held address must wait, with so many others in their places.
  [[nodiscard]] bool refuses(address& which, std::size_t taken, time_point now) const noexcept;
  /// Counts it out; `handshake::interrupt` is still to be called.
  void tell_to_go(handshake& one) noexcept;
  void let_go(handshake& of) noexcept;

  const limits limits_;
  std::size_t taken_ = 0;
  std::size_t leaving_ = 0;  // ended, and their places not given back yet
  time_point look_after_ = time_point::min();
  time_point judge_after_ = time_point::min();
  bool any_held_past_ = false;      // an address that is held has more than its number
  std::list<handshake*> all_;       // who came first is first
  std::list<handshake*> yielding_;  // of them, those who go first; who waits longest is first
  handshake::address_map addresses_;
};

}  // namespace skein::detail
