#include "security/rate_limit.hpp"

#include "security/client_address.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <limits>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace skein {
namespace {

/// A number from 1 that fits, with or without a unit; takes it off the front of `text`.
std::optional<std::uint32_t> take_number(std::string_view& text) noexcept {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  constexpr std::array<std::pair<std::string_view, unsigned>, 3> units{
      {{"KiB", 10U}, {"MiB", 20U}, {"GiB", 30U}}};
  constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
  if (number == 0 || number > most) return std::nullopt;
  for (const auto& [name, shift] : units) {
    if (!text.starts_with(name)) continue;
    text.remove_prefix(name.size());
    number <<= shift;  // 32 bits by 30 at most
    break;             // a second unit is no part of a number, and its shift could overflow
  }
  if (number > most) return std::nullopt;
  return static_cast<std::uint32_t>(number);
}

}  // namespace

std::optional<rate> parse_rate(std::string_view text) noexcept {
  if (text == "off") return rate{};
  const auto per_second = take_number(text);
  if (!per_second || !text.starts_with("/s")) return std::nullopt;
  text.remove_prefix(2);
  if (text.empty()) return rate{*per_second};
  if (text.front() != ':') return std::nullopt;
  text.remove_prefix(1);
  const auto burst = take_number(text);
  if (!burst || !text.empty()) return std::nullopt;
  return rate{*per_second, *burst};
}

std::string to_string(const rate& limit) {
  if (limit.is_off()) return "off";
  auto text = std::to_string(limit.per_second()) + "/s";
  if (limit.burst() != limit.per_second()) text += ":" + std::to_string(limit.burst());
  return text;
}

namespace detail {

// Hashes and buckets apart, so that looking for a hash touches two cache lines. A bucket that is full is
// free, whatever hash stands beside it.
struct keyed_buckets::set {
  std::array<std::uint64_t, ways> hashes{};
  std::array<token_bucket, ways> buckets{};

  /// Null if the hash has none.
  [[nodiscard]] token_bucket* find(std::uint64_t hash) noexcept {
    const auto known = std::find(hashes.begin(), hashes.end(), hash);
    return known == hashes.end() ? nullptr : &buckets[static_cast<std::size_t>(known - hashes.begin())];
  }
};

struct alignas(64) keyed_buckets::stripe {
  mutable std::mutex mutex;
  keyed_buckets_stats counts;
};

keyed_buckets::keyed_buckets(rate limit, std::size_t capacity)
    : keyed_buckets(limit, capacity, draw_siphash_key()) {}

keyed_buckets::keyed_buckets(rate limit, std::size_t capacity, siphash_key secret)
    : limit_(limit), secret_(secret), set_count_(0) {
  if (capacity == 0 || capacity > max_capacity)
    throw std::invalid_argument("the capacity of keyed_buckets must be from 1 to " +
                                std::to_string(max_capacity) + ", not " + std::to_string(capacity));
  set_count_ = std::bit_ceil((capacity + ways - 1) / ways);
  sets_ = std::make_unique<set[]>(set_count_);
  stripes_ = std::make_unique<stripe[]>(stripe_count);
}

keyed_buckets::~keyed_buckets() = default;

rate_verdict keyed_buckets::take(std::string_view user, std::uint64_t cost, time_point now) noexcept {
  return take_hashed(siphash::of(secret_, user), cost, now);
}

rate_verdict keyed_buckets::take(const boost::asio::ip::address& from, std::uint64_t cost,
                                 time_point now) noexcept {
  return take_hashed(hash_of(from), cost, now);
}

bool keyed_buckets::has_one(const boost::asio::ip::address& from, time_point now) const noexcept {
  if (limit_.is_off()) return true;
  const auto hash = hash_of(from);
  const auto index = index_of(hash);
  const std::lock_guard lock{stripes_[index % stripe_count].mutex};
  const auto* const known = sets_[index].find(hash);
  if (known == nullptr) return true;
  auto copy = *known;
  return copy.take(limit_, 1, now).allowed();
}

std::uint64_t keyed_buckets::hash_of(const boost::asio::ip::address& from) const noexcept {
  const auto key = key_of(from);
  return siphash::of(secret_, {reinterpret_cast<const char*>(key.data()), key.size()});
}

rate_verdict keyed_buckets::take_hashed(std::uint64_t hash, std::uint64_t cost, time_point now) noexcept {
  if (limit_.is_off()) return {};
  const auto index = index_of(hash);
  auto& own = stripes_[index % stripe_count];
  const std::lock_guard lock{own.mutex};
  const auto verdict = take_in(sets_[index], own, hash, cost, now);
  ++(verdict.allowed() ? own.counts.allowed : own.counts.refused);
  return verdict;
}

rate_verdict keyed_buckets::take_in(set& where, stripe& counters, std::uint64_t hash, std::uint64_t cost,
                                    time_point now) noexcept {
  if (auto* const known = where.find(hash)) return known->take(limit_, cost, now);

  std::size_t fullest = 0;
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
  for (std::size_t i = 0; i < ways && least != 0; ++i) {
    const auto missing = where.buckets[i].missing(limit_, now);
    if (missing < least) {
      least = missing;
      fullest = i;
    }
  }
  token_bucket fresh;
  const auto verdict = fresh.take(limit_, cost, now);
  // One that costs too much for any bucket needs no place.
  if (!verdict.allowed()) return verdict;
  if (least > token_bucket::most_missing(limit_) / 2) {
    ++counters.counts.untracked;
    return verdict;
  }
  if (least != 0) ++counters.counts.replaced;
  where.hashes[fullest] = hash;
  where.buckets[fullest] = fresh;
  return verdict;
}

keyed_buckets_stats keyed_buckets::stats() const noexcept {
  keyed_buckets_stats sum;
  for (std::size_t i = 0; i < stripe_count; ++i) {
    const std::lock_guard lock{stripes_[i].mutex};
    const auto& counts = stripes_[i].counts;
    sum.allowed += counts.allowed;
    sum.refused += counts.refused;
    sum.replaced += counts.replaced;
    sum.untracked += counts.untracked;
  }
  return sum;
}

std::size_t keyed_buckets::busy(time_point now) const noexcept {
  std::size_t found = 0;
  for (std::size_t i = 0; i < set_count_; ++i) {
    const std::lock_guard lock{stripes_[i % stripe_count].mutex};
    for (const auto& bucket : sets_[i].buckets) found += bucket.is_full(limit_, now) ? 0U : 1U;
  }
  return found;
}

}  // namespace detail
}  // namespace skein
