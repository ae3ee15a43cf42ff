#include "hub/shard.hpp"

#include "hub/broadcast.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <stdexcept>

namespace skein::detail {
namespace {

// An id is a generation, a place in the shard's table, and the shard.
constexpr unsigned shard_bits = 10;
constexpr unsigned place_bits = 22;

// How often the end of a turn may be put off because new messages keep coming.
constexpr unsigned max_looks = 64;
constexpr auto pulse_interval = std::chrono::seconds{1};
constexpr auto drain_step = std::chrono::milliseconds{10};

}  // namespace

void hub_shared::problem(std::string_view line) const noexcept {
  if (!options.on_problem) return;
  try {
    options.on_problem(line);
  } catch (...) {  // a log that fails must not take a connection with it
  }
}

admission_ticket hub_shared::admit() noexcept {
  auto now = taken.load(std::memory_order_relaxed);
  do {
    if (now >= options.max_connections) return {};
  } while (!taken.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel));
  return admission_ticket{taken};
}

shard::shard(asio::any_io_executor executor, std::shared_ptr<hub_shared> shared, unsigned index)
    : host(std::move(executor), shared->time, shared->options), shared_(std::move(shared)), index_(index) {
  const auto time = now();
  beat_.store(time.time_since_epoch().count(), std::memory_order_relaxed);
  set_deadline(pulse_, time + pulse_interval);
}

void shard::begin() {
  host::begin(weak_from_this());
}

void shard::let_go(bool announce) noexcept {
  const auto keep = shared_from_this();  // the connections may be the last owners
  for (std::size_t place = 0; place < slots_.size(); ++place) {
    if (auto* const who = std::exchange(slots_[place].who, nullptr)) who->lose(announce);
  }
}

void shard::pulse::on_deadline(time_point now) {
  owner.beat_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  owner.set_deadline(*this, now + pulse_interval);
}

// --- Registry ---

std::shared_ptr<connection_impl> shard::open(std::string_view route, connection_parts parts) {
  // What may fail for want of memory comes first, and leaves a place that is free.
  if (free_slots_.empty()) {
    slots_.emplace_back();
    free_slots_.reserve(slots_.capacity());  // so that a place that becomes free can be noted without memory
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size() - 1));
  }
  const auto place = free_slots_.back();
  auto& entry = slots_[place];
  ++entry.generation;
  const connection_id id = static_cast<connection_id>(entry.generation) << (shard_bits + place_bits) |
                           static_cast<connection_id>(place) << shard_bits | index_;
  auto known = routes_.find(route);
  if (known == routes_.end()) known = routes_.emplace(route).first;
  parts.where = shared_from_this();
  auto opened = std::make_shared<connection_impl>(id, &*known, std::move(parts));
  if (opened->admitted() && !opened->user().user.empty()) users.add(*opened, opened->user().user);
  entry.who = opened.get();
  entry.ended = false;
  free_slots_.pop_back();
  counters.open.add();
  counters.total.add();
  shared_->alive.fetch_add(1);
  if (opened->admitted()) tell_opened(*opened);
  opened->start();
  if (shared_->draining.load()) opened->begin_close(closed_by::local, close_code::going_away, {});
  return opened;
}

void shard::count_followers() noexcept {
  const auto write = [](counter& to, std::size_t value) { to.add(value - to.value()); };  // modulo 2^64
  write(topic_counts.subscriptions, followers.subscriptions());
  write(topic_counts.subscribers, followers.subscribers());
  write(topic_counts.topics, followers.topics());
}

bool shard::serve_topics(std::uint64_t number) noexcept {
  if (number < topics_number_) return false;
  if (number == topics_number_) return true;
  topics_number_ = number;
  followers.clear();
  presence.clear();
  count_followers();
  return true;
}

connection_impl* shard::find(connection_id id) const noexcept {
  const auto place = static_cast<std::size_t>(id >> shard_bits & ((1U << place_bits) - 1));
  if (place >= slots_.size()) return nullptr;
  auto* candidate = slots_[place].registered();
  return candidate && candidate->id() == id && candidate->admitted() ? candidate : nullptr;
}

void shard::on_admitted(connection_impl& who) {
  if (!who.user().user.empty()) users.add(who, who.user().user);
  tell_opened(who);
}

void shard::tell_opened(connection_impl& who) {
  if (!shared_->options.on_open) return;
  try {
    shared_->options.on_open(who);
  } catch (...) {
    problem("on_open threw: " + what_of(std::current_exception()));
  }
}

std::size_t shard::place_of(const connection_impl& who) const noexcept {
  return static_cast<std::size_t>(who.id() >> shard_bits & ((1U << place_bits) - 1));
}

void shard::on_ended(connection_impl& who) {
  slots_[place_of(who)].ended = true;
  followers.remove(who);
  count_followers();
  presence.leave_all(who);
  users.remove(who);
  if (who.catching_up != 0) let_go_of_held(who);
  if (who.marked) {
    std::erase(marked_, &who);
    std::replace(flushing_.begin(), flushing_.end(), &who, static_cast<connection_impl*>(nullptr));
    who.marked = false;
  }
  counters.closed.add();
  who.ticket.release();
  if (!shared_->options.on_closed || !who.admitted()) return;
  try {
    shared_->options.on_closed(who, who.close_reason());
  } catch (...) {
    problem("on_closed threw: " + what_of(std::current_exception()));
  }
}

void shard::on_joined(connection_impl& who) noexcept {
  const auto place = place_of(who);
  slots_[place].who = nullptr;
  free_slots_.push_back(static_cast<std::uint32_t>(place));
  // In one order with `begin_drain`, which stores `draining` and then loads `alive`.
  if (shared_->alive.fetch_sub(1) == 1 && shared_->draining.load()) {
    shared_->on_all_joined();
  }
}

// --- Sending ---

void shard::mark(connection_impl& who) {
  if (!who.marked) {
    marked_.push_back(&who);
    who.marked = true;
  }
  ++marks_;
  if (!turn_posted_) {
    looks_ = 0;
    post_end_turn();
  }
}

void shard::post_end_turn() {
  asio::post(executor(), [self = shared_from_this()] { self->end_turn(); });
  turn_posted_ = true;
  marks_seen_ = marks_;
}

void shard::end_turn() {
  // What was ready has run once around. If it brought new messages, what they led to may bring more: look
  // again, but not for ever.
  if ((marks_ != marks_seen_ || looks_ == 0) && looks_ < max_looks) {
    ++looks_;
    try {
      post_end_turn();
      return;
    } catch (...) {  // for want of memory: then it ends now
    }
  }
  turn_posted_ = false;
  flushing_.swap(marked_);
  for (auto*& who : flushing_) {
    if (!who) continue;
    who->marked = false;
    auto* const writing = std::exchange(who, nullptr);
    writing->flush();
  }
  flushing_.clear();
}

// Inline in both loops: this is what a broadcast does for each recipient.
[[gnu::always_inline]] inline bool shard::accepts(connection_impl& to, const delivery& how,
                                                  const std::string* route) {
  if (!to.is_open() || !to.admitted() || (route && to.route_name() != route)) return false;
  if (how.except() != 0 && to.id() == how.except()) return false;
  if (const auto& wanted = how.where()) {
    try {
      return wanted(to) && to.is_open();
    } catch (...) {
      problem("a delivery's predicate threw: " + what_of(std::current_exception()));
      return false;
    }
  }
  return true;
}

[[gnu::always_inline]] inline void shard::offer_to(connection_impl& to, frame_block* frame, overflow policy,
                                                   const std::string* key, broadcast_part* part) {
  if (!part) {
    to.offer(frame, policy, key, nullptr);
    return;
  }
  part->count_matched();
  part->count_queued();  // before the offer, which may settle it
  const auto verdict = to.offer(frame, policy, key, part);
  if (verdict.what == outcome::queued) return;
  --part->outstanding_;
  if (verdict.what == outcome::dropped) {
    part->count_dropped();
  } else {
    part->count_closed(verdict.evicted);
  }
}

void shard::deliver(frame_block* frame, const delivery& how, broadcast_part* part, const audience* whom) {
  const std::string* route = nullptr;
  if (!how.route().empty()) {
    const auto known = routes_.find(how.route());
    if (known == routes_.end()) return;
    route = &*known;
  }
  if (whom) {
    deliver_to_audience(frame, how, route, part, *whom);
    return;
  }
  const auto* const key = how.key().get();
  // By place, because a predicate or an eviction may change the table.
  for (std::size_t place = 0; place < slots_.size(); ++place) {
    // The connections of a large shard are not in the cache, and each is touched in two steps.
    if (place + 4 < slots_.size() && slots_[place + 4].registered()) {
      __builtin_prefetch(slots_[place + 4].registered()->hot());
    }
    if (place + 2 < slots_.size() && slots_[place + 2].registered())
      slots_[place + 2].registered()->prefetch();
    auto* const to = slots_[place].registered();
    if (to && accepts(*to, how, route)) offer_to(*to, frame, how.policy(), key, part);
  }
}

bool shard::passes(const topic_filter& filter, const connection_impl& to, std::string_view topic) {
  try {
    return filter(to, topic);
  } catch (...) {
    problem("may_receive threw: " + what_of(std::current_exception()));
    return false;
  }
}

void shard::deliver_to_audience(frame_block* frame, const delivery& how, const std::string* route,
                                broadcast_part* part, const audience& whom) {
  // A list of its own, because a predicate may subscribe, unsubscribe or publish. Nobody in it goes before
  // the end of this turn.
  auto found = std::exchange(found_, {});
  (whom.what == audience::kind::user ? users : followers).match(whom.name, found);
  const auto* const key = how.key().get();
  auto* const other_form = whom.enveloped ? whom.enveloped.block() : frame;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (i + 4 < found.size()) __builtin_prefetch(found[i + 4]->hot());
    if (i + 2 < found.size()) found[i + 2]->prefetch();
    auto& to = *found[i];
    if (!accepts(to, how, route) || (whom.filter && !passes(*whom.filter, to, whom.name))) continue;
    auto* const form = to.wants_envelopes ? other_form : frame;
    if (to.catching_up != 0 && hold_back(to, form, how, part, whom)) continue;
    offer_to(to, form, how.policy(), key, part);
  }
  found.clear();
  if (found.capacity() > found_.capacity()) found_ = std::move(found);
}

std::exception_ptr shard::for_each(const std::function<void(connection&)>& visit) {
  std::exception_ptr first;
  for (std::size_t place = 0; place < slots_.size(); ++place) {
    auto* const who = slots_[place].registered();
    if (!who || !who->admitted()) continue;
    try {
      visit(*who);
    } catch (...) {
      if (!first) first = std::current_exception();
    }
  }
  return first;
}

// --- Shutdown ---

void shard::start_drain() {
  drainer_.begun = now();
  drainer_.on_deadline(drainer_.begun);
}

void shard::drainer::on_deadline(time_point now) {
  const auto rate = static_cast<double>(owner.shared_->options.drain_rate);
  const auto shards = static_cast<double>(owner.shared_->shard_count);
  const std::chrono::duration<double> elapsed = now - begun + drain_step;
  // The shards' shares, rounded down, add up to the whole, rounded down (Hermite's identity).
  const auto due = static_cast<std::size_t>(elapsed.count() * rate / shards + owner.index_ / shards);
  while (next < owner.slots_.size() && (rate == 0 || closed < due)) {
    auto* const who = owner.slots_[next++].registered();
    if (!who || !who->is_open()) continue;
    who->begin_close(closed_by::local, close_code::going_away, {});
    ++closed;
  }
  if (next < owner.slots_.size()) owner.set_deadline(*this, now + drain_step);
}

void shard::force_all() {
  for (std::size_t place = 0; place < slots_.size(); ++place) {
    if (auto* const who = slots_[place].registered()) who->force();
  }
}

void shard::cancel_handlers() {
  for (std::size_t place = 0; place < slots_.size(); ++place) {
    if (auto* const who = slots_[place].who) who->cancel_handler();
  }
}

own_connection own(connection& who, const hub_shared& of) {
  auto* const mine = dynamic_cast<connection_impl*>(&who);
  if (!mine || &static_cast<shard&>(mine->where()).shared() != &of)
    throw std::invalid_argument{"this connection is not one of the manager's"};
  return {static_cast<shard&>(mine->where()).shared_from_this(),
          std::static_pointer_cast<connection_impl>(mine->shared_from_this())};
}

}  // namespace skein::detail
