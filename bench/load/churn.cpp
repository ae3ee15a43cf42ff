// Churn: connections that come and go. Each place connects, opens, has one message echoed, closes properly,
// and begins again: at once, or with a rate when the timetable says so and a place is free. With a rate
// `served` counts from when a connection was due, for all that were due in the window, whenever or whether
// they came.

#include "greeting.hpp"
#include "modes.hpp"
#include "pacer.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

namespace skein::bench {
namespace {

struct churn_tally {
  std::uint64_t cycles = 0;         // that ended in the window, properly
  std::uint64_t unfinished = 0;     // still under way when the patience was over
  std::uint64_t unstarted = 0;      // due, but no place was free to the end
  std::uint64_t improper_ends = 0;  // the server ended the connection without a close frame
  std::uint64_t wrong = 0;
  bool deflate = false;
  histogram open_ns;    // from connect to the end of the opening handshake
  histogram served_ns;  // from connect, or when it was due, to the answer to the message
  histogram cycle_ns;   // from connect to the end of the connection

  void merge(const churn_tally& other) {
    cycles += other.cycles;
    unfinished += other.unfinished;
    unstarted += other.unstarted;
    deflate = deflate || other.deflate;
    improper_ends += other.improper_ends;
    wrong += other.wrong;
    open_ns.merge(other.open_ns);
    served_ns.merge(other.served_ns);
    cycle_ns.merge(other.cycle_ns);
  }
};

class churn_load final : public load {
 public:
  churn_load(const run_context& run, const churn_options& options, std::uint32_t thread, std::uint32_t places,
             std::uint32_t threads)
      : load(run.handshake, thread),
        greeting_(options.size, run.common.kind()),
        begun_ns_(places),
        waiting_(places) {
    if (options.rate > 0)
      pace_.emplace(options.rate * places / options.connections, static_cast<double>(thread) / threads);
  }

  [[nodiscard]] churn_tally result() const {
    auto all = tally_;
    all.unfinished = under_way_;
    if (!pace_ || !started_ || broken()) return all;
    // What has not come by now took at least so long.
    const auto now = driver().read_time_ns();
    for (std::size_t place = 0; place < begun_ns_.size(); ++place)
      if (waiting_[place] && window().contains(begun_ns_[place]))
        all.served_ns.record(elapsed_ns(begun_ns_[place], now));
    all.unstarted = record_overdue(all.served_ns, *pace_, next_slot_, window(), now);
    return all;
  }

  void start() override {
    auto& sockets = driver().sockets();
    for (std::uint32_t i = 0; i < begun_ns_.size(); ++i) {
      sockets.push_back(std::make_unique<client_socket>(driver(), i));
      free_.push_back(i);
    }
    if (pace_) pace_->start(driver().tick());
    started_ = true;
  }

  std::int64_t take_turn(std::int64_t now) override {
    if (!started_ || (stopped() && !pace_)) return never_ns;
    // Those that fail at once are free again at once, and wait for the next turn.
    for (auto places = free_.size(); places != 0 && !broken(); --places) {
      if (pace_ && next_due_ns() > now) return next_due_ns();
      const auto place = free_.back();
      free_.pop_back();
      begun_ns_[place] = pace_ ? pace_->due_ns(next_slot_) : now;
      waiting_[place] = true;
      ++next_slot_;
      ++under_way_;
      driver().sockets()[place]->connect();
    }
    if (free_.empty() || broken()) return never_ns;
    return pace_ ? next_due_ns() : now;
  }

  [[nodiscard]] bool finished() const override {
    return under_way_ == 0 && (!pace_ || !started_ || next_due_ns() == never_ns);
  }

  /// A server that has refused so many in a row is not there.
  [[nodiscard]] bool broken() const override { return refused_in_a_row_ > begun_ns_.size() + 100; }
  [[nodiscard]] std::uint64_t progress() const override { return ended_; }

  void on_open(client_socket& socket) override {
    refused_in_a_row_ = 0;
    tally_.deflate = tally_.deflate || socket.deflate();
    const auto now = driver().read_time_ns();
    if (window().contains(now)) tally_.open_ns.record(elapsed_ns(socket.connect_started_ns(), now));
    greeting_.say(socket, socket.index());
  }

  void on_message(client_socket& socket, const message_view& message) override {
    if (!socket.is_open() || !greeting_.answers(message, socket.index())) {
      ++tally_.wrong;
      return;
    }
    const auto now = driver().read_time_ns();
    const auto begun = begun_ns_[socket.index()];
    waiting_[socket.index()] = false;
    if (window().contains(pace_ ? begun : now)) tally_.served_ns.record(elapsed_ns(begun, now));
    socket.close();
  }

  void on_closed(client_socket& socket) override {
    const auto now = driver().read_time_ns();
    if (socket.close_code() == 0) {
      ++tally_.improper_ends;
    } else if (window().contains(now)) {
      ++tally_.cycles;
      tally_.cycle_ns.record(elapsed_ns(socket.connect_started_ns(), now));
    }
    over(socket);
  }

  void on_refused(client_socket& socket) override {
    ++refused_in_a_row_;
    over(socket);
  }

  void on_lost(client_socket& socket) override { over(socket); }

 private:
  /// What was due in the window begins even after its end.
  [[nodiscard]] std::int64_t next_due_ns() const noexcept {
    const auto due = pace_->due_ns(next_slot_);
    return stopped() && due >= window().end_ns ? never_ns : due;
  }

  void over(const client_socket& socket) {
    --under_way_;
    waiting_[socket.index()] = false;
    ++ended_;
    free_.push_back(socket.index());
  }

  greeting greeting_;
  std::vector<std::int64_t> begun_ns_;  // of each place
  std::vector<bool> waiting_;           // of each place: for the answer to its message
  std::vector<std::uint32_t> free_;     // places
  std::optional<pacer> pace_;
  std::uint64_t next_slot_ = 0;
  std::uint64_t under_way_ = 0;
  std::uint64_t ended_ = 0;
  std::uint64_t refused_in_a_row_ = 0;
  bool started_ = false;
  churn_tally tally_;
};

}  // namespace

bool run_churn(const run_context& run, const churn_options& options) {
  const auto threads = std::min(run.common.threads, options.connections);
  const auto places = shares_of(options.connections, threads);
  team_of<churn_load> crew{threads, run.host, [&](std::uint32_t i) {
                             return std::make_unique<churn_load>(run, options, i, places[i], threads);
                           }};
  measurement measured{crew, run.common.window.pid};
  run_window(crew, measured, run.common.window);
  const auto all = crew.result();

  auto& out = run.out;
  run.begin_report("churn", threads);
  out.add_count("connections", options.connections);
  out.add_count("message_bytes", options.size);
  out.add_if(options.rate > 0, "rate_per_s", options.rate, 1);
  out.add_flag("deflate", all.deflate);
  out.new_block();
  out.add("seconds", measured.seconds(), 3);
  out.add_count("cycles", all.cycles);
  out.add("connections_per_s", measured.per_second(all.cycles), 0);
  out.add_latency("open", all.open_ns);
  out.add_latency("served", all.served_ns);
  out.add_latency("cycle", all.cycle_ns);
  out.new_block();
  const bool bottleneck = measured.add_to(out, all.cycles, "connection");
  out.new_block();
  const bool all_lived = add_connections(out, crew.tally());
  out.add_count("connections_unfinished", all.unfinished);
  out.add_count("connections_unstarted", all.unstarted);
  out.add_count("connections_closed_improperly", all.improper_ends);
  out.add_count("messages_wrong", all.wrong);
  if (run.common.deflate && !all.deflate) out.note("the server declined permessage-deflate");
  if (options.rate > 0) report_rate(out, options.rate, measured, all.cycles, all.unstarted, bottleneck);
  return all_lived && all.unfinished == 0 && all.unstarted == 0 && all.improper_ends == 0 && all.wrong == 0 &&
         all.cycles != 0;
}

}  // namespace skein::bench
