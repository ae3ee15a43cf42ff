// A fuzz target: what a peer may send once it is connected, cut anywhere, with a clock that moves and a
// socket that fills up, through the whole connection over memory. Whatever it is, the connection ends once,
// with a code that exists; what is written to it is well formed, in order, and within the send channel's
// limits.
//
// An input: a byte of settings, then steps: a byte that says what, and what it needs. See `step`.

#include "hub/hub.hpp"
#include "server_frames.hpp"
#include "testing/memory_transport.hpp"
#include "world.hpp"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <array>
#include <stdexcept>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using skein::message;

constexpr std::size_t channel_messages = 8, channel_bytes = 4096, largest_sent = 2048;
// In front of what the server itself sends, so that it is not taken for an echo.
constexpr std::string_view own = "own:";

skein::manager_options options_of(bool beast, bool compression) {
  skein::manager_options options;
  options.engine = beast ? skein::engine::beast : skein::engine::native;
  options.compression.enabled = compression;
  options.compression.threshold = 16;
  options.limits.max_message_bytes = 1000;
  options.limits.max_message_frames = 6;
  options.limits.ping_burst = 5;
  options.limits.send_queue_messages = channel_messages;
  options.limits.send_queue_bytes = channel_bytes;
  options.limits.receive_queue_messages = 4;
  options.limits.receive_queue_bytes = 1500;
  return options;
}

fuzz::world& world_of(unsigned settings) {
  static std::array<std::unique_ptr<fuzz::world>, 4> all;
  auto& one = all[settings & 3U];
  if (!one) one = std::make_unique<fuzz::world>(options_of((settings & 1U) != 0, (settings & 2U) != 0));
  return *one;
}

/// What the handler and the peer know of each other.
struct meeting {
  explicit meeting(asio::io_context& context) : never(context, asio::steady_timer::time_point::max()) {}
  std::vector<std::string> taken;  ///< of the echo, in order
  std::size_t told = 0;            ///< of them, seen by the peer
  asio::steady_timer never;
  bool over = false;  ///< nobody waits for it any more
};

/// An echo that does what the first byte of a message says.
asio::awaitable<void> answer(skein::connection& client, std::shared_ptr<meeting> with) {
  while (auto got = co_await client.read()) {
    const auto what = got->payload().empty() ? '\0' : got->payload().front();
    if (got->payload().starts_with(own)) continue;
    if (what == 'T') throw std::runtime_error{"as asked for"};
    if (what == 'R') break;
    if (what == 'C') co_await client.close(skein::close_code::policy_violation, "as asked for");
    if (what == 'W' && !with->over) {
      boost::system::error_code cancelled;
      co_await with->never.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
    }
    std::string payload{got->payload()};
    const auto result = co_await client.write(std::move(*got));
    if (result == skein::outcome::queued) with->taken.push_back(std::move(payload));
  }
}

class peer {
 public:
  peer(fuzz::world& in, unsigned settings)
      : world_(in),
        meeting_(std::make_shared<meeting>(in.context)),
        frames_((settings & 2U) != 0 && (settings & 4U) != 0) {
    auto& hub = dynamic_cast<skein::detail::hub&>(*world_.hub);
    auto& shard = *hub.shards().front();
    skein::request::header_list headers{{"Host", "localhost"},
                                        {"Connection", "Upgrade"},
                                        {"Upgrade", "websocket"},
                                        {"Sec-WebSocket-Version", "13"},
                                        {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}};
    if ((settings & 4U) != 0) headers.emplace_back("Sec-WebSocket-Extensions", "permessage-deflate");
    const skein::request opening{"GET", "/", headers, "memory"};
    auto upgraded = skein::detail::accept_upgrade(opening, {}, shard.engine(), shard.engine_scratch());
    pipe_ = std::make_shared<skein::testing::detail::memory_pipe>(shard.executor());
    skein::detail::connection_parts parts;
    parts.ticket = hub.shared()->admit();
    parts.runs = std::make_shared<const skein::handler>(
        [with = meeting_](skein::connection& client) { return answer(client, with); });
    parts.request = opening;
    parts.transport = skein::testing::detail::make_memory_transport(pipe_);
    parts.engine = std::move(upgraded.engine);
    other_end_ = shard.open("/", std::move(parts));
    world_.settle();
  }

  void step(fuzz::reader& input) {
    const auto what = input.byte();
    switch (what & 7U) {
      case 0: {
        const auto size = input.byte();
        send(input.bytes(size));
        break;
      }
      case 1:
        send_frame(input);
        break;
      case 2:
        world_.advance(input.byte() * 20ms);
        break;
      case 3:
        world_.advance(input.byte() * 1s);
        break;
      case 4:
        read();
        break;
      case 5:
        pipe_->capacity = input.byte() * std::size_t{20};
        pipe_->notify();
        break;
      case 6:
        send_from_server(input);
        break;
      default:
        disturb(input);
    }
    if ((what & 0x80U) == 0) world_.settle();
    const auto queued = other_end_->stats();
    fuzz::require(queued.queued_messages <= channel_messages, "too many messages in a channel");
    fuzz::require(queued.queued_bytes <= channel_bytes || queued.queued_messages == 1,
                  "too many bytes in a channel");
  }

  void end() {
    world_.settle();
    // While a handler does not read nobody can be called dead.
    meeting_->over = true;
    meeting_->never.cancel();
    world_.end_within(25s + 8s + 10s + 5s + 2s);
    read();
    // What stays in the pipe is behind what the socket had room for: a frame may have been cut.
    const auto& why = world_.closed.front().reason;
    if (frames_.close() && why.by == skein::closed_by::local)
      fuzz::require(*frames_.close() == why.code, "another close code was written than the one reported");
    fuzz::require(world_.closed.front().id == other_end_->id(), "somebody else has ended");
    fuzz::require(!other_end_->is_open(), "what has ended is open");
    fuzz::require(other_end_->stats().queued_messages == 0, "something is queued behind the end");
  }

 private:
  void send(std::string_view bytes) {
    if (pipe_->peer_gone || pipe_->vanished || pipe_->server_closed) return;
    pipe_->to_server += bytes;
    pipe_->notify();
  }

  void send_frame(fuzz::reader& input) {
    const auto first = input.byte();
    const auto payload = input.bytes(input.byte());
    std::string frame{static_cast<char>(first)};
    constexpr unsigned masked = 0x80;
    if (payload.size() < 126) {
      frame += static_cast<char>(masked | payload.size());
    } else {
      frame += static_cast<char>(masked | 126U);
      frame += static_cast<char>(payload.size() >> 8U);
      frame += static_cast<char>(payload.size() & 0xffU);
    }
    frame.append(4, static_cast<char>(first));
    for (const char c : payload) frame += static_cast<char>(c ^ static_cast<char>(first));
    send(frame);
  }

  void read() {
    for (;;) {
      const auto bytes = std::exchange(pipe_->to_peer, {});
      pipe_->notify();
      world_.settle();
      if (bytes.empty()) break;
      for (const auto& each : frames_.take(bytes)) {
        if (each.payload().starts_with(own)) continue;
        fuzz::require(meeting_->told < meeting_->taken.size(), "an echo of nothing");
        fuzz::require(each.payload() == meeting_->taken[meeting_->told++], "the echo is out of order");
      }
    }
  }

  void send_from_server(fuzz::reader& input) {
    const auto how = input.byte();
    std::string payload{own};
    payload.append(std::min<std::size_t>(input.byte() * std::size_t{10}, largest_sent), 'x');
    skein::delivery delivery;
    switch (how & 3U) {
      case 0:
        delivery.drop();
        break;
      case 1:
        delivery.conflate((how & 4U) != 0 ? "a" : "b");
        break;
      default:
        break;
    }
    other_end_->post_send(message::text(std::move(payload)), delivery);
  }

  void disturb(fuzz::reader& input) {
    const auto how = input.byte();
    switch (how & 3U) {
      case 0:
        pipe_->peer_gone = true;
        pipe_->notify();
        break;
      case 1:
        pipe_->vanished = true;
        break;
      case 2:
        meeting_->never.cancel();
        break;
      default:
        other_end_->post_close(static_cast<skein::close_code>(4000 + how), "as asked for");
    }
  }

  fuzz::world& world_;
  std::shared_ptr<meeting> meeting_;
  fuzz::server_frames frames_;
  std::shared_ptr<skein::testing::detail::memory_pipe> pipe_;
  std::shared_ptr<skein::connection> other_end_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::reader input{data, size};
  const auto settings = input.byte();
  auto& world = world_of(settings);
  world.begin();
  {
    peer one{world, settings};
    for (int steps = 0; !input.empty() && steps < 200; ++steps) one.step(input);
    one.end();
  }
  for (const auto& line : world.problems)
    fuzz::require(line.find("as asked for") != std::string::npos, line.c_str());
  return 0;
}
