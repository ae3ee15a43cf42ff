#pragma once

// Fan-out: subscribers rest on the broadcast path, one more connection there publishes: in a closed load it
// keeps a window of messages outstanding, in an open one it follows a timetable. A message is done when every
// connection has received it, the publisher's included; what is counted is deliveries, one for each of them.
//
// Every subscriber must see the sequence numbers in order, each exactly once. The check costs one comparison:
// a connection knows the number it expects, and the digits of the numbers in flight are kept ready.
// Compressed messages are inflated and compared on the publisher's connection only; the others count their
// frames, since inflating a thousand copies would measure the load generator.
//
// With several threads the publisher belongs to the first. Each thread counts its own deliveries, and tells
// the others only when a message has reached all of its connections.

#include "deflate.hpp"
#include "histogram.hpp"
#include "measurement.hpp"
#include "modes.hpp"
#include "pacer.hpp"
#include "payload.hpp"
#include "report.hpp"
#include "team.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace skein::bench {

/// A message between its publication and its last delivery.
struct flight {
  std::atomic<std::int64_t> due_ns = 0;
  std::atomic<std::int64_t> sent_ns = 0;
  std::atomic<std::uint32_t> threads_left = 0;  // that wait for a delivery
};

/// What the threads of a fan-out share.
struct fanout_channel {
  fanout_channel(std::uint32_t max_in_flight, std::uint32_t thread_count);

  [[nodiscard]] flight& of(std::uint32_t sequence) noexcept { return flights[sequence & ring_mask]; }

  std::vector<flight> flights;  // a ring, by sequence number
  std::uint32_t ring_mask;
  std::uint32_t threads;
  std::atomic<std::uint32_t> published = 0;
  std::atomic<std::uint32_t> done = 0;
  worker* publisher = nullptr;  // whom to wake when a message is done
};

struct fanout_tally {
  std::uint64_t deliveries = 0;  // in the window, as the publications
  std::uint64_t publications = 0;
  std::uint64_t missing = 0;
  std::uint64_t duplicate = 0;
  std::uint64_t out_of_order = 0;
  std::uint64_t corrupt = 0;
  std::uint64_t unsent = 0;  // due, but too many were outstanding to the end
  bool deflate = false;
  histogram last_delivery_ns;          // from the time when the message was due, or else sent
  histogram last_delivery_service_ns;  // from the time when it was sent
  histogram delivery_ns;

  // Of subscribers that stopped reading; whatever these miss is no fault.
  std::uint32_t stalled = 0;
  std::uint32_t stalled_ended = 0;
  std::uint32_t stalled_caught_up = 0;    // with what was published after they read again
  std::uint64_t stalled_deliveries = 0;   // since they stopped
  std::uint64_t stalled_skipped = 0;      // never came, though later ones did
  std::uint64_t stalled_outstanding = 0;  // of those that are still there and have not caught up
  std::map<std::uint16_t, std::uint64_t> stalled_close_codes;  // 1006: there was no close frame

  void merge(const fanout_tally& other);
  [[nodiscard]] bool faultless() const noexcept {
    return missing + duplicate + out_of_order + corrupt + unsent == 0;
  }
};

class fanout_load final : public load {
 public:
  /// With `thread` 0 one of the connections, the last, is the publisher.
  fanout_load(const run_context& run, const fanout_options& options, fanout_channel& channel,
              std::uint32_t thread, std::uint32_t connections);

  [[nodiscard]] fanout_tally result() const;

  void start() override;
  std::int64_t take_turn(std::int64_t now) override;
  [[nodiscard]] bool finished() const override;
  [[nodiscard]] bool broken() const override {
    return publishes_ ? publisher_gone_ || receivers_ < 2 : receivers_ == 0;
  }
  [[nodiscard]] std::uint64_t progress() const override { return received_; }

  /// From here on the latency counts for another histogram; returns the one so far.
  histogram take_delivery_latency() { return std::exchange(tally_.delivery_ns, {}); }

  /// The first `count` subscribers read nothing more.
  void stall(std::uint32_t count, int receive_buffer_bytes);
  /// They go on reading; and more is published, whatever the window, so that it can be told who catches up.
  void resume();
  /// Those that are still there have received something that was published since.
  [[nodiscard]] bool stalled_caught_up() const;
  void stop_publishing() { goes_on_ = false; }

  void on_open(client_socket& socket) override;
  void on_message(client_socket& socket, const message_view& message) override;
  void on_lost(client_socket& socket) override;

 private:
  struct receiver {
    std::uint32_t expected = 0;      // next sequence number
    bool stalled = false;            // once stalled, it counts for itself
    std::uint32_t stalled_from = 0;  // what it expected then
    std::uint32_t stalled_got = 0;   // messages since
  };

  [[nodiscard]] bool is_publisher(const client_socket& socket) const noexcept {
    return publishes_ && socket.index() + 1 == receivers_of_.size();
  }
  [[nodiscard]] std::uint32_t published() const noexcept {
    return channel_.published.load(std::memory_order_acquire);
  }
  void publish_due(std::int64_t now);
  void publish(std::int64_t due_ns);
  token digits_of(const client_socket& socket, const message_view& message);
  void stalled_message(receiver& who, const message_view& message);
  void add_stalled(fanout_tally& all) const;
  [[nodiscard]] bool caught_up(const receiver& who) const noexcept;
  void delivered(std::uint32_t sequence);
  void settle(std::uint32_t sequence);
  void settle_complete();
  void misplaced(std::uint32_t index, token digits);
  void leave(const receiver& who);
  [[nodiscard]] bool has_room() const noexcept;

  opcode kind_;
  fanout_channel& channel_;
  std::uint32_t window_;
  bool publishes_;
  std::optional<pacer> pace_;
  payload body_;
  premade_frame frame_;
  std::vector<receiver> receivers_of_;   // by connection
  std::vector<token> digits_;            // of each message in flight, a ring
  std::vector<std::uint32_t> arrivals_;  // of the same, on this thread
  std::uint32_t ring_mask_;
  std::uint32_t receivers_ = 0;   // that count
  std::uint32_t local_done_ = 0;  // messages that all of them have received
  std::uint64_t next_slot_ = 0;
  bool started_ = false;
  bool goes_on_ = false;          // past the window
  std::uint32_t resumed_at_ = 0;  // the next message to be published then
  bool publisher_gone_ = true;
  std::uint64_t received_ = 0;
  fanout_tally tally_;
  std::set<std::pair<std::uint32_t, std::uint32_t>> gaps_;  // missing so far: connection, sequence
  deflater deflater_;
  inflater inflater_;
};

/// A team with a publisher and subscribers, all connected.
struct fanout_crew {
  fanout_crew(const run_context& run, const fanout_options& given);

  /// Says what was asked for.
  void add_options(report& out) const;
  /// Ends the load and says what came of it; returns whether nothing was lost or wrong.
  bool add_figures(const run_context& run, const measurement& measured);

  fanout_options options;
  std::vector<std::uint32_t> connections;  // of each thread; the first has the publisher's, too
  fanout_channel channel;
  team_of<fanout_load> crew;
};

/// Adds what was not delivered as it should be.
void add_faults(report& out, const fanout_tally& tally);

}  // namespace skein::bench
