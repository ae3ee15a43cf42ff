#include "hub/catch_up.hpp"

#include "hub/broadcast.hpp"
#include "hub/shard.hpp"

#include <algorithm>
#include <utility>

namespace skein::detail {

std::shared_ptr<catch_up> shard::begin_catch_up(connection_impl& who, audience::kind what, std::string name) {
  end_catch_up(who, what, name);  // of a subscription that has ended, or that was told of everything
  auto state = std::make_shared<catch_up>(catch_up{what, std::move(name)});
  catching_up_.emplace(&who, state);
  ++who.catching_up;
  return state;
}

shard::catch_ups::const_iterator shard::locate(const connection_impl& who, audience::kind what,
                                               std::string_view name) const noexcept {
  if (who.catching_up == 0) return catching_up_.end();
  const auto [first, last] = catching_up_.equal_range(&who);
  const auto found = std::find_if(
      first, last, [&](const auto& each) { return each.second->what == what && each.second->name == name; });
  return found == last ? catching_up_.end() : found;
}

void shard::end_catch_up(connection_impl& who, audience::kind what, std::string_view name) noexcept {
  const auto found = locate(who, what, name);
  if (found == catching_up_.end()) return;
  const auto state = found->second;
  catching_up_.erase(found);
  --who.catching_up;
  state->live = true;
  state->withdrawn = true;
  for (auto& each : std::exchange(state->waiting, {})) {
    if (each.part) each.part->settle(outcome::dropped, false);
  }
}

bool shard::is_catching_up(const connection_impl& who, audience::kind what,
                           std::string_view name) const noexcept {
  const auto found = locate(who, what, name);
  return found != catching_up_.end() && !found->second->live;
}

void shard::forget(connection_impl& who, const catch_up& state) noexcept {
  const auto [first, last] = catching_up_.equal_range(&who);
  const auto found = std::find_if(first, last, [&](const auto& each) { return each.second.get() == &state; });
  if (found == last) return;
  catching_up_.erase(found);
  --who.catching_up;
}

bool shard::hold_back(connection_impl& to, frame_block* frame, const delivery& how, broadcast_part* part,
                      const audience& whom) {
  const auto found = locate(to, whom.what, whom.name);
  if (found == catching_up_.end()) return false;
  auto* const state = found->second.get();
  if (state->live) {
    if (state->has_seen(whom.number, whom.epoch)) return true;
    if (whom.number != 0) forget(to, *state);  // numbers come in order: nothing older can follow
    return false;
  }
  const auto count = [part] {
    if (!part) return;
    part->count_matched();
    part->count_queued();
  };
  const auto size = frame->payload().size();
  const bool fits = state->waiting.size() < limits().send_queue_messages &&
                    size <= limits().send_queue_bytes - std::min(state->bytes, limits().send_queue_bytes);
  if (!fits && whom.number == 0) {
    // It is kept nowhere else. A client that is still told of the past cannot keep up with the present.
    const bool evicts = how.policy() == overflow::evict;
    count();
    if (part) {
      if (evicts) part->count_evicted();
      part->settle(evicts ? outcome::closed : outcome::dropped, false);
    }
    evicts ? to.evict() : to.count_overflow();
    return true;
  }
  if (!fits) {
    // The store has them all, and is asked again. What has no number stays.
    state->overflowed = true;
    for (auto& each : state->waiting) {
      if (each.number != 0 && each.part) each.part->settle(outcome::pending, false);
    }
    std::erase_if(state->waiting, [](const auto& each) { return each.number != 0; });
    state->bytes = 0;
    for (const auto& each : state->waiting) state->bytes += each.what->payload().size();
    count();
    if (part) part->settle(outcome::pending, false);
    return true;
  }
  state->waiting.push_back({frame_ref{frame}, how.policy(), how.key(), part, whom.number, whom.epoch});
  state->bytes += size;
  count();
  return true;
}

void shard::go_live(connection_impl& who, const std::shared_ptr<catch_up>& state) {
  if (state->live) return;
  state->live = true;
  state->bytes = 0;
  bool beyond = state->last == 0;  // there is nothing that could come twice
  // An offer may write, and what was written may lead to further deliveries, but not to this list.
  for (auto& each : std::exchange(state->waiting, {})) {
    if (state->has_seen(each.number, each.epoch)) {
      if (each.part) each.part->settle(outcome::pending, false);  // the copy from the store is on its way
      continue;
    }
    beyond = beyond || each.number != 0;
    const auto verdict = who.offer(each.what.get(), each.policy, each.key.get(), each.part);
    if (!each.part || verdict.what == outcome::queued) continue;
    if (verdict.evicted) each.part->count_evicted();
    each.part->settle(verdict.what, false);
  }
  if (beyond) forget(who, *state);
}

void shard::let_go_of_held(connection_impl& who) noexcept {
  const auto [first, last] = catching_up_.equal_range(&who);
  std::vector<std::shared_ptr<catch_up>> states;
  for (auto each = first; each != last; ++each) states.push_back(each->second);
  catching_up_.erase(first, last);
  who.catching_up = 0;
  for (const auto& state : states) {
    state->live = true;
    for (auto& each : std::exchange(state->waiting, {})) {
      if (each.part) each.part->settle(outcome::closed, false);
    }
  }
}

}  // namespace skein::detail
