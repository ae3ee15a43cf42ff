// How a connection sends: into the channel, and out of it at the end of the turn.

#include "connection/connection_impl.hpp"
#include "wire/deflate.hpp"

#include <array>

namespace skein::detail {
namespace {

// One gather write takes this much; beyond it a further system call costs little in comparison.
constexpr std::size_t max_buffers = 64;
constexpr std::size_t max_write_bytes = 256 * 1024;
// What is as large as this is written at once, while it is in the cache: a system call more costs little
// beside it.
constexpr std::size_t prompt_bytes = 16 * 1024;
// A connection that could go on writing yields to the others after this many writes.
constexpr int max_writes_at_once = 8;

}  // namespace

connection_impl::verdict connection_impl::offer(frame_ref& frame, overflow policy, const std::string* key,
                                                outcome_sink* who) noexcept {
  bool taken = false;
  try {
    return offer_to_channel(frame, policy, key, who, taken);
  } catch (...) {
    fail(std::current_exception());  // which settles what the channel has
    return {taken ? outcome::queued : outcome::closed};
  }
}

connection_impl::verdict connection_impl::offer_to_channel(frame_ref& frame, overflow policy,
                                                           const std::string* key, outcome_sink* who,
                                                           bool& taken) {
  if (!is_open()) return {outcome::closed};
  send_channel::item item;
  item.sink = who;
  const auto& compression = host_->options().compression;
  const auto payload_size = frame->payload().size();
  if (window_bits_ != 0 && payload_size >= compression.threshold &&
      window_suffices(payload_size, window_bits_)) {
    item.wire_size = static_cast<std::uint32_t>(frame->compressed(compression.level).size());
    item.compressed = frame->has_compressed();
  } else {
    item.wire_size = static_cast<std::uint32_t>(frame->plain().size());
  }
  item.frame = std::move(frame);

  std::size_t bytes_before = 0;
  for (;;) {
    bytes_before = channel_.bytes();
    const auto admitted =
        policy == overflow::conflate && key != nullptr ? push_keyed(item, *key) : channel_.push(item);
    taken = admitted != send_channel::admission::full;
    if (admitted == send_channel::admission::queued) [[likely]] {
      host_->counters.queued_messages.add();
      break;
    }
    if (admitted == send_channel::admission::replaced) break;
    // What was sent in this turn may not have been written yet only because the turn has not ended.
    if (!stalled_ && !flushing_) {
      const auto written_before = messages_out_;
      flush();
      if (!is_open()) return {outcome::closed};
      if (messages_out_ != written_before || channel_.has_room_for(item.wire_size)) continue;
    }
    switch (policy) {
      case overflow::wait:
        frame = std::move(item.frame);
        return {outcome::pending};
      case overflow::evict:
        evict();
        return {outcome::closed, true};
      case overflow::drop:
      case overflow::conflate:
        count_overflow();
        return {outcome::dropped};
    }
  }
  host_->counters.queued_bytes.add(channel_.bytes() - bytes_before);  // modulo 2^64, should it have shrunk
  if (!stalled_ && !flushing_ && (channel_.size() >= max_buffers || channel_.bytes() >= prompt_bytes)) {
    flush();  // waiting for more would not make the write any better
  } else {
    mark();
  }
  return {outcome::queued};
}

void connection_impl::count_overflow() {
  ++dropped_;
  host_->counters.dropped_overflow.add();
}

send_channel::admission connection_impl::push_keyed(send_channel::item& what, const std::string& key) {
  send_channel::item replaced;
  const auto admitted = channel_.push(what, key, replaced);
  if (admitted == send_channel::admission::replaced) {
    ++dropped_;
    host_->counters.dropped_conflated.add();
    if (replaced.sink) replaced.sink->settle(outcome::dropped, true);
  }
  return admitted;
}

void connection_impl::mark() {
  if (!marked && !stalled_) host_->mark(*this);
}

void connection_impl::flush() noexcept {
  guarded([this] { write_waiting(); });
}

void connection_impl::write_waiting() {
  if (stalled_ || over()) return;
  flushing_ = true;
  if (held_ && !flush_held()) {
    flushing_ = false;
    return;
  }
  std::array<iovec, max_buffers> buffers;
  auto& counters = host_->counters;
  bool enough = false;
  for (int writes = 0; channel_.anything_to_write(); ++writes) {
    if (writes == max_writes_at_once) {
      enough = true;
      mark();
      break;
    }
    const auto count = channel_.gather(buffers, max_write_bytes, host_->gather_scratch());
    std::size_t total = 0;
    for (std::size_t i = 0; i < count; ++i) total += buffers[i].iov_len;
    error_code ec;
    const auto n = transport_->write_some({buffers.data(), count}, ec);
    counters.writes.add();
    if (ec && ec != asio::error::would_block) {
      end();
      break;
    }
    counters.wire_bytes_out.add(n);
    if (ec && n > 0) {
      hold(n);
      break;
    }
    const auto bytes_before = channel_.bytes();
    std::uint64_t messages = 0;
    std::uint64_t payload = 0;
    channel_.consume(n, [&](send_channel::item& done) {
      ++messages;
      payload += done.frame->payload().size();
      if (done.sink) done.sink->settle(outcome::written, false);
    });
    count_written(messages, payload);
    counters.queued_messages.subtract(messages);
    counters.queued_bytes.subtract(bytes_before - channel_.bytes());
    if (n < total) {
      stall(n > 0);
      break;
    }
  }
  flushing_ = false;
  channel_.rest();
  if (close_written()) on_close_written();
  // Those who wait would go on writing.
  if (waiting_ && !enough) admit_waiting();
}

void connection_impl::hold(std::size_t taken) {
  held_ = std::make_unique<std::vector<unsettled>>();
  held_->reserve(channel_.size());
  const auto bytes_before = channel_.bytes();
  channel_.consume(taken, [&](send_channel::item& done) {
    held_->push_back({done.sink, done.frame->payload().size()});
  });
  host_->counters.queued_messages.subtract(held_->size());
  host_->counters.queued_bytes.subtract(bytes_before - channel_.bytes());
  stall(true);
}

bool connection_impl::flush_held() {
  error_code ec;
  transport_->write_some({}, ec);
  if (ec == asio::error::would_block) {
    stall(true);  // it was writable, so some of it has gone
    return false;
  }
  if (ec) {
    end();
    return false;
  }
  const auto held = std::exchange(held_, nullptr);
  std::uint64_t payload = 0;
  for (const auto& done : *held) {
    payload += done.payload;
    if (done.sink) done.sink->settle(outcome::written, false);
  }
  count_written(held->size(), payload);
  return true;
}

void connection_impl::count_written(std::uint64_t messages, std::uint64_t payload) {
  messages_out_ += messages;
  bytes_out_ += payload;
  host_->counters.messages_out.add(messages);
  host_->counters.bytes_out.add(payload);
}

void connection_impl::stall(bool progress) {
  stalled_ = true;
  const auto now = host_->now();
  if (progress || stalled_since_ == time_point{}) stalled_since_ = now;
  const auto limit = host_->limits().write_timeout;
  if (limit.count() != 0 && is_open()) {
    host_->set_deadline_no_later(*this, deadline_after(stalled_since_, limit));
  }
  if (!writing_) write_loop(self());
}

void connection_impl::evict() {
  host_->counters.evictions.add();
  discard_waiting();
  leave_open(closed_by::local, close_code::slow_consumer, {});
}

void connection_impl::discard_waiting() {
  auto& counters = host_->counters;
  const auto bytes_before = channel_.bytes();
  channel_.discard_waiting([&](send_channel::item& lost) {
    counters.discarded.add();
    counters.queued_messages.subtract(1);
    if (lost.sink) lost.sink->settle(outcome::closed, false);
  });
  counters.queued_bytes.subtract(bytes_before - channel_.bytes());
}

}  // namespace skein::detail
