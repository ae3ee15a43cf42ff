#include "http/handshakes.hpp"

#include "http/http_stream.hpp"

#include <utility>

namespace skein::detail {

handshake::handshake(std::shared_ptr<handshakes> among, http_stream& stream, time_point now)
    : among_(std::move(among)), stream_(stream), begun_(now) {
  where_ = among_->all_.insert(among_->all_.end(), this);
}

handshake::~handshake() {
  ends_waiting();
  among_->let_go(*this);
  among_->all_.erase(where_);
}

bool handshake::comes_from(const boost::asio::ip::address& peer, time_point now) {
  if (!among_->listens_to(peer, now)) return false;
  if (among_->limits_.of_address == 0) return true;
  const auto key = key_of(peer);
  ++among_->addresses_[key].connections;
  from_ = key;
  return true;
}

void handshake::begins_to_wait(wait for_what) {
  if (for_what == wait::next_request) {
    auto& others = among_->between_requests_;
    between_requests_ = others.insert(others.end(), this);
  }
  waits_for_ = for_what;
}

void handshake::ends_waiting() noexcept {
  if (std::exchange(waits_for_, wait::nothing) == wait::next_request)
    among_->between_requests_.erase(between_requests_);
}

bool handshakes::listens_to(const boost::asio::ip::address& peer, time_point now) noexcept {
  if (addresses_.empty()) return true;
  const auto found = addresses_.find(key_of(peer));
  if (found == addresses_.end()) return true;
  auto& which = found->second;
  if (now >= which.held_until || which.connections < limits_.of_address) return true;
  which.held_until = now + memory;
  return false;
}

handshakes::told_to_leave handshakes::make_room(time_point now) noexcept {
  told_to_leave result;
  if (!between_requests_.empty()) {
    end(*between_requests_.front());
    return result;
  }
  if (now < look_after_) return result;
  forget(now);
  std::size_t ended = 0;
  for (auto* const each : all_) {
    if (now - each->begun_ < limits_.patience || ended == at_once) break;  // nor has any that follows
    if (each->waits_for_ == handshake::wait::nothing) continue;
    if (each->answered_) {
      ++result.too_slow;
    } else {
      if (!each->from_) continue;
      auto& whose = addresses_[*each->from_];
      if (whose.connections <= limits_.of_address) continue;
      whose.held_until = now + memory;
      ++result.past_address;
    }
    end(*each);
    ++ended;
  }
  if (ended == 0) look_after_ = now + look_interval;
  return result;
}

void handshakes::stop() noexcept {
  for (auto* const each : all_) {
    if (each->waits_for_ == handshake::wait::first || each->waits_for_ == handshake::wait::next_request)
      each->stream_.cancel();
  }
}

void handshakes::end(handshake& one) noexcept {
  one.ends_waiting();  // not to be chosen again
  let_go(one);
  one.stream_.cancel();
}

void handshakes::let_go(handshake& of) noexcept {
  const auto from = std::exchange(of.from_, std::nullopt);
  if (!from) return;
  const auto found = addresses_.find(*from);
  if (--found->second.connections == 0 && found->second.held_until == time_point::min())
    addresses_.erase(found);
}

void handshakes::forget(time_point now) noexcept {
  std::erase_if(addresses_, [now](const auto& each) {
    return each.second.connections == 0 && now >= each.second.held_until;
  });
}

}  // namespace skein::detail
