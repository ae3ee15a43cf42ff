#pragma once

// A token bucket for each user or each address, in memory that does not grow.

#include "security/siphash.hpp"

#include <skein/inbound.hpp>

#include <boost/asio/ip/address.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

namespace skein::detail {

/// What `keyed_buckets` has seen since it was made.
struct keyed_buckets_stats {
  std::uint64_t allowed = 0;
  std::uint64_t refused = 0;
  std::uint64_t replaced = 0;   ///< buckets that were given up although they were not full
  std::uint64_t untracked = 0;  ///< of `allowed`: had no bucket and got none
};

/// Buckets of one rate for many keys, all of them users or all of them addresses. Thread-safe; a call takes
/// one lock out of 64 and looks at 16 buckets at most.
///
/// Memory is 24 bytes a key, all of it taken at the beginning. A bucket that has filled up again is forgotten
/// by being reused: nothing is lost by that, since a new one is full too, and nothing has to be swept. A key
/// is remembered as a 64-bit hash under a secret of the process, so that nobody can choose keys that meet.
///
/// Each key has 16 places where it can be. Where all 16 hold a bucket that is not full, which takes about as
/// many busy keys as there is capacity, a new key is treated so:
///  - the fullest of the 16 gives way, if it is at least half full: its key wins back half a burst at most;
///  - if all are less than half full, none gives way, and the new key passes untracked.
/// So a key that has spent more than half of its burst cannot be made to be forgotten, and a key that comes
/// new is never refused for what others did. What this cannot do is hold more keys to the rate than there is
/// room for: size the capacity for the keys that may be busy within `burst / per_second` seconds, and bound
/// the whole by other means (`max_connections`).
class keyed_buckets {
 public:
  static constexpr std::size_t default_capacity = 65'536;
  static constexpr std::size_t max_capacity = std::size_t{1} << 24U;

  /// `capacity` is rounded up to a power of two, and to 16. Throws `std::invalid_argument` if it is zero or
  /// more than `max_capacity`. Without a secret one is drawn. A limit that is off allows everything and
  /// counts nothing.
  explicit keyed_buckets(rate limit, std::size_t capacity = default_capacity);
  keyed_buckets(rate limit, std::size_t capacity, siphash_key secret);
  keyed_buckets(const keyed_buckets&) = delete;
  keyed_buckets& operator=(const keyed_buckets&) = delete;
  ~keyed_buckets();

  /// Takes from a user's bucket.
  [[nodiscard]] rate_verdict take(std::string_view user, std::uint64_t cost, time_point now) noexcept;
  /// Takes from an address's bucket. An IPv6 address counts as its /64, because that is what one subscriber
  /// is given; an IPv4-mapped one counts as the IPv4 address.
  [[nodiscard]] rate_verdict take(const boost::asio::ip::address& from, std::uint64_t cost,
                                  time_point now) noexcept;
  /// Whether `take` of one would be allowed; takes nothing, and counts nothing.
  [[nodiscard]] bool has_one(const boost::asio::ip::address& from, time_point now) const noexcept;

  [[nodiscard]] const rate& limit() const noexcept { return limit_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return set_count_ * ways; }
  /// The sums may be a few calls apart from each other while others take.
  [[nodiscard]] keyed_buckets_stats stats() const noexcept;
  /// How many keys have a bucket that is not full. Looks at everything, for a few places at a time under a
  /// lock.
  [[nodiscard]] std::size_t busy(time_point now) const noexcept;

 private:
  static constexpr std::size_t ways = 16;
  static constexpr std::size_t stripe_count = 64;
  struct set;
  struct stripe;

  [[nodiscard]] std::uint64_t hash_of(const boost::asio::ip::address& from) const noexcept;
  [[nodiscard]] std::size_t index_of(std::uint64_t hash) const noexcept {
    return static_cast<std::size_t>(hash) & (set_count_ - 1);
  }
  rate_verdict take_hashed(std::uint64_t hash, std::uint64_t cost, time_point now) noexcept;
  rate_verdict take_in(set& where, stripe& counters, std::uint64_t hash, std::uint64_t cost,
                       time_point now) noexcept;

  rate limit_;
  siphash_key secret_;
  std::size_t set_count_;
  std::unique_ptr<set[]> sets_;
  std::unique_ptr<stripe[]> stripes_;
};

}  // namespace skein::detail
