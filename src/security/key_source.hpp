#pragma once

// The keys of a JWK set that is fetched: kept while they cannot be fetched anew, and fetched by one at a
// time, not too often.

#include "connection/wake_slot.hpp"
#include "security/jwks_client.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

namespace skein::detail {

/// Whether a fetch minds how long ago the last one was.
enum class fetch_when : std::uint8_t { due, now };

/// Thread-safe.
class key_source : public std::enable_shared_from_this<key_source> {
 public:
  /// `use` is called with every set that was fetched, under the source's lock.
  key_source(web_address from, jwks_endpoint how, std::shared_ptr<clock> time,
             std::function<void(std::vector<jwt_key>)> use, std::function<void(std::string_view)> problem);

  /// Whether a set has ever been fetched.
  [[nodiscard]] bool loaded() const;
  /// Fetches, or waits for who fetches already, unless it was done a moment ago. True if a set came: what was
  /// unknown may be known now. The fetch goes on where the caller runs, even if the caller is cancelled.
  /// `now`: minds no pause, and a fetch that has begun already is followed by another, because it may bring
  /// what has been replaced meanwhile.
  asio::awaitable<bool> refresh(fetch_when when = fetch_when::due);
  /// Begins to fetch on this executor what has become too old, without waiting.
  void refresh_if_old(const asio::any_io_executor& where);

  [[nodiscard]] std::uint64_t fetches() const;
  [[nodiscard]] std::uint64_t failures() const;
  /// When the last set came.
  [[nodiscard]] std::optional<wall_time> loaded_at() const;

 private:
  struct waiter;
  class running;

  [[nodiscard]] bool may_begin(time_point now) const;  // under the lock
  [[nodiscard]] bool fetching() const;
  void begin(const asio::any_io_executor& where, fetch_when when);
  void take(std::vector<jwt_key> keys);
  void fail();
  void finish(bool fetched);  // under the lock
  static asio::awaitable<void> fetch(std::shared_ptr<key_source> self);

  const web_address from_;
  const jwks_endpoint how_;
  const std::shared_ptr<clock> time_;
  const std::function<void(std::vector<jwt_key>)> use_;
  const std::function<void(std::string_view)> problem_;

  mutable std::mutex mutex_;
  bool fetching_ = false;
  std::optional<time_point> begun_;     // the last fetch
  std::optional<time_point> loaded_;    // the last that brought a set
  std::optional<wall_time> loaded_at_;  // the same, by the time of day
  std::uint64_t fetches_ = 0;
  std::uint64_t failures_ = 0;
  std::vector<waiter*> waiters_;
};

}  // namespace skein::detail
