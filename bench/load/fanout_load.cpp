#include "fanout_load.hpp"

#include <algorithm>
#include <bit>

namespace skein::bench {
namespace {

constexpr std::uint32_t fixed_mask = 0x5ca1ab1e;
constexpr std::size_t max_remembered_gaps = 100'000;
constexpr std::uint16_t no_close_frame = 1006;

/// How far `sequence` is past `other`; negative when it is before it.
constexpr std::int32_t distance(std::uint32_t other, std::uint32_t sequence) noexcept {
  return static_cast<std::int32_t>(sequence - other);
}

}  // namespace

// One place more than can be in flight: the number after the last one must not look like the first.
fanout_channel::fanout_channel(std::uint32_t max_in_flight, std::uint32_t thread_count)
    : flights(std::bit_ceil(max_in_flight + 1)),
      ring_mask(static_cast<std::uint32_t>(flights.size() - 1)),
      threads(thread_count) {}

void fanout_tally::merge(const fanout_tally& other) {
  deliveries += other.deliveries;
  publications += other.publications;
  missing += other.missing;
  duplicate += other.duplicate;
  out_of_order += other.out_of_order;
  corrupt += other.corrupt;
  unsent += other.unsent;
  deflate = deflate || other.deflate;
  last_delivery_ns.merge(other.last_delivery_ns);
  last_delivery_service_ns.merge(other.last_delivery_service_ns);
  delivery_ns.merge(other.delivery_ns);
  stalled += other.stalled;
  stalled_ended += other.stalled_ended;
  stalled_caught_up += other.stalled_caught_up;
  stalled_deliveries += other.stalled_deliveries;
  stalled_skipped += other.stalled_skipped;
  stalled_outstanding += other.stalled_outstanding;
  for (const auto& [code, count] : other.stalled_close_codes) stalled_close_codes[code] += count;
}

fanout_load::fanout_load(const run_context& run, const fanout_options& options, fanout_channel& channel,
                         std::uint32_t thread, std::uint32_t connections)
    : load(run.handshake, thread),
      kind_(run.common.kind()),
      channel_(channel),
      window_(options.window),
      publishes_(thread == 0),
      body_(options.size, options.json_payload),
      frame_(body_, kind_, fixed_mask),
      receivers_of_(connections),
      digits_(channel.flights.size()),
      arrivals_(channel.flights.size()),
      ring_mask_(channel.ring_mask) {
  for (std::uint32_t i = 0; i < digits_.size(); ++i) digits_[i] = make_token(i);
  if (publishes_) channel.publisher = &driver();
  if (publishes_ && options.rate > 0) pace_.emplace(options.rate);
}

fanout_tally fanout_load::result() const {
  auto all = tally_;
  for (auto sequence = local_done_; sequence != published(); ++sequence)
    all.missing += receivers_ - arrivals_[sequence & ring_mask_];
  add_stalled(all);
  if (!pace_ || !started_ || publisher_gone_ || !stopped()) return all;
  // What has not arrived by now took at least so long.
  const auto still_waits = [&](std::int64_t due) {
    if (window().contains(due)) all.last_delivery_ns.record(elapsed_ns(due, driver().read_time_ns()));
  };
  for (auto sequence = channel_.done.load(); sequence != published(); ++sequence)
    still_waits(channel_.of(sequence).due_ns);
  all.unsent = record_overdue(all.last_delivery_ns, *pace_, next_slot_, window(), driver().read_time_ns());
  return all;
}

void fanout_load::start() {
  started_ = true;
  if (pace_) pace_->start(driver().tick());
}

std::int64_t fanout_load::take_turn(std::int64_t now) {
  if (!publishes_) return never_ns;
  publish_due(now);
  const bool over = stopped() && !goes_on_ && (!pace_ || pace_->due_ns(next_slot_) >= window().end_ns);
  return pace_ && started_ && !publisher_gone_ && !over && has_room() ? pace_->due_ns(next_slot_) : never_ns;
}

bool fanout_load::finished() const {
  // Only the publisher's thread knows that nothing more will be published; it must not be content with its
  // own connections, since another thread may have been once, before the last message.
  const auto done = publishes_ ? channel_.done.load(std::memory_order_acquire) : local_done_;
  return done == published() && (!pace_ || !started_ || pace_->due_ns(next_slot_) >= window().end_ns);
}

bool fanout_load::has_room() const noexcept {
  return published() - channel_.done.load(std::memory_order_acquire) < window_;
}

void fanout_load::publish_due(std::int64_t now) {
  if (!started_ || publisher_gone_) return;
  if (pace_) {
    // What was due in the window is sent even after its end.
    const auto last = goes_on_ ? now : std::min(now, window().end_ns - 1);
    auto left = most_slots_a_turn;
    for (; left != 0 && has_room() && pace_->due_ns(next_slot_) <= last; ++next_slot_, --left)
      publish(pace_->due_ns(next_slot_));
  } else {
    while (sends_more() && has_room()) publish(driver().read_time_ns());
  }
}

void fanout_load::publish(std::int64_t due_ns) {
  auto& socket = *driver().sockets().back();
  const auto sequence = published();
  auto& sent = channel_.of(sequence);
  sent.due_ns.store(due_ns, std::memory_order_relaxed);
  sent.sent_ns.store(driver().read_time_ns(), std::memory_order_relaxed);
  sent.threads_left.store(channel_.threads, std::memory_order_relaxed);
  channel_.published.store(sequence + 1, std::memory_order_release);
  const auto digits = digits_[sequence & ring_mask_];
  if (socket.deflate())
    append_frame(socket.output(), kind_, true, deflater_.compress(body_.with(digits)), fixed_mask);
  else
    frame_.append_to(socket.output(), digits);
}

void fanout_load::on_open(client_socket& socket) {
  ++receivers_;
  if (!is_publisher(socket)) return;
  publisher_gone_ = false;
  tally_.deflate = socket.deflate();
}

void fanout_load::on_message(client_socket& socket, const message_view& message) {
  auto& who = receivers_of_[socket.index()];
  if (who.stalled) [[unlikely]]
    return stalled_message(who, message);
  const auto sequence = who.expected;
  if (message.compressed && !is_publisher(socket)) {
    if (sequence == published()) {
      ++tally_.duplicate;
      return;
    }
  } else {
    const auto digits = digits_of(socket, message);
    if (digits != digits_[sequence & ring_mask_]) return misplaced(socket.index(), digits);
  }
  ++who.expected;
  delivered(sequence);
}

void fanout_load::on_lost(client_socket& socket) {
  auto& who = receivers_of_[socket.index()];
  if (who.stalled) {
    ++tally_.stalled_ended;
    ++tally_.stalled_close_codes[socket.close_code() != 0 ? socket.close_code() : no_close_frame];
    return;
  }
  if (is_publisher(socket)) publisher_gone_ = true;
  tally_.missing += published() - who.expected;
  leave(who);
}

/// The publisher's own copy is looked at as a whole.
token fanout_load::digits_of(const client_socket& socket, const message_view& message) {
  if (!is_publisher(socket)) return body_.token_of(message.payload);
  const auto text = message.compressed ? inflater_.expand(message.payload, body_.size()) : message.payload;
  return message.kind == kind_ && body_.same_filler(text) ? body_.token_of(text) : 0;
}

void fanout_load::delivered(std::uint32_t sequence) {
  ++received_;
  const auto now = driver().read_time_ns();
  const auto due = channel_.of(sequence).due_ns.load(std::memory_order_relaxed);
  if (window().contains(now)) ++tally_.deliveries;
  if (window().contains(due)) tally_.delivery_ns.record(elapsed_ns(due, now));
  settle(sequence);
}

/// One connection less to wait for. Each connection's sequence only rises, so messages are done in order.
void fanout_load::settle(std::uint32_t sequence) {
  if (++arrivals_[sequence & ring_mask_] == receivers_) settle_complete();
}

void fanout_load::settle_complete() {
  const auto now = driver().read_time_ns();
  while (local_done_ != published() && arrivals_[local_done_ & ring_mask_] == receivers_) {
    const auto sequence = local_done_++;
    arrivals_[sequence & ring_mask_] = 0;
    digits_[sequence & ring_mask_] = make_token(sequence + static_cast<std::uint32_t>(digits_.size()));
    auto& ended = channel_.of(sequence);
    if (ended.threads_left.fetch_sub(1, std::memory_order_acq_rel) != 1) continue;
    const auto due = ended.due_ns.load(std::memory_order_relaxed);
    if (window().contains(now)) ++tally_.publications;
    if (window().contains(due)) {
      tally_.last_delivery_ns.record(elapsed_ns(due, now));
      tally_.last_delivery_service_ns.record(elapsed_ns(ended.sent_ns.load(std::memory_order_relaxed), now));
    }
    channel_.done.fetch_add(1, std::memory_order_release);
    if (!publishes_) channel_.publisher->wake();
  }
  if (publishes_) publish_due(now);
}

void fanout_load::misplaced(std::uint32_t index, token digits) {
  const auto sequence = parse_token(digits);
  auto& expected = receivers_of_[index].expected;
  if (!sequence || distance(published(), *sequence) >= 0) {
    ++tally_.corrupt;
  } else if (distance(expected, *sequence) < 0) {
    if (gaps_.erase({index, *sequence}) == 0) {
      ++tally_.duplicate;
    } else {
      ++tally_.out_of_order;
      --tally_.missing;
    }
  } else {
    while (expected != *sequence) {
      ++tally_.missing;
      if (gaps_.size() < max_remembered_gaps) gaps_.emplace(index, expected);
      settle(expected++);
    }
    ++expected;
    delivered(*sequence);
  }
}

/// This connection is no longer waited for, nor does what it has received count for what is still in flight.
void fanout_load::leave(const receiver& who) {
  for (auto sequence = local_done_; distance(sequence, who.expected) > 0; ++sequence)
    --arrivals_[sequence & ring_mask_];
  --receivers_;
  settle_complete();
}

void fanout_load::stall(std::uint32_t count, int receive_buffer_bytes) {
  for (std::uint32_t i = 0; i < count; ++i) {
    auto& socket = *driver().sockets()[i];
    if (!socket.is_open()) continue;
    socket.pause_reading(receive_buffer_bytes);
    auto& who = receivers_of_[i];
    who.stalled = true;
    who.stalled_from = who.expected;
    ++tally_.stalled;
    leave(who);
  }
}

void fanout_load::resume() {
  resumed_at_ = published();
  goes_on_ = true;
  for (auto& socket : driver().sockets()) socket->resume_reading();
}

/// What became of those that stopped reading, and are still there.
void fanout_load::add_stalled(fanout_tally& all) const {
  for (std::size_t i = 0; i < receivers_of_.size(); ++i) {
    const auto& who = receivers_of_[i];
    if (!who.stalled || driver().sockets()[i]->is_closed()) continue;
    const auto passed = who.expected - who.stalled_from;
    all.stalled_skipped += passed > who.stalled_got ? passed - who.stalled_got : 0;
    if (caught_up(who))
      ++all.stalled_caught_up;
    else
      all.stalled_outstanding += published() - who.expected;
  }
}

/// It has what was published since all read again.
bool fanout_load::caught_up(const receiver& who) const noexcept {
  return distance(resumed_at_, who.expected) > 0;
}

bool fanout_load::stalled_caught_up() const {
  for (std::size_t i = 0; i < receivers_of_.size(); ++i)
    if (receivers_of_[i].stalled && !driver().sockets()[i]->is_closed() && !caught_up(receivers_of_[i]))
      return false;
  return true;
}

void fanout_load::stalled_message(receiver& who, const message_view& message) {
  ++tally_.stalled_deliveries;
  const auto text = message.compressed ? inflater_.expand(message.payload, body_.size()) : message.payload;
  const auto sequence = parse_token(body_.token_of(text));
  // In any order: a newer one may have been put in the place of an older. None comes twice.
  if (!sequence || distance(who.stalled_from, *sequence) < 0 || distance(published(), *sequence) >= 0) {
    ++tally_.corrupt;
    return;
  }
  ++who.stalled_got;
  if (distance(who.expected, *sequence) >= 0) who.expected = *sequence + 1;
  if (who.stalled_got > who.expected - who.stalled_from) ++tally_.duplicate;
}

}  // namespace skein::bench
