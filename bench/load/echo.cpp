// Echo: every connection keeps a number of messages outstanding. Each message that returns is checked for its
// size and sequence number, one in 64 as a whole. With deflate the messages come from a small set that was
// compressed beforehand, and one answer in 16 is inflated: the server does the work for all of them, the load
// generator must not.

#include "clock.hpp"
#include "deflate.hpp"
#include "histogram.hpp"
#include "modes.hpp"
#include "payload.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace skein::bench {
namespace {

constexpr std::uint32_t whole_check_every = 64;
constexpr std::uint32_t inflate_every = 16;
constexpr std::uint32_t compressed_variants = 64;
constexpr std::uint32_t fixed_mask = 0x5ca1ab1e;

class echo_load final : public load {
 public:
  echo_load(const common_options& common, const echo_options& options)
      : options_(options),
        body_(options.size, false),
        frame_(body_, common.kind(), fixed_mask),
        peers_(options.connections),
        sent_ns_(std::size_t{options.connections} * options.depth),
        driver_(common.handshake(), *this) {
    for (std::uint32_t i = 0; i < options.connections; ++i)
      peers_[i].expected = peers_[i].next =
          i * 0x9e3779b1U;  // so that nobody takes another's answer for its own
    if (!common.deflate) return;
    deflater compressor;
    for (std::uint32_t i = 0; i < compressed_variants; ++i) {
      auto& frame = compressed_.emplace_back();
      append_frame(frame, common.kind(), true, compressor.compress(body_.with(make_token(i))), fixed_mask);
    }
  }

  worker& driver() noexcept { return driver_; }
  [[nodiscard]] std::uint64_t messages() const noexcept { return in_window_; }
  [[nodiscard]] std::uint64_t wrong() const noexcept { return wrong_; }
  /// With connections that were lost, or for ever outstanding.
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_ + outstanding_; }
  [[nodiscard]] const histogram& latency_ns() const noexcept { return latency_ns_; }

  void start() override {
    driver_.tick();
    for (auto& socket : driver_.sockets())
      if (socket->is_open())
        for (std::uint32_t i = 0; i < options_.depth; ++i) send(*socket);
  }

  void begin_window() override { counting_ = true; }

  void end_window() override {
    counting_ = false;
    stopped_ = true;
  }

  [[nodiscard]] std::uint64_t outstanding() const override { return outstanding_; }
  [[nodiscard]] bool broken() const override { return driver_.tally().opened <= driver_.tally().lost; }

  void on_open(client_socket&) override {}

  void on_message(client_socket& socket, const message_view& message) override {
    auto& peer = peers_[socket.index()];
    if (peer.expected == peer.next) {  // an answer to nothing
      ++wrong_;
      return;
    }
    if (!right(socket, message, peer.expected)) {
      ++wrong_;
      skip_lost(peer, message);
    }
    if (counting_) {
      ++in_window_;
      latency_ns_.record(static_cast<std::uint64_t>(
          std::max<std::int64_t>(0, driver_.read_time_ns() - sent_ns(socket, peer.expected))));
    }
    ++peer.expected;
    --outstanding_;
    if (!stopped_) send(socket);
  }

  void on_lost(client_socket& socket) override {
    auto& peer = peers_[socket.index()];
    const auto gone = peer.next - peer.expected;
    outstanding_ -= gone;
    lost_ += gone;
    peer.expected = peer.next;
  }

 private:
  struct peer_state {
    std::uint32_t next = 0;      // sequence number of the next message to send
    std::uint32_t expected = 0;  // of the next one to come back
  };

  std::int64_t& sent_ns(const client_socket& socket, std::uint32_t sequence) {
    return sent_ns_[std::size_t{socket.index()} * options_.depth + sequence % options_.depth];
  }

  void send(client_socket& socket) {
    auto& peer = peers_[socket.index()];
    if (socket.deflate())
      socket.output() += compressed_[peer.next % compressed_variants];
    else
      frame_.append_to(socket.output(), make_token(peer.next));
    sent_ns(socket, peer.next++) = driver_.read_time_ns();
    ++outstanding_;
  }

  /// An answer that belongs to a later message than expected says that those before it were lost; without
  /// this one lost message would make all that follow wrong.
  void skip_lost(peer_state& peer, const message_view& message) {
    const auto sequence = parse_token(message.compressed ? 0 : body_.token_of(message.payload));
    if (!sequence || *sequence - peer.expected >= peer.next - peer.expected) return;
    lost_ += *sequence - peer.expected;
    outstanding_ -= *sequence - peer.expected;
    peer.expected = *sequence;
  }

  bool right(const client_socket& socket, const message_view& message, std::uint32_t sequence) {
    if (!socket.deflate()) {
      if (message.compressed || body_.token_of(message.payload) != make_token(sequence)) return false;
      return sequence % whole_check_every != 0 || body_.same_filler(message.payload);
    }
    if (message.compressed && sequence % inflate_every != 0) return true;
    const auto text = message.compressed ? inflater_.expand(message.payload, body_.size()) : message.payload;
    return body_.token_of(text) == make_token(sequence % compressed_variants) && body_.same_filler(text);
  }

  echo_options options_;
  payload body_;
  premade_frame frame_;
  std::vector<std::string> compressed_;
  std::vector<peer_state> peers_;
  std::vector<std::int64_t> sent_ns_;  // a ring of `depth` for each connection
  inflater inflater_;
  histogram latency_ns_;
  std::uint64_t outstanding_ = 0;
  std::uint64_t in_window_ = 0;
  std::uint64_t wrong_ = 0;
  std::uint64_t lost_ = 0;
  bool counting_ = false;
  bool stopped_ = false;
  worker driver_;
};

}  // namespace

bool run_echo(const common_options& common, const echo_options& options, report& out) {
  const auto work = std::make_unique<echo_load>(common, options);
  auto& driver = work->driver();
  driver.open(options.connections, common.handshakes_at_once);
  measurement measured{common.window.pid};
  if (!work->broken()) run_window(driver, *work, measured, common.window);
  const auto messages = work->messages();
  const auto lost = work->lost();
  const bool deflate = !driver.sockets().empty() && driver.sockets().front()->deflate();

  out.add("mode", "echo");
  out.add("url", common.url);
  out.add_count("connections", options.connections);
  out.add_count("message_bytes", options.size);
  out.add_count("depth", options.depth);
  out.add_flag("deflate", deflate);
  out.add("seconds", measured.seconds(), 3);
  out.add_count("messages", messages);
  out.add("messages_per_s", static_cast<double>(messages) / std::max(measured.seconds(), 1e-9), 0);
  out.add_latency("latency", work->latency_ns());
  measured.add_to(out, messages, "message");
  const bool all_lived = add_connections(out, driver.tally());
  out.add_count("messages_lost", lost);
  out.add_count("messages_wrong", work->wrong());
  if (common.deflate && !deflate) out.note("the server declined permessage-deflate");
  if (deflate) out.note("one answer in 16 was inflated and compared, the others were counted");
  driver.close_all();
  return all_lived && lost == 0 && work->wrong() == 0 && messages != 0;
}

}  // namespace skein::bench
