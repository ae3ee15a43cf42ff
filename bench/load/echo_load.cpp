#include "echo_load.hpp"

#include "clock.hpp"

#include <algorithm>
#include <memory>

namespace skein::bench {
namespace {

constexpr std::uint32_t whole_check_every = 64;
constexpr std::uint32_t inflate_every = 16;
constexpr std::uint32_t compressed_variants = 64;
constexpr std::uint32_t fixed_mask = 0x5ca1ab1e;
constexpr std::uint32_t open_depth = 16;

echo_options decided(echo_options options) {
  if (options.depth == 0) options.depth = options.rate > 0 ? open_depth : 1;
  return options;
}

}  // namespace

void echo_tally::merge(const echo_tally& other) {
  messages += other.messages;
  wrong += other.wrong;
  lost += other.lost;
  unsent += other.unsent;
  deflate = deflate || other.deflate;
  latency_ns.merge(other.latency_ns);
  service_ns.merge(other.service_ns);
}

echo_load::echo_load(const run_context& run, const echo_options& options, std::uint32_t thread,
                     std::uint32_t connections, std::uint32_t threads)
    : load(run.handshake, thread),
      kind_(run.common.kind()),
      depth_(options.depth),
      body_(options.size, false),
      frame_(body_, run.common.kind(), fixed_mask),
      peers_(connections),
      sent_ns_(std::size_t{connections} * options.depth) {
  for (std::uint32_t i = 0; i < connections; ++i)
    peers_[i].first = peers_[i].expected = peers_[i].next =
        (i + thread * options.connections) *
        0x9e3779b1U;  // so that nobody takes another's answer for its own
  if (options.rate > 0)
    pace_.emplace(options.rate * connections / options.connections, static_cast<double>(thread) / threads);
  if (!run.common.deflate) return;
  deflater compressor;
  for (std::uint32_t i = 0; i < compressed_variants; ++i)
    append_frame(compressed_.emplace_back(), run.common.kind(), true,
                 compressor.compress(body_.with(make_token(i))), fixed_mask);
}

echo_tally echo_load::result() const {
  auto all = tally_;
  all.lost += outstanding_;
  all.unsent = deferred_;
  if (!pace_) return all;
  record_never_came(all.latency_ns);
  if (started_ && !broken())
    all.unsent += record_overdue(all.latency_ns, *pace_, next_slot_, window(), driver().read_time_ns());
  return all;
}

void echo_load::start() {
  const auto now = driver().tick();
  for (auto& socket : driver().sockets()) {
    if (!socket->is_open()) continue;
    tally_.deflate = tally_.deflate || socket->deflate();
    peers_[socket->index()].slot = static_cast<std::uint32_t>(live_.size());
    live_.push_back(socket.get());
    if (!pace_ && sends_more())
      for (std::uint32_t i = 0; i < depth_; ++i) send(*socket);
  }
  if (pace_) pace_->start(now);
  started_ = !live_.empty();
}

/// What a pause has let run dry is outstanding again.
void echo_load::go_on() {
  load::go_on();
  driver().tick();
  for (auto* socket : live_)
    for (auto& peer = peers_[socket->index()]; socket->is_open() && peer.next - peer.expected < depth_;)
      send(*socket);
}

std::int64_t echo_load::take_turn(std::int64_t now) {
  if (!pace_ || !started_) return never_ns;
  auto left = most_slots_a_turn;
  for (; next_due_ns() <= now && left != 0; ++next_slot_, --left) {
    auto& socket = *live_[next_slot_ % live_.size()];
    if (!socket.is_open()) continue;
    ++peers_[socket.index()].scheduled;
    ++deferred_;
    send_scheduled(socket);
  }
  return next_due_ns();
}

void echo_load::on_message(client_socket& socket, const message_view& message) {
  auto& peer = peers_[socket.index()];
  if (peer.expected == peer.next) {  // an answer to nothing
    ++tally_.wrong;
    return;
  }
  if (!right(socket, message, peer.expected)) {
    ++tally_.wrong;
    skip_lost(peer, message);
  }
  record(socket, peer);
  ++peer.expected;
  --outstanding_;
  ++received_;
  if (pace_)
    send_scheduled(socket);
  else if (sends_more())
    send(socket);
}

void echo_load::on_lost(client_socket& socket) {
  auto& peer = peers_[socket.index()];
  const auto gone = peer.next - peer.expected;
  outstanding_ -= gone;
  tally_.lost += gone + unsent(peer);
  deferred_ -= unsent(peer);
  peer.scheduled = peer.next - peer.first;
  peer.expected = peer.next;
}

/// What was due in the window is sent even after its end.
std::int64_t echo_load::next_due_ns() const noexcept {
  const auto due = pace_->due_ns(next_slot_);
  return stopped() && due >= window().end_ns ? never_ns : due;
}

std::uint32_t echo_load::unsent(const peer_state& peer) {
  const auto sent = peer.next - peer.first;
  return peer.scheduled > sent ? peer.scheduled - sent : 0;
}

void echo_load::send_scheduled(client_socket& socket) {
  const auto& peer = peers_[socket.index()];
  if (unsent(peer) == 0 || peer.next - peer.expected >= depth_) return;
  --deferred_;
  send(socket);
}

void echo_load::send(client_socket& socket) {
  auto& peer = peers_[socket.index()];
  if (socket.deflate())
    socket.output() += compressed_[peer.next % compressed_variants];
  else
    frame_.append_to(socket.output(), make_token(peer.next));
  sent_ns(socket, peer.next++) = driver().read_time_ns();
  ++outstanding_;
}

/// The latency counts for messages that were due, or else sent, in the window, whenever they come back.
void echo_load::record(const client_socket& socket, const peer_state& peer) {
  const auto now = driver().read_time_ns();
  const auto sent = sent_ns(socket, peer.expected);
  if (window().contains(now)) ++tally_.messages;
  if (!pace_) {
    if (window().contains(sent)) tally_.latency_ns.record(elapsed_ns(sent, now));
    return;
  }
  const auto due = due_ns(peer, peer.expected - peer.first);
  if (!window().contains(due)) return;
  tally_.latency_ns.record(elapsed_ns(due, now));
  tally_.service_ns.record(elapsed_ns(sent, now));
}

/// When the message that was the `turn`-th of its connection was due.
std::int64_t echo_load::due_ns(const peer_state& peer, std::uint32_t turn) const noexcept {
  return pace_->due_ns(std::uint64_t{turn} * live_.size() + peer.slot);
}

/// What has not come back by now took at least so long; without it a server that stops answering looks
/// fast.
void echo_load::record_never_came(histogram& latency_ns) const {
  for (const auto& peer : peers_) {
    for (auto turn = peer.expected - peer.first; turn < peer.scheduled; ++turn)
      if (const auto due = due_ns(peer, turn); window().contains(due))
        latency_ns.record(elapsed_ns(due, driver().read_time_ns()));
  }
}

/// An answer that belongs to a later message than expected says that those before it were lost; without
/// this one lost message would make all that follow wrong.
void echo_load::skip_lost(peer_state& peer, const message_view& message) {
  const auto sequence = parse_token(message.compressed ? 0 : body_.token_of(message.payload));
  if (!sequence || *sequence - peer.expected >= peer.next - peer.expected) return;
  tally_.lost += *sequence - peer.expected;
  outstanding_ -= *sequence - peer.expected;
  peer.expected = *sequence;
}

bool echo_load::right(const client_socket& socket, const message_view& message, std::uint32_t sequence) {
  if (message.kind != kind_) return false;
  if (!socket.deflate()) {
    if (message.compressed || body_.token_of(message.payload) != make_token(sequence)) return false;
    return sequence % whole_check_every != 0 || body_.same_filler(message.payload);
  }
  if (message.compressed && sequence % inflate_every != 0) return true;
  const auto text = message.compressed ? inflater_.expand(message.payload, body_.size()) : message.payload;
  return body_.token_of(text) == make_token(sequence % compressed_variants) && body_.same_filler(text);
}

echo_crew::echo_crew(const run_context& run, const echo_options& given)
    : options(decided(given)),
      threads(std::min(run.common.threads, options.connections)),
      connections(shares_of(options.connections, threads)),
      crew(threads, run.host, [&](std::uint32_t i) {
        return std::make_unique<echo_load>(run, options, i, connections[i], threads);
      }) {
  crew.open(connections, run.common.handshakes_at_once);
}

}  // namespace skein::bench
