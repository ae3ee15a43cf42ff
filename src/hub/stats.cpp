#include "hub/hub.hpp"

namespace skein::detail {

manager_stats hub::stats() const {
  manager_stats sum;
  const auto add = [](auto& to, const counter& what) { to += what.value(); };
  for (const auto& one : shards_) {
    const auto& from = one->counters;
    add(sum.open, from.open);
    add(sum.closing, from.closing);
    add(sum.queued_messages, from.queued_messages);
    add(sum.queued_bytes, from.queued_bytes);
    add(sum.total, from.total);
    add(sum.closed, from.closed);
    add(sum.messages_in, from.messages_in);
    add(sum.bytes_in, from.bytes_in);
    add(sum.messages_out, from.messages_out);
    add(sum.bytes_out, from.bytes_out);
    add(sum.wire_bytes_in, from.wire_bytes_in);
    add(sum.wire_bytes_out, from.wire_bytes_out);
    add(sum.writes, from.writes);
    add(sum.dropped_overflow, from.dropped_overflow);
    add(sum.dropped_conflated, from.dropped_conflated);
    add(sum.discarded, from.discarded);
    add(sum.evictions, from.evictions);
    add(sum.pings_sent, from.pings_sent);
    add(sum.pongs_received, from.pongs_received);
    add(sum.pong_timeouts, from.pong_timeouts);
    add(sum.pings_received, from.pings_received);
    add(sum.write_timeouts, from.write_timeouts);
    add(sum.close_timeouts, from.close_timeouts);
    add(sum.protocol_failures, from.protocol_failures);
    add(sum.handler_exceptions, from.handler_exceptions);
    add(sum.rate_limited, from.rate_limited);
    add(sum.invalid, from.invalid);
    add(sum.token_expiries, from.token_expiries);
  }
  sum.active = sum.total >= sum.closed ? static_cast<std::size_t>(sum.total - sum.closed) : 0;
  sum.handshaking = shared_->handshaking.load(std::memory_order_relaxed);
  sum.max_connections = shared_->options.max_connections;
  sum.broadcasts = broadcasts_.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < sum.refused.size(); ++i)
    sum.refused[i] = shared_->refused[i].load(std::memory_order_relaxed);
  const auto& tls = shared_->tls;
  sum.tls = {
      tls.handshakes.load(std::memory_order_relaxed), tls.resumed.load(std::memory_order_relaxed),
      tls.failed.load(std::memory_order_relaxed),     tls.timed_out.load(std::memory_order_relaxed),
      tls.reloads.load(std::memory_order_relaxed),    tls.failed_reloads.load(std::memory_order_relaxed)};
  sum.uptime = shared_->time->now() - started_;
  return sum;
}

health_report hub::health() const {
  health_report report;
  const auto now = shared_->time->now();
  for (const auto& one : shards_) {
    if (now - one->last_beat() <= shared_->options.stall_threshold) continue;
    report.live = false;
    report.reasons.push_back("shard " + std::to_string(one->index()) + " does not run");
  }
  const bool draining = shared_->draining.load(std::memory_order_relaxed);
  if (draining) report.reasons.emplace_back("draining");
  const bool full = shared_->taken.load(std::memory_order_relaxed) >= shared_->options.max_connections;
  if (full) report.reasons.emplace_back("connection limit reached");
  report.ready = report.live && !draining && !full;
  return report;
}

}  // namespace skein::detail

namespace skein {

std::string_view name(refusal_reason reason) noexcept {
  switch (reason) {
    case refusal_reason::connection_limit:
      return "connection_limit";
    case refusal_reason::draining:
      return "draining";
    case refusal_reason::origin:
      return "origin";
    case refusal_reason::authentication:
      return "authentication";
    case refusal_reason::malformed:
      return "malformed";
    case refusal_reason::too_large:
      return "too_large";
    case refusal_reason::timeout:
      return "timeout";
    case refusal_reason::internal:
      return "internal";
    case refusal_reason::rate:
      return "rate";
    case refusal_reason::address_limit:
      return "address_limit";
    case refusal_reason::descriptors:
      return "descriptors";
    case refusal_reason::proxy:
      return "proxy";
    case refusal_reason::count_:
      break;
  }
  return "unknown";
}

}  // namespace skein
