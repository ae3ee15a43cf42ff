#include "security/jwt_once.hpp"

#include <algorithm>
#include <functional>
#include <string>

namespace skein::detail {

one_time_answer one_time_set::take(std::string_view issuer, std::string_view id,
                                   std::chrono::sys_seconds until, std::chrono::sys_seconds now) {
  std::string key;
  key.reserve(issuer.size() + id.size() + 24);
  key.append(std::to_string(issuer.size())).append(":").append(issuer).append(id);
  const auto hash = siphash::of(secret_, key);
  const std::lock_guard lock{mutex_};
  latest_ = std::max(latest_, now);
  while (!by_expiry_.empty() && by_expiry_.front().first <= latest_) {
    used_.erase(by_expiry_.front().second);
    std::pop_heap(by_expiry_.begin(), by_expiry_.end(), std::greater<>{});
    by_expiry_.pop_back();
  }
  if (until <= latest_) return one_time_answer::expired;
  if (used_.contains(hash)) return one_time_answer::used;
  if (used_.size() >= capacity_) return one_time_answer::full;
  by_expiry_.emplace_back(until, hash);
  try {
    used_.insert(hash);
  } catch (...) {
    by_expiry_.pop_back();
    throw;
  }
  std::push_heap(by_expiry_.begin(), by_expiry_.end(), std::greater<>{});
  return one_time_answer::first;
}

std::size_t one_time_set::size() const {
  const std::lock_guard lock{mutex_};
  return used_.size();
}

}  // namespace skein::detail
