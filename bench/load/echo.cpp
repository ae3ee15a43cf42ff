// Echo: messages that come back. In a closed load every connection keeps a number of them outstanding; in an
// open one they leave on a timetable, a connection after the other, and one whose connection has too many
// outstanding leaves as soon as it may, late: its latency counts from when it was due.
//
// Each message that returns is checked for its size and sequence number, one in 64 as a whole. With deflate
// the messages come from a small set that was compressed beforehand, and one answer in 16 is inflated: the
// server does the work for all of them, the load generator must not.

#include "clock.hpp"
#include "deflate.hpp"
#include "modes.hpp"
#include "pacer.hpp"
#include "payload.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace skein::bench {
namespace {

constexpr std::uint32_t whole_check_every = 64;
constexpr std::uint32_t inflate_every = 16;
constexpr std::uint32_t compressed_variants = 64;
constexpr std::uint32_t fixed_mask = 0x5ca1ab1e;
constexpr std::uint32_t open_depth = 16;

struct echo_tally {
  std::uint64_t messages = 0;  // that came back in the window
  std::uint64_t wrong = 0;
  std::uint64_t lost = 0;    // with connections that were lost, or for ever outstanding
  std::uint64_t unsent = 0;  // due, but their connections had too many outstanding to the end
  bool deflate = false;
  histogram latency_ns;
  histogram service_ns;

  void merge(const echo_tally& other) {
    messages += other.messages;
    wrong += other.wrong;
    lost += other.lost;
    unsent += other.unsent;
    deflate = deflate || other.deflate;
    latency_ns.merge(other.latency_ns);
    service_ns.merge(other.service_ns);
  }
};

class echo_load final : public load {
 public:
  echo_load(const run_context& run, const echo_options& options, std::uint32_t thread,
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

  [[nodiscard]] echo_tally result() const {
    auto all = tally_;
    all.lost += outstanding_;
    all.unsent = deferred_;
    if (!pace_) return all;
    record_never_came(all.latency_ns);
    if (started_ && !broken())
      all.unsent += record_overdue(all.latency_ns, *pace_, next_slot_, window(), driver().read_time_ns());
    return all;
  }

  void start() override {
    const auto now = driver().tick();
    for (auto& socket : driver().sockets()) {
      if (!socket->is_open()) continue;
      tally_.deflate = tally_.deflate || socket->deflate();
      peers_[socket->index()].slot = static_cast<std::uint32_t>(live_.size());
      live_.push_back(socket.get());
      if (!pace_)
        for (std::uint32_t i = 0; i < depth_; ++i) send(*socket);
    }
    if (pace_) pace_->start(now);
    started_ = !live_.empty();
  }

  std::int64_t take_turn(std::int64_t now) override {
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

  [[nodiscard]] bool finished() const override {
    return outstanding_ == 0 && deferred_ == 0 && (!pace_ || !started_ || next_due_ns() == never_ns);
  }
  [[nodiscard]] bool broken() const override { return driver().tally().opened <= driver().tally().lost; }
  [[nodiscard]] std::uint64_t progress() const override { return received_; }

  void on_open(client_socket&) override {}

  void on_message(client_socket& socket, const message_view& message) override {
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
    else if (!stopped())
      send(socket);
  }

  void on_lost(client_socket& socket) override {
    auto& peer = peers_[socket.index()];
    const auto gone = peer.next - peer.expected;
    outstanding_ -= gone;
    tally_.lost += gone + unsent(peer);
    deferred_ -= unsent(peer);
    peer.scheduled = peer.next - peer.first;
    peer.expected = peer.next;
  }

 private:
  struct peer_state {
    std::uint32_t first = 0;      // sequence number of its first message
    std::uint32_t next = 0;       // of the next message to send
    std::uint32_t expected = 0;   // of the next one to come back
    std::uint32_t slot = 0;       // its place in the timetable
    std::uint32_t scheduled = 0;  // how many messages have been due
  };

  /// What was due in the window is sent even after its end.
  [[nodiscard]] std::int64_t next_due_ns() const noexcept {
    const auto due = pace_->due_ns(next_slot_);
    return stopped() && due >= window().end_ns ? never_ns : due;
  }

  static std::uint32_t unsent(const peer_state& peer) {
    const auto sent = peer.next - peer.first;
    return peer.scheduled > sent ? peer.scheduled - sent : 0;
  }

  std::int64_t& sent_ns(const client_socket& socket, std::uint32_t sequence) {
    return sent_ns_[std::size_t{socket.index()} * depth_ + sequence % depth_];
  }

  void send_scheduled(client_socket& socket) {
    const auto& peer = peers_[socket.index()];
    if (unsent(peer) == 0 || peer.next - peer.expected >= depth_) return;
    --deferred_;
    send(socket);
  }

  void send(client_socket& socket) {
    auto& peer = peers_[socket.index()];
    if (socket.deflate())
      socket.output() += compressed_[peer.next % compressed_variants];
    else
      frame_.append_to(socket.output(), make_token(peer.next));
    sent_ns(socket, peer.next++) = driver().read_time_ns();
    ++outstanding_;
  }

  /// The latency counts for messages that were due, or else sent, in the window, whenever they come back.
  void record(const client_socket& socket, const peer_state& peer) {
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
  [[nodiscard]] std::int64_t due_ns(const peer_state& peer, std::uint32_t turn) const noexcept {
    return pace_->due_ns(std::uint64_t{turn} * live_.size() + peer.slot);
  }

  /// What has not come back by now took at least so long; without it a server that stops answering looks
  /// fast.
  void record_never_came(histogram& latency_ns) const {
    for (const auto& peer : peers_) {
      for (auto turn = peer.expected - peer.first; turn < peer.scheduled; ++turn)
        if (const auto due = due_ns(peer, turn); window().contains(due))
          latency_ns.record(elapsed_ns(due, driver().read_time_ns()));
    }
  }

  /// An answer that belongs to a later message than expected says that those before it were lost; without
  /// this one lost message would make all that follow wrong.
  void skip_lost(peer_state& peer, const message_view& message) {
    const auto sequence = parse_token(message.compressed ? 0 : body_.token_of(message.payload));
    if (!sequence || *sequence - peer.expected >= peer.next - peer.expected) return;
    tally_.lost += *sequence - peer.expected;
    outstanding_ -= *sequence - peer.expected;
    peer.expected = *sequence;
  }

  bool right(const client_socket& socket, const message_view& message, std::uint32_t sequence) {
    if (message.kind != kind_) return false;
    if (!socket.deflate()) {
      if (message.compressed || body_.token_of(message.payload) != make_token(sequence)) return false;
      return sequence % whole_check_every != 0 || body_.same_filler(message.payload);
    }
    if (message.compressed && sequence % inflate_every != 0) return true;
    const auto text = message.compressed ? inflater_.expand(message.payload, body_.size()) : message.payload;
    return body_.token_of(text) == make_token(sequence % compressed_variants) && body_.same_filler(text);
  }

  opcode kind_;
  std::uint32_t depth_;
  payload body_;
  premade_frame frame_;
  std::vector<std::string> compressed_;
  std::vector<peer_state> peers_;
  std::vector<std::int64_t> sent_ns_;  // a ring of `depth` for each connection
  std::optional<pacer> pace_;          // of an open load
  std::vector<client_socket*> live_;   // those that the timetable serves
  std::uint64_t next_slot_ = 0;
  std::uint64_t deferred_ = 0;  // due, but not sent yet
  bool started_ = false;
  inflater inflater_;
  std::uint64_t outstanding_ = 0;
  std::uint64_t received_ = 0;
  echo_tally tally_;
};

}  // namespace

bool run_echo(const run_context& run, const echo_options& given) {
  auto options = given;
  const bool open = options.rate > 0;
  if (options.depth == 0) options.depth = open ? open_depth : 1;
  const auto threads = std::min(run.common.threads, options.connections);
  const auto connections = shares_of(options.connections, threads);
  team_of<echo_load> crew{threads, run.host, [&](std::uint32_t i) {
                            return std::make_unique<echo_load>(run, options, i, connections[i], threads);
                          }};
  crew.open(connections, run.common.handshakes_at_once);
  measurement measured{crew, run.common.window.pid};
  run_window(crew, measured, run.common.window);
  const auto all = crew.result();

  auto& out = run.out;
  run.begin_report("echo", threads);
  out.add_count("connections", options.connections);
  out.add_count("message_bytes", options.size);
  out.add_count("depth", options.depth);
  out.add_if(open, "rate_per_s", options.rate, 1);
  out.add_flag("deflate", all.deflate);
  out.new_block();
  out.add("seconds", measured.seconds(), 3);
  out.add_count("messages", all.messages);
  out.add("messages_per_s", measured.per_second(all.messages), 0);
  out.add_latency("latency", all.latency_ns);
  out.add_latency("service", all.service_ns);
  out.new_block();
  const bool bottleneck = measured.add_to(out, all.messages, "message");
  out.new_block();
  const bool all_lived = add_connections(out, crew.tally());
  out.add_count("messages_lost", all.lost);
  out.add_count("messages_unsent", all.unsent);
  out.add_count("messages_wrong", all.wrong);
  if (open) report_rate(out, options.rate, measured, all.messages, all.unsent, bottleneck);
  if (run.common.deflate && !all.deflate) out.note("the server declined permessage-deflate");
  if (all.deflate) out.note("one answer in 16 was inflated and compared, the others were counted");
  crew.close_all();
  return all_lived && all.lost == 0 && all.unsent == 0 && all.wrong == 0 && all.messages != 0;
}

}  // namespace skein::bench
