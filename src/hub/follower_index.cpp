#include "hub/follower_index.hpp"

#include "hub/topic_name.hpp"

#include <algorithm>

namespace skein::detail {

bool follower_index::add(connection_impl& who, std::string_view pattern) {
  auto& mine = subscribers_[&who];
  auto& places = mine.places;
  const auto had = std::any_of(places.begin(), places.end(),
                               [pattern](const place& one) { return *one.in->name == pattern; });
  if (had) return false;
  list* into = nullptr;
  try {
    if (places.size() == places.capacity()) places.reserve(std::max<std::size_t>(2, 2 * places.size()));
    into = &list_of(pattern);
    into->members.push_back({&who, &mine, places.size()});
    places.push_back({into, into->members.size() - 1});  // does not throw
  } catch (...) {                                        // for want of memory
    if (into && into->members.empty()) leave({into, 0});
    if (places.empty()) subscribers_.erase(&who);
    throw;
  }
  ++subscriptions_;
  return true;
}

bool follower_index::is_pattern(std::string_view name) const noexcept {
  return kind_ == names::patterns && has_wildcards(name);
}

follower_index::list& follower_index::list_of(std::string_view pattern) {
  if (const auto known = lists_.find(pattern); known != lists_.end()) return known->second;
  const auto made = lists_.emplace(std::string{pattern}, list{}).first;
  made->second.name = &made->first;
  if (is_pattern(pattern)) {
    try {
      plant(pattern, &made->second);
    } catch (...) {
      uproot(patterns_, pattern);
      lists_.erase(made);
      throw;
    }
  }
  return made->second;
}

bool follower_index::remove(const connection_impl& who, std::string_view pattern) {
  const auto known = subscribers_.find(&who);
  if (known == subscribers_.end()) return false;
  auto& places = known->second.places;
  const auto found = std::find_if(places.begin(), places.end(),
                                  [pattern](const place& one) { return *one.in->name == pattern; });
  if (found == places.end()) return false;
  const auto left = *found;
  *found = places.back();
  places.pop_back();
  if (found != places.end()) {
    found->in->members[found->index].slot = static_cast<std::size_t>(found - places.begin());
  }
  leave(left);
  --subscriptions_;
  if (places.empty()) subscribers_.erase(known);
  return true;
}

void follower_index::remove(const connection_impl& who) noexcept {
  const auto known = subscribers_.find(&who);
  if (known == subscribers_.end()) return;
  for (const auto& left : known->second.places) leave(left);
  subscriptions_ -= known->second.places.size();
  subscribers_.erase(known);
}

/// Takes a member out of its list, which goes with the last of them.
void follower_index::leave(const place& left) noexcept {
  auto& members = left.in->members;
  if (left.index < members.size()) {
    members[left.index] = members.back();
    members.pop_back();
    if (left.index < members.size()) {
      const auto& moved = members[left.index];
      moved.who->places[moved.slot].index = left.index;
    }
  }
  if (!members.empty()) return;
  if (is_pattern(*left.in->name)) uproot(patterns_, *left.in->name);
  lists_.erase(lists_.find(*left.in->name));
}

// --- The tree ---

void follower_index::plant(std::string_view pattern, list* what) {
  auto* at = &patterns_;
  while (!pattern.empty()) {
    const auto [token, rest] = split_token(pattern);
    if (token == ">") {
      at->goes_on = what;
      return;
    }
    auto child = at->children.find(token);
    if (child == at->children.end()) {
      child = at->children.emplace(std::string{token}, std::make_unique<node>()).first;
    }
    at = child->second.get();
    pattern = rest;
  }
  at->ends_here = what;
}

/// Whether `from` is of no use any more.
bool follower_index::uproot(node& from, std::string_view rest) noexcept {
  if (rest.empty()) {
    from.ends_here = nullptr;
    return from.unused();
  }
  const auto [token, more] = split_token(rest);
  if (token == ">") {
    from.goes_on = nullptr;
    return from.unused();
  }
  const auto child = from.children.find(token);
  if (child != from.children.end() && uproot(*child->second, more)) from.children.erase(child);
  return from.unused();
}

void follower_index::walk(const node& from, std::string_view rest) {
  if (rest.empty()) {
    if (from.ends_here) matched_.push_back(from.ends_here);
    return;
  }
  if (from.goes_on) matched_.push_back(from.goes_on);
  if (from.children.empty()) return;
  const auto [token, more] = split_token(rest);
  if (const auto child = from.children.find(std::string_view{"*"}); child != from.children.end())
    walk(*child->second, more);
  if (const auto child = from.children.find(token); child != from.children.end()) {
    walk(*child->second, more);
  }
}

void follower_index::match(std::string_view topic, std::vector<connection_impl*>& found) {
  matched_.clear();
  if (const auto exact = lists_.find(topic); exact != lists_.end()) matched_.push_back(&exact->second);
  if (kind_ == names::patterns) walk(patterns_, topic);
  std::size_t most = found.size();
  for (const auto* one : matched_) most += one->members.size();
  found.reserve(most);
  if (matched_.size() == 1) {
    for (const auto& one : matched_.front()->members) found.push_back(one.connection);
    return;
  }
  ++publication_;
  for (const auto* each : matched_) {
    for (const auto& one : each->members) {
      if (one.who->seen_in == publication_) continue;
      one.who->seen_in = publication_;
      found.push_back(one.connection);
    }
  }
}

void follower_index::match_exactly(std::string_view name, std::vector<connection_impl*>& found) const {
  const auto exact = lists_.find(name);
  if (exact == lists_.end()) return;
  for (const auto& one : exact->second.members) found.push_back(one.connection);
}

// --- What there is ---

std::size_t follower_index::count(const connection_impl& who) const noexcept {
  const auto known = subscribers_.find(&who);
  return known == subscribers_.end() ? 0 : known->second.places.size();
}

bool follower_index::has(const connection_impl& who, std::string_view pattern) const noexcept {
  const auto known = subscribers_.find(&who);
  return known != subscribers_.end() &&
         std::any_of(known->second.places.begin(), known->second.places.end(),
                     [pattern](const place& one) { return *one.in->name == pattern; });
}

std::vector<std::string> follower_index::patterns(const connection_impl& who) const {
  std::vector<std::string> all;
  const auto known = subscribers_.find(&who);
  if (known == subscribers_.end()) return all;
  for (const auto& one : known->second.places) all.push_back(*one.in->name);
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace skein::detail
