#pragma once

// Where publications and messages wait for those who are not there: the history of topics, from which a
// client that was away recovers, and the messages of users who are offline.
//
// `message_store` is a port. `make_memory_store` makes the store that needs nothing and forgets with the
// process; sqlite.hpp one that survives it. Both behave alike where nothing else is said.
//
// Every member is legal from any thread, at any time between construction and destruction. Coroutines go on
// where they were called. The store need not outlive its calls: its destructor ends each that is under way,
// with its result or with `errc::store_unavailable`. The execution context of a caller may end first; the
// caller is then destroyed with it, and what it asked for may be done all the same.
//
// Errors, of every coroutine here: `boost::system::system_error` with `errc::store_full` if there is no room
// and `errc::store_unavailable` if the store cannot do its work. Then nothing has changed, with one exception
// that no store can rule out: if a disk fails in the middle of a commit, a later start may find the commit
// whole. Other errors are said where they belong.
//
// Cancellation: a call that still waits for its turn is withdrawn and ends with
// `asio::error::operation_aborted`. One that has begun is not undone; it completes as if nothing had
// happened.

#include <skein/clock.hpp>
#include <skein/message.hpp>

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace skein {

/// A place in a topic's history. Offsets count the publications of a topic, from 1. An epoch is a random
/// string, made when the store first sees the topic: in another epoch the same offset is another publication.
struct topic_position {
  std::string epoch;
  std::uint64_t offset = 0;  ///< of the last publication; 0: before the first

  topic_position() {}  // user-provided: this type is made inside co_await expressions
  topic_position(std::string in, std::uint64_t at) : epoch(std::move(in)), offset(at) {}
  friend bool operator==(const topic_position&, const topic_position&) = default;
};

/// How much history a topic keeps. Whatever is over is trimmed, the oldest first. A publication that is
/// larger than `max_bytes` on its own is not kept either, and everything before it goes too: a history has no
/// holes.
struct history_limits {
  std::size_t max_messages = 100;       ///< 0: none is kept, publications are only counted
  std::size_t max_bytes = 1024 * 1024;  ///< of payload; 0: no limit of its own
  std::chrono::nanoseconds max_age{0};  ///< kept for less than this; zero or less: no limit
};

/// How many messages wait for one user.
struct offline_limits {
  std::size_t max_messages = 1000;      ///< at least 1; past it the oldest is pushed out
  std::size_t max_bytes = 1024 * 1024;  ///< of payload, likewise; 0: no limit of its own
  /// A message waits for less than this; zero or less: for ever.
  std::chrono::nanoseconds expiry = std::chrono::days{7};
};

/// How much one call returns. Whatever `max_bytes` says, a page has a first message.
struct page_limits {
  std::size_t max_messages = 100;       ///< 0: none
  std::size_t max_bytes = 1024 * 1024;  ///< of payload; 0: no limit
};

/// One entry of a topic's history.
struct publication {
  std::uint64_t offset = 0;
  wall_time published_at;  ///< never earlier than the one before, even if somebody sets the clock back
  prepared_message what;
};

/// Part of a topic's history.
struct history_page {
  std::vector<publication> publications;  ///< without holes, the oldest first
  topic_position current;                 ///< of the topic's last publication, kept or not
  /// Whether these and the pages to come are everything since the position that was given. If not, that
  /// position is of another epoch or not reached yet, and the page begins with the oldest publication there
  /// is; or what followed it has been trimmed, and the page begins with the first after the gap.
  bool recovered = false;
  bool more = false;  ///< whether there are publications after this page

  /// What to read the next page from.
  [[nodiscard]] topic_position next() const {
    return {current.epoch, publications.empty() ? current.offset : publications.back().offset};
  }
};

/// Names an offline message. A later one of the same store is larger, and none is used again, not even by a
/// store that takes another's place: the first is the time in microseconds since 1970 at which the store was
/// made. Fits into a JSON number.
using stored_id = std::uint64_t;

/// What became of `keep`.
struct kept_message {
  stored_id id = 0;
  std::size_t pushed_out = 0;  ///< older messages of the user that made room for this one
};

/// A message that waits for a user.
struct stored_message {
  stored_id id = 0;
  wall_time kept_at;
  prepared_message what;
};

struct store_health {
  bool available = true;  ///< whether the last attempt to keep something succeeded
  std::string problem;    ///< why not; or, of an available store, what may yet make it unavailable
  /// The name that a damaged database was given when this store was opened; empty if it was sound.
  std::string moved_aside;
};

struct store_stats {
  // Since the store was made. Only what is done counts, not what a failed commit has taken back.
  std::uint64_t appends = 0;
  std::uint64_t kept = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t trimmed = 0;     ///< publications over a limit of their topic
  std::uint64_t shed = 0;        ///< publications dropped because the whole store was full
  std::uint64_t forgotten = 0;   ///< topics: by `forget`, unused for long, or to make room
  std::uint64_t expired = 0;     ///< offline messages whose time was over
  std::uint64_t pushed_out = 0;  ///< offline messages that made room for newer ones of their user
  std::uint64_t refused = 0;     ///< calls that ended with `store_full` at once
  std::uint64_t failed = 0;      ///< calls that were tried and ended with an error
  std::uint64_t commits = 0;     ///< of a durable store
  std::uint64_t bytes_in = 0;    ///< payload of what was appended and kept

  // Now.
  std::size_t queued = 0;   ///< calls that wait for their turn
  std::uint64_t bytes = 0;  ///< what the store takes, in memory or on disk
};

class message_store {
 public:
  message_store() = default;
  message_store(const message_store&) = delete;
  message_store& operator=(const message_store&) = delete;
  virtual ~message_store() = default;

  // History. A topic is any text that is not empty. Each of these throws `std::invalid_argument` for an empty
  // one. Only `append` begins a topic. One that the store has not seen, or has forgotten, is for `read` and
  // `position` as it would begin now: an epoch that it has not had before, and the offset 0.

  /// Adds a publication to a topic's history and trims that to `limits`, which hold for all of it until the
  /// next `append`. Completes with the publication's position once it is as safe as the store makes it: in
  /// memory at once, on disk after the commit. Publications that one coroutine awaits one after another have
  /// ascending offsets; offsets have no gaps.
  [[nodiscard]] virtual asio::awaitable<topic_position> append(std::string topic, prepared_message what,
                                                               history_limits limits) = 0;

  /// The publications after `since`, the oldest first, as many as fit into `most`. Completes with what has
  /// been made safe, never with less than the caller has seen completed. For the latest n publications, ask
  /// for the `position` first and then for what comes after n offsets before it.
  [[nodiscard]] virtual asio::awaitable<history_page> read(std::string topic, topic_position since,
                                                           page_limits most) = 0;

  /// The position of a topic's last publication.
  [[nodiscard]] virtual asio::awaitable<topic_position> position(std::string topic) = 0;

  /// Removes a topic with its history; completes with whether it was there. If it comes again, it begins a
  /// new epoch.
  virtual asio::awaitable<bool> forget(std::string topic) = 0;

  // Offline messages. Each of these throws `std::invalid_argument` for an empty user.

  /// Keeps a message for a user until it is acknowledged, expires, or is pushed out by newer ones. Completes
  /// once it is as safe as the store makes it. Throws `std::invalid_argument` if `limits` allow no message,
  /// and `errc::message_too_big` if they never allow this one, which then pushes nothing out.
  [[nodiscard]] virtual asio::awaitable<kept_message> keep(std::string user, prepared_message what,
                                                           offline_limits limits) = 0;

  /// The messages that wait for a user and came after `after` (0: all), the oldest first, as many as fit into
  /// `most`. What has expired is never among them. They wait on until they are acknowledged.
  [[nodiscard]] virtual asio::awaitable<std::vector<stored_message>> waiting(std::string user,
                                                                             stored_id after,
                                                                             page_limits most) = 0;

  /// Removes exactly this message; completes with whether it was waiting for this user. Once it completes the
  /// message does not come back.
  virtual asio::awaitable<bool> acknowledge(std::string user, stored_id id) = 0;

  /// As `acknowledge` of each; completes with how many were waiting. A store overrides it if many at once are
  /// cheaper than one by one.
  virtual asio::awaitable<std::size_t> acknowledge_all(std::string user, std::vector<stored_id> ids);

  [[nodiscard]] virtual store_health health() const = 0;
  [[nodiscard]] virtual store_stats stats() const = 0;
};

struct memory_store_options {
  /// Payload, and 128 bytes for each message, 512 for each topic or user and their names. Past it the least
  /// recently used topic loses its history, the oldest publication first, and is then forgotten, and so on
  /// with the next one; offline messages are not dropped but refused, with `errc::store_full`. Not 0.
  std::size_t max_bytes = std::size_t{64} * 1024 * 1024;
  std::shared_ptr<clock> time;  ///< empty: the machine's
};

/// A store in memory. No call suspends, so none is cancelled. It is never unavailable. A payload is shared
/// with whoever published it, not copied. What is over its age or has expired is never returned; its memory
/// is given back when the topic or user is used again, or when room is needed. Throws `std::invalid_argument`
/// for an option that is not allowed.
[[nodiscard]] std::shared_ptr<message_store> make_memory_store(memory_store_options options = {});

}  // namespace skein
