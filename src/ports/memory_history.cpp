#include "ports/memory_history.hpp"

#include "ports/history_rules.hpp"

#include <algorithm>
#include <utility>

namespace skein::detail {
namespace {

template <class T>
void grow_if_full(boost::circular_buffer<T>& buffer) {
  if (buffer.full()) buffer.set_capacity(std::max<std::size_t>(4, 2 * buffer.capacity()));
}

}  // namespace

memory_history::topic* memory_history::find(const std::string& name) {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return nullptr;
  topics_.splice(topics_.begin(), topics_, found->second);
  return &topics_.front();
}

memory_history::topic& memory_history::use(std::string name) {
  if (auto* const found = find(name)) return *found;
  topics fresh(1);
  fresh.front().epoch = next_epoch(name);
  fresh.front().name = std::move(name);
  by_name_.emplace(fresh.front().name, fresh.begin());
  topics_.splice(topics_.begin(), fresh);
  bytes_ += owner_overhead + topics_.front().name.size();
  return topics_.front();
}

topic_position memory_history::append(std::string name, prepared_message what, const history_limits& limits,
                                      wall_time now) {
  auto& to = use(std::move(name));
  const auto size = what.size();
  const bool fits = limits.max_messages != 0 && (limits.max_bytes == 0 || size <= limits.max_bytes);
  trim_age(to, now);  // what the limits until now have ended does not come back with new ones
  if (fits) grow_if_full(to.entries);  // the last that may throw
  ++counted_.appends;
  counted_.bytes_in += size;
  ++to.last;
  to.last_at = std::max(to.last_at, now);
  to.max_age = limits.max_age;
  if (!fits) {
    --to.last;  // so that the entries have their own offsets while they go
    counted_.trimmed += to.entries.size() + 1;
    drop_all(to);
    ++to.last;
    return {to.epoch, to.last};
  }
  to.entries.push_back({std::move(what), to.last_at});
  to.payload_bytes += size;
  bytes_ += size + message_overhead;
  while (to.entries.size() > limits.max_messages ||
         (limits.max_bytes != 0 && to.payload_bytes > limits.max_bytes)) {
    drop_oldest(to);
    ++counted_.trimmed;
  }
  trim_age(to, now);
  return {to.epoch, to.last};
}

history_page memory_history::read(const std::string& name, const topic_position& since, page_limits most,
                                  wall_time now) {
  auto* const known = find(name);
  history_page page;
  if (!known) {
    page.current = {next_epoch(name), 0};
    page.recovered = start_after(since, {page.current.epoch, 1, 0}).recovered;
    return page;
  }
  auto& from = *known;
  trim_age(from, now);
  page.current = {from.epoch, from.last};
  const auto start = start_after(since, {from.epoch, from.first(), from.last});
  page.recovered = start.recovered;
  page_room room{most};
  for (auto offset = start.offset; offset <= from.last; ++offset) {
    const auto& each = from.entries[static_cast<std::size_t>(offset - from.first())];
    if (!room.take(each.what.size())) {
      page.more = true;
      break;
    }
    page.publications.push_back({offset, each.published_at, each.what});
  }
  return page;
}

topic_position memory_history::position(const std::string& name) {
  const auto* const of = find(name);
  return of ? topic_position{of->epoch, of->last} : topic_position{next_epoch(name), 0};
}

bool memory_history::forget(const std::string& name) {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return false;
  remove(found->second);
  return true;
}

void memory_history::shed_to(std::size_t most) {
  while (bytes_ > most) {
    const auto oldest = std::prev(topics_.end());
    if (oldest->entries.empty()) {
      remove(oldest);
    } else {
      drop_oldest(*oldest);
      ++counted_.shed;
    }
  }
}

std::string memory_history::next_epoch(const std::string& name) {
  if (epoch_seed_.empty()) epoch_seed_ = new_epoch_seed();
  return epoch_of(epoch_seed_, name);
}

void memory_history::drop_oldest(topic& from) {
  const auto size = from.entries.front().what.size();
  from.payload_bytes -= size;
  bytes_ -= size + message_overhead;
  from.entries.pop_front();
}

void memory_history::drop_all(topic& from) {
  bytes_ -= from.payload_bytes + from.entries.size() * message_overhead;
  from.payload_bytes = 0;
  boost::circular_buffer<entry>().swap(from.entries);
}

void memory_history::trim_age(topic& of, wall_time now) {
  if (of.entries.empty() || of.max_age <= std::chrono::nanoseconds{0}) return;
  const auto over = latest_over(now, of.max_age);
  while (!of.entries.empty() && of.entries.front().published_at <= over) {
    drop_oldest(of);
    ++counted_.trimmed;
  }
}

void memory_history::remove(topics::iterator which) {
  drop_all(*which);
  bytes_ -= owner_overhead + which->name.size();
  by_name_.erase(which->name);
  topics_.erase(which);
  epoch_seed_.clear();
  ++counted_.forgotten;
}

}  // namespace skein::detail
