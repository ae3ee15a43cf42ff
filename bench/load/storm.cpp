// Storm: all connections are cut at once, with RST, and all of them return at once; some rounds of that. A
// connection is back when a message on it has been echoed. One that is refused tries again a little later.

#include "clock.hpp"
#include "greeting.hpp"
#include "modes.hpp"

#include <algorithm>
#include <memory>
#include <vector>

namespace skein::bench {
namespace {

constexpr double first_patience_s = 10;
constexpr double settle_s = 0.2;

struct storm_tally {
  std::uint64_t missing = 0;  // not back at the end of a round, over all rounds
  std::uint64_t back = 0;     // in the last round
  std::uint64_t failed_attempts = 0;
  std::uint64_t wrong = 0;
  bool deflate = false;
  std::int64_t cut_ns = never_ns;  // the last round's begin
  std::int64_t back_ns = 0;        // and when the last connection was back
  histogram return_ns;

  void merge(const storm_tally& other) {
    missing += other.missing;
    back += other.back;
    deflate = deflate || other.deflate;
    failed_attempts += other.failed_attempts;
    wrong += other.wrong;
    cut_ns = std::min(cut_ns, other.cut_ns);
    back_ns = std::max(back_ns, other.back_ns);
    return_ns.merge(other.return_ns);
  }
};

class storm_load final : public load {
 public:
  storm_load(const run_context& run, const storm_options& options, std::uint32_t thread,
             std::uint32_t connections)
      : load(run.handshake, thread),
        retry_ns_(to_ns(options.retry_s)),
        greeting_(greeting_bytes, run.common.kind()),
        served_(connections) {}

  [[nodiscard]] storm_tally result() const {
    auto all = tally_;
    all.back = served_count_;
    return all;
  }

  /// All connections end at once, and begin again.
  void cut_all() {
    tally_.missing += unserved();
    for (auto& socket : driver().sockets()) socket->cut();
    storming_ = true;
    tally_.cut_ns = driver().tick();
    served_.assign(served_.size(), false);
    served_count_ = 0;
    to_retry_.clear();
    for (auto& socket : driver().sockets()) socket->connect();
  }

  /// The last round is over, whoever is not back yet.
  void end_rounds() {
    tally_.missing += unserved();
    storming_ = false;
  }

  [[nodiscard]] bool finished() const override { return served_count_ == served_.size(); }
  [[nodiscard]] bool broken() const override {
    return driver().tally().opened == 0 && driver().tally().refused >= served_.size();
  }
  [[nodiscard]] std::uint64_t progress() const override { return returned_; }

  std::int64_t take_turn(std::int64_t now) override {
    if (to_retry_.empty()) return never_ns;
    if (now < retry_at_ns_) return retry_at_ns_;
    // Those that fail again are for the next time.
    std::vector<client_socket*> due;
    due.swap(to_retry_);
    for (auto* socket : due) socket->connect();
    return now;
  }

  void on_open(client_socket& socket) override {
    tally_.deflate = tally_.deflate || socket.deflate();
    greeting_.say(socket, socket.index());
  }

  void on_message(client_socket& socket, const message_view& message) override {
    if (served_[socket.index()] || !greeting_.answers(message, socket.index())) {
      ++tally_.wrong;
      return;
    }
    served_[socket.index()] = true;
    ++served_count_;
    ++returned_;
    if (!storming_) return;
    tally_.back_ns = driver().read_time_ns();
    tally_.return_ns.record(elapsed_ns(tally_.cut_ns, tally_.back_ns));
  }

  void on_refused(client_socket& socket) override { failed(socket); }

  void on_lost(client_socket& socket) override {
    if (served_[socket.index()]) {
      served_[socket.index()] = false;
      --served_count_;
    }
    failed(socket);
  }

 private:
  [[nodiscard]] std::uint64_t unserved() const noexcept {
    return storming_ ? served_.size() - served_count_ : 0;
  }

  void failed(client_socket& socket) {
    if (!storming_) return;
    ++tally_.failed_attempts;
    if (to_retry_.empty()) retry_at_ns_ = driver().read_time_ns() + retry_ns_;
    to_retry_.push_back(&socket);
  }

  std::int64_t retry_ns_;
  greeting greeting_;
  std::vector<bool> served_;  // by connection
  std::uint64_t served_count_ = 0;
  std::uint64_t returned_ = 0;
  std::vector<client_socket*> to_retry_;
  std::int64_t retry_at_ns_ = 0;
  bool storming_ = false;
  storm_tally tally_;
};

}  // namespace

bool run_storm(const run_context& run, const storm_options& options) {
  const auto threads = std::min(run.common.threads, options.connections);
  const auto connections = shares_of(options.connections, threads);
  team_of<storm_load> crew{threads, run.host, [&](std::uint32_t i) {
                             return std::make_unique<storm_load>(run, options, i, connections[i]);
                           }};
  const auto back = [](const load& work) { return work.finished(); };
  crew.open(connections, run.common.handshakes_at_once);
  bool complete = crew.wait("exchanging", first_patience_s,
                            [](const load& work) { return work.finished() || work.broken(); });
  complete = complete && crew.tally().refused == 0;

  measurement measured{crew, run.common.window.pid};
  std::vector<double> rounds_ms;
  bool deserted = false;
  if (complete) {
    crew.wait("settling", settle_s, [](const load&) { return false; });
    measured.begin();
    while (rounds_ms.size() < options.rounds && !run.host.cut_short() && !deserted) {
      crew.each([](storm_load& work) { work.cut_all(); });
      const bool returned = crew.wait("returning", options.round_limit_s, back);
      // Who was interrupted may still want to know whether they come back.
      if (returned || (run.host.interrupted() && crew.drain("returning", options.round_limit_s, back))) {
        const auto so_far = crew.result();
        rounds_ms.push_back(static_cast<double>(elapsed_ns(so_far.cut_ns, so_far.back_ns)) / 1e6);
      } else if (!run.host.cut_short()) {
        rounds_ms.push_back(options.round_limit_s * 1e3);
        deserted = crew.result().back == 0;  // there is nobody to come back to
      }
      if (rounds_ms.size() < options.rounds && !deserted)
        crew.wait("pausing", options.pause_s, [](const load&) { return false; });
    }
    measured.end();
    crew.each([](storm_load& work) { work.end_rounds(); });
  }
  const auto all = crew.result();
  const auto tally = crew.tally();

  auto& out = run.out;
  run.begin_report("storm", threads);
  out.add_count("connections", options.connections);
  out.add_count("rounds", rounds_ms.size());
  out.add_flag("deflate", all.deflate);
  out.new_block();
  out.add_values("rounds_ms", rounds_ms, 1);
  std::sort(rounds_ms.begin(), rounds_ms.end());
  out.add_if(!rounds_ms.empty(), "round_median_ms", rounds_ms.empty() ? 0 : rounds_ms[rounds_ms.size() / 2],
             1);
  out.add_if(!rounds_ms.empty(), "round_max_ms", rounds_ms.empty() ? 0 : rounds_ms.back(), 1);
  out.add_latency("return", all.return_ns);
  out.new_block();
  measured.add_to(out, all.return_ns.total(), "return");
  out.new_block();
  out.add_count("connections_opened", tally.opened);
  out.add_count("connections_not_back", all.missing);
  out.add_count("attempts_failed", all.failed_attempts);
  out.add_text_if(!tally.first_problem.empty(), "first_problem", tally.first_problem);
  out.add_count("messages_wrong", all.wrong);
  if (!complete || all.missing != 0) report_problem(out, tally);
  if (!complete) out.note("not all connections were there before the first round");
  if (deserted) out.note("no connection came back in a whole round: the storm was over");
  if (run.common.deflate && !all.deflate) out.note("the server declined permessage-deflate");
  crew.close_all();
  const bool all_rounds = rounds_ms.size() == options.rounds || run.host.interrupted();
  return complete && all_rounds && !rounds_ms.empty() && all.missing == 0 && all.wrong == 0;
}

}  // namespace skein::bench
