#pragma once

// Echo: messages that come back. In a closed load every connection keeps a number of them outstanding; in an
// open one they leave on a timetable, a connection after the other, and one whose connection has too many
// outstanding leaves as soon as it may, late: its latency counts from when it was due.
//
// Each message that returns is checked for its size and sequence number, one in 64 as a whole. With deflate
// the messages come from a small set that was compressed beforehand, and one answer in 16 is inflated: the
// server does the work for all of them, the load generator must not.

#include "deflate.hpp"
#include "histogram.hpp"
#include "measurement.hpp"
#include "modes.hpp"
#include "pacer.hpp"
#include "payload.hpp"
#include "report.hpp"
#include "team.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace skein::bench {

struct echo_tally {
  std::uint64_t messages = 0;  // that came back in the window
  std::uint64_t wrong = 0;
  std::uint64_t lost = 0;    // with connections that were lost, or for ever outstanding
  std::uint64_t unsent = 0;  // due, but their connections had too many outstanding to the end
  bool deflate = false;
  histogram latency_ns;
  histogram service_ns;

  void merge(const echo_tally& other);
};

class echo_load final : public load {
 public:
  echo_load(const run_context& run, const echo_options& options, std::uint32_t thread,
            std::uint32_t connections, std::uint32_t threads);

  [[nodiscard]] echo_tally result() const;

  void start() override;
  void go_on() override;
  std::int64_t take_turn(std::int64_t now) override;
  [[nodiscard]] bool finished() const override {
    return outstanding_ == 0 && deferred_ == 0 && (!pace_ || !started_ || next_due_ns() == never_ns);
  }
  [[nodiscard]] bool broken() const override { return driver().tally().opened <= driver().tally().lost; }
  [[nodiscard]] std::uint64_t progress() const override { return received_; }

  void on_open(client_socket&) override {}
  void on_message(client_socket& socket, const message_view& message) override;
  void on_lost(client_socket& socket) override;

 private:
  struct peer_state {
    std::uint32_t first = 0;      // sequence number of its first message
    std::uint32_t next = 0;       // of the next message to send
    std::uint32_t expected = 0;   // of the next one to come back
    std::uint32_t slot = 0;       // its place in the timetable
    std::uint32_t scheduled = 0;  // how many messages have been due
  };

  [[nodiscard]] std::int64_t next_due_ns() const noexcept;
  static std::uint32_t unsent(const peer_state& peer);
  std::int64_t& sent_ns(const client_socket& socket, std::uint32_t sequence) {
    return sent_ns_[std::size_t{socket.index()} * depth_ + sequence % depth_];
  }
  void send_scheduled(client_socket& socket);
  void send(client_socket& socket);
  void record(const client_socket& socket, const peer_state& peer);
  [[nodiscard]] std::int64_t due_ns(const peer_state& peer, std::uint32_t turn) const noexcept;
  void record_never_came(histogram& latency_ns) const;
  void skip_lost(peer_state& peer, const message_view& message);
  bool right(const client_socket& socket, const message_view& message, std::uint32_t sequence);

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

/// A team whose connections are all open, and what it does.
struct echo_crew {
  echo_crew(const run_context& run, const echo_options& given);

  /// Says what was asked for.
  void add_options(report& out) const;
  /// Ends the load and says what came of it; returns whether nothing was lost or wrong.
  bool add_figures(const run_context& run, const measurement& measured);

  echo_options options;
  std::uint32_t threads;
  std::vector<std::uint32_t> connections;  // of each thread
  team_of<echo_load> crew;
};

}  // namespace skein::bench
