#pragma once

// How a message is to be delivered, and what became of it.
//
// A connection's send channel is bounded in messages and bytes. What happens when it is full is the sender's
// choice, for each message: `overflow`. Nothing is dropped without being counted, in the report of an awaited
// delivery and in the manager's statistics.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace skein {

class connection;

/// Names one connection for as long as the process lives; never reused. 0 names none.
using connection_id = std::uint64_t;

/// What a full send channel does with a message.
enum class overflow : std::uint8_t {
  evict,     ///< the slow consumer is closed with 4008 (the default)
  drop,      ///< this message is dropped, the connection goes on
  conflate,  ///< as drop, but a waiting message of the same key is replaced by this one, full or not
  wait,      ///< the sender waits for room; only where a single recipient is awaited
};

/// What became of a message for one recipient.
enum class outcome : std::uint8_t {
  queued = 1,  ///< the send channel has taken it
  written,     ///< the kernel has accepted its last byte; not that the peer received it
  dropped,     ///< the channel was full, or a newer message of its key replaced it
  closed,      ///< the connection ended before it was written
  pending,     ///< the deadline passed first, or it comes from a history; it may still be written
};

/// What became of a message for all its recipients. Always
/// `matched == written + dropped + closed + pending`.
struct delivery_report {
  std::size_t matched = 0;  ///< open connections that the message was meant for
  std::size_t written = 0;
  std::size_t dropped = 0;
  std::size_t closed = 0;
  std::size_t pending = 0;
  std::size_t conflated = 0;            ///< of `dropped`: replaced by a newer message of the same key
  std::size_t evicted = 0;              ///< of `closed`: connections that this message's overflow closed
  std::chrono::nanoseconds elapsed{0};  ///< from the call to the report

  [[nodiscard]] bool balanced() const noexcept { return matched == written + dropped + closed + pending; }
};

/// Options of a delivery, written as a chain: `delivery().conflate("AAPL").deadline(200ms)`.
class delivery {
 public:
  using predicate = std::function<bool(const connection&)>;

  delivery() {}  // user-provided: this type is made inside co_await expressions

  delivery& evict() { return set(overflow::evict); }
  delivery& drop() { return set(overflow::drop); }
  /// A waiting message with the same key, not yet begun to be written, is replaced in its place.
  delivery& conflate(std::string key) {
    key_ = std::make_shared<const std::string>(std::move(key));
    return set(overflow::conflate);
  }
  delivery& wait() { return set(overflow::wait); }
  /// How long an awaited delivery waits for outcomes; what is not known by then is reported as pending. Zero
  /// or less: as long as it takes.
  delivery& deadline(std::chrono::nanoseconds limit) {
    deadline_ = limit;
    return *this;
  }
  /// `send` and `send_to` complete when the message was written, not already when it was queued.
  delivery& until_written() {
    until_written_ = true;
    return *this;
  }
  /// Only connections for which this is true. It is called on the shards' threads, at the same time on
  /// several, and must not block.
  delivery& where(predicate accept) {
    where_ = std::move(accept);
    return *this;
  }
  /// Only connections that were accepted on this route. Cheaper than a predicate.
  delivery& on_route(std::string path) {
    route_ = std::move(path);
    return *this;
  }
  /// Every connection but this one.
  delivery& except(connection_id id) {
    except_ = id;
    return *this;
  }

  /// Only of messages to a user: kept until one of the user's connections acknowledges it (users.hpp).
  delivery& stored() {
    stored_ = true;
    return *this;
  }

  [[nodiscard]] skein::overflow policy() const noexcept { return policy_; }
  /// Whether a policy was chosen; if not, a topic's rule may have one.
  [[nodiscard]] bool has_policy() const noexcept { return has_policy_; }
  [[nodiscard]] const std::shared_ptr<const std::string>& key() const noexcept { return key_; }
  [[nodiscard]] std::chrono::nanoseconds deadline() const noexcept { return deadline_; }
  [[nodiscard]] bool waits_until_written() const noexcept { return until_written_; }
  [[nodiscard]] const predicate& where() const noexcept { return where_; }
  [[nodiscard]] const std::string& route() const noexcept { return route_; }
  [[nodiscard]] connection_id except() const noexcept { return except_; }
  [[nodiscard]] bool is_stored() const noexcept { return stored_; }

 private:
  delivery& set(skein::overflow policy) {
    policy_ = policy;
    has_policy_ = true;
    if (policy != skein::overflow::conflate) key_.reset();
    return *this;
  }

  std::shared_ptr<const std::string> key_;
  std::chrono::nanoseconds deadline_{0};
  predicate where_;
  std::string route_;
  connection_id except_ = 0;
  skein::overflow policy_ = skein::overflow::evict;
  bool until_written_ = false;
  bool stored_ = false;
  bool has_policy_ = false;
};

}  // namespace skein
