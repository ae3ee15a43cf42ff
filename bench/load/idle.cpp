// Idle: opens connections, lets them rest, and reads from the kernel what they cost the server in memory.
// With `exchange` each connection first has one message echoed, so that buffers that are allocated on first
// use count too.

#include "clock.hpp"
#include "modes.hpp"
#include "payload.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace skein::bench {
namespace {

constexpr std::size_t exchanged_bytes = 64;
constexpr double settle_s = 0.5;
constexpr double exchange_patience_s = 10;

class idle_load final : public socket_events {
 public:
  idle_load(const common_options& common, const idle_options& options)
      : exchange_(options.exchange),
        body_(exchanged_bytes, false),
        frame_(body_, common.kind(), 0x5ca1ab1e),
        driver_(common.handshake(), *this) {}

  worker& driver() noexcept { return driver_; }
  [[nodiscard]] std::uint64_t awaited() const noexcept { return awaited_; }
  [[nodiscard]] std::uint64_t wrong() const noexcept { return wrong_; }

  void on_open(client_socket& socket) override {
    if (!exchange_) return;
    frame_.append_to(socket.output(), make_token(socket.index()));
    ++awaited_;
  }

  void on_message(client_socket& socket, const message_view& message) override {
    // A compressed answer is an answer: its bytes are the echo mode's business.
    if (awaited_ == 0 ||
        (!message.compressed && body_.token_of(message.payload) != make_token(socket.index())))
      ++wrong_;
    else
      --awaited_;
  }

  void on_lost(client_socket&) override {}

 private:
  bool exchange_;
  payload body_;
  premade_frame frame_;
  std::uint64_t awaited_ = 0;
  std::uint64_t wrong_ = 0;
  worker driver_;
};

}  // namespace

bool run_idle(const common_options& common, const idle_options& options, report& out) {
  idle_load work{common, options};
  auto& driver = work.driver();
  measurement opening{common.window.pid};
  opening.begin();
  driver.open(options.connections, common.handshakes_at_once);
  driver.poll_until(now_ns() + to_ns(exchange_patience_s), [&work] { return work.awaited() == 0; });
  opening.end();

  const auto never = [] { return false; };
  driver.poll_until(now_ns() + to_ns(settle_s), never);
  const auto pid = common.window.pid;
  const auto settled = pid != 0 ? sample_process(pid) : std::nullopt;
  driver.poll_until(now_ns() + to_ns(options.hold_s), never);
  const auto held = pid != 0 ? sample_process(pid) : std::nullopt;

  const auto opened = driver.tally().opened;
  out.add("mode", "idle");
  out.add("url", common.url);
  out.add_count("connections", options.connections);
  out.add_flag("exchange", options.exchange);
  out.add("handshakes_per_s", static_cast<double>(opened) / std::max(opening.seconds(), 1e-9), 0);
  out.add_latency("handshake", driver.tally().handshake_ns);
  if (opening.server_before() && settled && held && opened != 0) {
    const auto before = static_cast<double>(opening.server_before()->anonymous_bytes);
    const auto per_connection = [&](const process_sample& sample) {
      return (static_cast<double>(sample.anonymous_bytes) - before) / static_cast<double>(opened);
    };
    out.add("server_bytes_before", before, 0);
    out.add("server_bytes_per_connection", per_connection(*settled), 0);
    out.add("server_bytes_per_connection_after_hold", per_connection(*held), 0);
    out.add("server_cpu_us_per_connection_held",
            static_cast<double>(held->cpu_ns - settled->cpu_ns) / 1000 / static_cast<double>(opened), 4);
  }
  opening.add_to(out, opened, "handshake");
  const bool all_lived = add_connections(out, driver.tally());
  out.add_count("messages_lost", work.awaited());
  out.add_count("messages_wrong", work.wrong());
  const bool good = all_lived && opened == options.connections && work.awaited() == 0 && work.wrong() == 0;
  driver.close_all();
  return good;
}

}  // namespace skein::bench
