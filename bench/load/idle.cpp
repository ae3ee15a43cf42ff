// Idle: opens connections, lets them rest, and reads from the kernel what they cost the server in memory and
// CPU time. With `exchange` each connection first has one message echoed, so that buffers that are allocated
// on first use count too.

#include "greeting.hpp"
#include "modes.hpp"

#include <algorithm>
#include <memory>

namespace skein::bench {
namespace {

constexpr double settle_s = 0.5;
constexpr double exchange_patience_s = 10;

struct idle_tally {
  std::uint64_t unanswered = 0;
  std::uint64_t wrong = 0;
  bool deflate = false;

  void merge(const idle_tally& other) {
    unanswered += other.unanswered;
    wrong += other.wrong;
    deflate = deflate || other.deflate;
  }
};

class idle_load final : public load {
 public:
  idle_load(const run_context& run, const idle_options& options, std::uint32_t thread)
      : load(run.handshake, thread),
        exchange_(options.exchange),
        greeting_(greeting_bytes, run.common.kind()) {}

  [[nodiscard]] idle_tally result() const { return tally_; }
  [[nodiscard]] bool finished() const override {
    return driver().all_settled() && tally_.unanswered <= driver().tally().lost;
  }
  [[nodiscard]] bool broken() const override { return driver().tally().lost >= driver().tally().opened; }

  void on_open(client_socket& socket) override {
    tally_.deflate = tally_.deflate || socket.deflate();
    if (!exchange_) return;
    greeting_.say(socket, socket.index());
    ++tally_.unanswered;
  }

  void on_message(client_socket& socket, const message_view& message) override {
    if (tally_.unanswered == 0 || !greeting_.answers(message, socket.index()))
      ++tally_.wrong;
    else
      --tally_.unanswered;
  }

  void on_lost(client_socket&) override {}

 private:
  bool exchange_;
  greeting greeting_;
  idle_tally tally_;
};

}  // namespace

bool run_idle(const run_context& run, const idle_options& options) {
  const auto threads = std::min(run.common.threads, options.connections);
  team_of<idle_load> crew{threads, run.host,
                          [&](std::uint32_t i) { return std::make_unique<idle_load>(run, options, i); }};
  const auto pid = run.common.window.pid;
  measurement opening{crew, pid};
  opening.begin();
  crew.open(shares_of(options.connections, threads), run.common.handshakes_at_once);
  crew.wait("exchanging", exchange_patience_s, [](const load& work) { return work.finished(); });
  opening.end(crew.reached_ns());

  const auto broken = [](const load& work) { return work.broken(); };
  crew.wait("settling", settle_s, broken);
  measurement holding{crew, pid};
  holding.begin();
  crew.wait("holding", options.hold_s, broken);
  holding.end();

  const auto tally = crew.tally();
  const auto exchanged = crew.result();
  const auto opened = tally.opened;
  const auto& before = opening.server_before();
  const auto& settled = holding.server_before();
  const auto& held = holding.server_after();
  const bool known = before && settled && held && opened != 0;
  const auto per_connection = [&](double total) { return known ? total / static_cast<double>(opened) : 0; };
  const auto grown = [&](const process_sample& now, std::uint64_t process_sample::*kind) {
    return per_connection(static_cast<double>(now.*kind) - static_cast<double>((*before).*kind));
  };
  const auto anonymous = &process_sample::anonymous_bytes;
  const auto held_cpu_ns = static_cast<double>(holding.server_cpu_ns());

  auto& out = run.out;
  run.begin_report("idle", threads);
  out.add_count("connections", options.connections);
  out.add_flag("exchange", options.exchange);
  out.add_flag("deflate", exchanged.deflate);
  out.new_block();
  out.add("handshakes_per_s", opening.per_second(opened), 0);
  out.add_latency("handshake", tally.handshake_ns);
  out.new_block();
  out.add_if(known, "server_bytes_before", known ? static_cast<double>(before->anonymous_bytes) : 0, 0);
  out.add_if(known, "server_bytes_per_connection", known ? grown(*settled, anonymous) : 0, 0);
  out.add_if(known, "server_bytes_per_connection_after_hold", known ? grown(*held, anonymous) : 0, 0);
  out.add_if(known, "server_rss_bytes_per_connection",
             known ? grown(*settled, &process_sample::resident_bytes) : 0, 0);
  out.add_if(known, "server_cpu_us_per_connection_held", per_connection(held_cpu_ns / 1000), 4);
  out.add_if(known && holding.seconds() > 0, "server_cpu_percent_held",
             held_cpu_ns / 1e7 / std::max(holding.seconds(), 1e-9), 3);
  opening.add_to(out, opened, "handshake");
  out.new_block();
  const bool all_lived = add_connections(out, tally);
  out.add_count("messages_lost", exchanged.unanswered);
  out.add_count("messages_wrong", exchanged.wrong);
  if (run.common.deflate && !exchanged.deflate) out.note("the server declined permessage-deflate");
  crew.close_all();
  return all_lived && opened == options.connections && exchanged.unanswered == 0 && exchanged.wrong == 0;
}

}  // namespace skein::bench
