#include "http/handshakes.hpp"

#include "http/http_stream.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace skein::detail {

handshake_place::handshake_place(std::shared_ptr<handshakes> of) noexcept : of_(std::move(of)) {
  ++of_->taken_;
}

handshake_place::~handshake_place() {
  if (of_) --of_->taken_;
}

handshake::handshake(handshake_place place, http_stream& stream, time_point now)
    : place_(std::move(place)), stream_(stream), begun_(now) {
  where_ = among()->all_.insert(among()->all_.end(), this);
}

handshake::~handshake() {
  ends_waiting();
  among()->let_go(*this);
  among()->all_.erase(where_);
  if (goes_at_once_) --among()->leaving_;
}

bool handshake::comes_from(const boost::asio::ip::address& peer, time_point now) {
  if (among()->limits_.of_address == 0) return true;
  const auto found = among()->addresses_.try_emplace(key_of(peer)).first;
  if (among()->refuses(found->second, among()->taken_ - 1, now)) return false;
  ++found->second.connections;
  from_ = found;
  return true;
}

void handshake::got_in() noexcept {
  if (from_) ++(*from_)->second.got_in;
}

void handshake::begins_to_wait(wait for_what) {
  if (yields(for_what)) {
    auto& others = among()->yielding_;
    yields_ = others.insert(others.end(), this);
  }
  waits_for_ = for_what;
}

void handshake::ends_waiting() noexcept {
  if (yields(std::exchange(waits_for_, wait::nothing))) among()->yielding_.erase(yields_);
}

void handshake::interrupt() noexcept {
  stream_.cancel();
  signal_.emit(boost::asio::cancellation_type::terminal);
}

bool handshakes::refuses(address& which, std::size_t taken, time_point now) const noexcept {
  const auto half = std::max<std::size_t>(1, limits_.most / 2);
  if (now >= which.held_until || which.connections < limits_.of_address || taken < half) return false;
  which.held_until = now + memory;
  return true;
}

bool handshakes::listens_to(const boost::asio::ip::address& peer, time_point now) noexcept {
  if (addresses_.empty()) return true;
  const auto found = addresses_.find(key_of(peer));
  return found == addresses_.end() || !refuses(found->second, taken_, now);
}

handshakes::told_to_leave handshakes::make_room(time_point now) noexcept {
  told_to_leave result;
  if (now >= judge_after_) look_at_addresses(now);
  if (leaving_ != 0) return result;
  if (!yielding_.empty()) {
    auto& one = *yielding_.front();
    tell_to_go(one);
    one.interrupt();
    return result;
  }
  if (now < look_after_) return result;
  std::array<handshake*, at_once> told;  // NOLINT: not initialised
  std::size_t count = 0;
  for (auto* const each : all_) {
    const bool slow = now - each->begun_ >= limits_.patience;
    if (count == at_once || (!slow && !any_held_past_)) break;  // nor is any that follows slow
    if (each->must_go_) continue;
    auto* const whose = each->from_ ? &(*each->from_)->second : nullptr;
    const bool past = whose != nullptr && whose->connections > limits_.of_address;
    if (past && (slow || now < whose->held_until)) {
      whose->held_until = now + memory;
      ++result.past_address;
    } else if (slow && each->answered_ && each->waits_for_ != handshake::wait::nothing) {
      ++result.too_slow;
    } else {
      continue;
    }
    tell_to_go(*each);
    told[count++] = each;
  }
  if (count == 0) look_after_ = now + look_interval;
  // Not before: whoever is interrupted may go on, and be gone, within the call.
  for (auto* const each : std::span{told}.first(count)) each->interrupt();
  return result;
}

void handshakes::look_at_addresses(time_point now) noexcept {
  judge_after_ = now + look_interval;
  any_held_past_ = false;
  for (auto next = addresses_.begin(); next != addresses_.end();) {
    auto& which = next->second;
    if (which.connections == 0 && now >= which.held_until) {
      next = addresses_.erase(next);
      continue;
    }
    ++next;
    if (which.connections <= limits_.of_address) continue;
    if (which.seen_past + limits_.patience < now) {
      which.judged_at = now + limits_.patience;
      which.got_in = 0;
    }
    which.seen_past = now;
    if (now >= which.judged_at) {
      if (which.got_in < limits_.of_address) which.held_until = now + memory;
      which.judged_at = now + limits_.patience;
      which.got_in = 0;
    }
    any_held_past_ = any_held_past_ || now < which.held_until;
  }
}

void handshakes::stop() noexcept {
  for (auto* const each : all_) {
    if (each->waits_for_ != handshake::wait::nothing && each->waits_for_ != handshake::wait::rest)
      each->stream_.cancel();
  }
}

void handshakes::tell_to_go(handshake& one) noexcept {
  // Who waits for its peer goes at once; an authenticator of somebody else's may take its time.
  one.goes_at_once_ = one.waits_for_ != handshake::wait::nothing;
  if (one.goes_at_once_) ++leaving_;
  one.must_go_ = true;
  one.ends_waiting();  // not to be chosen again
  let_go(one);
}

void handshakes::let_go(handshake& of) noexcept {
  const auto from = std::exchange(of.from_, std::nullopt);
  if (!from) return;
  auto& which = (*from)->second;
  if (--which.connections == 0 && which.held_until == time_point::min()) addresses_.erase(*from);
}

}  // namespace skein::detail
