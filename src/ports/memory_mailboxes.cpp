#include "ports/memory_mailboxes.hpp"

#include "ports/history_rules.hpp"
#include "ports/memory_history.hpp"

#include <skein/error.hpp>

#include <boost/system/system_error.hpp>

#include <iterator>

namespace skein::detail {

kept_message memory_mailboxes::keep(std::string user, prepared_message what, const offline_limits& limits,
                                    std::size_t most, wall_time now) {
  const auto size = what.size();
  const auto room = limits.max_bytes;
  expire(user, now);
  auto* box = find(user);

  // Who makes room, before anything changes.
  kept_message result;
  std::size_t freed = 0;
  if (box != nullptr) {
    auto& [entries, payload_bytes] = box->second;
    for (auto each = entries.begin();
         each != entries.end() && (entries.size() - result.pushed_out >= limits.max_messages ||
                                   (room != 0 && payload_bytes - freed > room - size));
         ++each) {
      ++result.pushed_out;
      freed += each->second.what.size();
    }
  }
  const auto before = freed + result.pushed_out * message_overhead;
  const auto after = size + message_overhead + (box == nullptr ? owner_overhead + user.size() : 0);
  const auto fits = [&] { return after <= most && bytes_ - before <= most - after; };
  if (!fits()) expire_all(now);  // of other users, so `box` stays what it is
  if (!fits()) throw boost::system::system_error{make_error_code(errc::store_full)};

  if (box == nullptr) {
    box = &*mailboxes_.try_emplace(std::move(user)).first;
    bytes_ += owner_overhead + box->first.size();
  }
  auto& [entries, payload_bytes] = box->second;
  const auto end = end_of(now, limits.expiry);
  result.id = next_;
  entries.emplace_hint(entries.end(), next_, entry{std::move(what), now, end});
  ++next_;
  payload_bytes += size;
  bytes_ += size + message_overhead;
  if (end != wall_time::max()) ends_.emplace(std::pair{end, result.id}, box);
  for (auto left = result.pushed_out; left > 0; --left) erase(*box, entries.begin());
  ++counted_.kept;
  counted_.bytes_in += size;
  counted_.pushed_out += result.pushed_out;
  return result;
}

std::vector<stored_message> memory_mailboxes::waiting(const std::string& user, stored_id after,
                                                      page_limits most, wall_time now) {
  std::vector<stored_message> page;
  expire(user, now);
  const auto* const box = find(user);
  if (box == nullptr) return page;
  page_room room{most};
  const auto& entries = box->second.entries;
  for (auto each = entries.upper_bound(after); each != entries.end(); ++each) {
    if (!room.take(each->second.what.size())) break;
    page.push_back({each->first, each->second.kept_at, each->second.what});
  }
  return page;
}

bool memory_mailboxes::acknowledge(const std::string& user, stored_id id, wall_time now) {
  expire(user, now);
  auto* const box = find(user);
  if (box == nullptr) return false;
  const auto which = box->second.entries.find(id);
  if (which == box->second.entries.end()) return false;
  erase(*box, which);
  drop_if_empty(box);
  ++counted_.acknowledged;
  return true;
}

void memory_mailboxes::expire(const std::string& of, wall_time now) {
  constexpr std::size_t affordable = 64;  // more than a call adds, so that the calls keep up
  expire_some(affordable, now);
  if (ends_.empty() || ends_.begin()->first.first > now) return;
  auto* const box = find(of);
  if (box == nullptr) return;
  auto& entries = box->second.entries;
  for (auto each = entries.begin(); each != entries.end();) {
    const auto which = each++;
    if (!is_over(which->second.end, now)) continue;
    erase(*box, which);
    ++counted_.expired;
  }
  drop_if_empty(box);
}

void memory_mailboxes::expire_some(std::size_t most, wall_time now) {
  for (; most > 0 && !ends_.empty() && ends_.begin()->first.first <= now; --most) {
    auto* const box = ends_.begin()->second;
    erase(*box, box->second.entries.find(ends_.begin()->first.second));
    ++counted_.expired;
    drop_if_empty(box);
  }
}

void memory_mailboxes::erase(mailboxes::value_type& from, std::map<stored_id, entry>::iterator which) {
  const auto size = which->second.what.size();
  from.second.payload_bytes -= size;
  bytes_ -= size + message_overhead;
  if (which->second.end != wall_time::max()) ends_.erase({which->second.end, which->first});
  from.second.entries.erase(which);
}

void memory_mailboxes::drop_if_empty(mailboxes::value_type* which) {
  if (!which->second.entries.empty()) return;
  bytes_ -= owner_overhead + which->first.size();
  mailboxes_.erase(which->first);
}

memory_mailboxes::mailboxes::value_type* memory_mailboxes::find(const std::string& user) {
  const auto found = mailboxes_.find(user);
  return found == mailboxes_.end() ? nullptr : &*found;
}

}  // namespace skein::detail
