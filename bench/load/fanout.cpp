// Fan-out: subscribers rest on the broadcast path, one more connection there publishes and keeps a window of
// messages outstanding. A message is done when every connection has received it, the publisher's included;
// what is measured is deliveries, one for each of them.
//
// Every subscriber must see the sequence numbers in order, each exactly once. The check costs one comparison:
// a connection knows the number it expects, and the digits of the numbers in flight are kept ready.
// Compressed messages are inflated and compared on the publisher's connection only; the others count their
// frames, since inflating a thousand copies would measure the load generator.

#include "clock.hpp"
#include "deflate.hpp"
#include "histogram.hpp"
#include "modes.hpp"
#include "payload.hpp"

#include <algorithm>
#include <bit>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace skein::bench {
namespace {

constexpr std::uint32_t fixed_mask = 0x5ca1ab1e;
constexpr std::size_t max_remembered_gaps = 100'000;

struct fanout_faults {
  std::uint64_t missing = 0;
  std::uint64_t duplicate = 0;
  std::uint64_t out_of_order = 0;
  std::uint64_t corrupt = 0;

  [[nodiscard]] bool none() const noexcept { return missing + duplicate + out_of_order + corrupt == 0; }
};

class fanout_load final : public load {
 public:
  fanout_load(const common_options& common, const fanout_options& options)
      : kind_(common.kind()),
        window_(options.window),
        publisher_(options.subscribers),
        body_(options.size, options.json_payload),
        frame_(body_, kind_, fixed_mask),
        flights_(std::bit_ceil(options.window)),
        ring_mask_(static_cast<std::uint32_t>(flights_.size() - 1)),
        expected_(std::size_t{options.subscribers} + 1),
        driver_(common.handshake(), *this) {}

  worker& driver() noexcept { return driver_; }
  [[nodiscard]] std::uint64_t deliveries() const noexcept { return deliveries_; }
  [[nodiscard]] std::uint64_t publications() const noexcept { return publications_; }
  [[nodiscard]] const fanout_faults& faults() const noexcept { return faults_; }
  [[nodiscard]] const histogram& latency_ns() const noexcept { return latency_ns_; }
  [[nodiscard]] bool deflate() const { return driver_.tally().opened != 0 && publisher_deflates_; }

  void start() override {
    driver_.tick();
    while (published_ - done_ < window_) publish();
  }

  void begin_window() override { counting_ = true; }

  void end_window() override {
    counting_ = false;
    stopped_ = true;
  }

  [[nodiscard]] std::uint64_t outstanding() const override {
    std::uint64_t deliveries = 0;
    for (auto sequence = done_; sequence != published_; ++sequence)
      deliveries += flights_[sequence & ring_mask_].remaining;
    return deliveries;
  }

  [[nodiscard]] bool broken() const override { return publisher_gone_ || receivers_ < 2; }

  void on_open(client_socket& socket) override {
    ++receivers_;
    if (socket.index() != publisher_) return;
    publisher_gone_ = false;
    publisher_deflates_ = socket.deflate();
  }

  void on_message(client_socket& socket, const message_view& message) override {
    auto& expected = expected_[socket.index()];
    const auto sequence = expected;
    if (message.compressed && socket.index() != publisher_) {
      if (sequence == published_) {
        ++faults_.duplicate;
        return;
      }
    } else {
      const auto digits = digits_of(socket, message);
      if (digits != flights_[sequence & ring_mask_].digits) return misplaced(socket.index(), digits);
    }
    ++expected;
    delivered(sequence);
  }

  void on_lost(client_socket& socket) override {
    --receivers_;
    if (socket.index() == publisher_) publisher_gone_ = true;
    const auto end = published_;
    for (auto& next = expected_[socket.index()]; next != end; ++next) {
      ++faults_.missing;
      settle(next);
    }
  }

 private:
  struct flight_state {
    token digits = 1;             // matches nothing before its first use
    std::uint32_t remaining = 0;  // connections that have not received it
    std::int64_t sent_ns = 0;
  };

  void publish() {
    auto& socket = *driver_.sockets()[publisher_];
    auto& flight = flights_[published_ & ring_mask_];
    flight = {make_token(published_), receivers_, driver_.read_time_ns()};
    if (socket.deflate())
      append_frame(socket.output(), kind_, true, deflater_.compress(body_.with(flight.digits)), fixed_mask);
    else
      frame_.append_to(socket.output(), flight.digits);
    ++published_;
  }

  /// The publisher's own copy is looked at as a whole.
  token digits_of(const client_socket& socket, const message_view& message) {
    if (socket.index() != publisher_) return body_.token_of(message.payload);
    const auto text = message.compressed ? inflater_.expand(message.payload, body_.size()) : message.payload;
    return body_.same_filler(text) ? body_.token_of(text) : 0;
  }

  void delivered(std::uint32_t sequence) {
    if (counting_) ++deliveries_;
    settle(sequence);
  }

  /// One connection less to wait for. Each connection's sequence only rises, so messages are done in order.
  void settle(std::uint32_t sequence) {
    auto& flight = flights_[sequence & ring_mask_];
    if (--flight.remaining != 0) return;
    ++done_;
    if (counting_) {
      ++publications_;
      latency_ns_.record(
          static_cast<std::uint64_t>(std::max<std::int64_t>(0, driver_.read_time_ns() - flight.sent_ns)));
    }
    if (!stopped_ && !publisher_gone_ && published_ - done_ < window_) publish();
  }

  void misplaced(std::uint32_t index, token digits) {
    const auto sequence = parse_token(digits);
    auto& expected = expected_[index];
    if (!sequence || static_cast<std::int32_t>(*sequence - published_) >= 0) {
      ++faults_.corrupt;
    } else if (static_cast<std::int32_t>(*sequence - expected) < 0) {
      if (gaps_.erase({index, *sequence}) == 0) {
        ++faults_.duplicate;
      } else {
        ++faults_.out_of_order;
        --faults_.missing;
      }
    } else {
      while (expected != *sequence) {
        ++faults_.missing;
        if (gaps_.size() < max_remembered_gaps) gaps_.emplace(index, expected);
        settle(expected++);
      }
      ++expected;
      delivered(*sequence);
    }
  }

  opcode kind_;
  std::uint32_t window_;
  std::uint32_t publisher_;  // its index: the last connection
  payload body_;
  premade_frame frame_;
  std::vector<flight_state> flights_;  // a ring, by sequence number
  std::uint32_t ring_mask_;
  std::vector<std::uint32_t> expected_;  // next sequence number of each connection
  std::uint32_t published_ = 0;
  std::uint32_t done_ = 0;
  std::uint32_t receivers_ = 0;
  bool publisher_gone_ = true;
  bool publisher_deflates_ = false;
  bool counting_ = false;
  bool stopped_ = false;
  std::uint64_t deliveries_ = 0;
  std::uint64_t publications_ = 0;
  fanout_faults faults_;
  std::set<std::pair<std::uint32_t, std::uint32_t>> gaps_;  // missing so far: connection, sequence
  histogram latency_ns_;
  deflater deflater_;
  inflater inflater_;
  worker driver_;
};

}  // namespace

bool run_fanout(const common_options& common, const fanout_options& options, report& out) {
  const auto work = std::make_unique<fanout_load>(common, options);
  auto& driver = work->driver();
  driver.open(options.subscribers + 1, common.handshakes_at_once);
  measurement measured{common.window.pid};
  if (!work->broken()) run_window(driver, *work, measured, common.window);
  const auto deliveries = work->deliveries();
  const auto& faults = work->faults();
  const auto never_came = work->outstanding();

  out.add("mode", "fanout");
  out.add("url", common.url);
  out.add_count("subscribers", options.subscribers);
  out.add_count("message_bytes", options.size);
  out.add_count("window", options.window);
  out.add_flag("deflate", work->deflate());
  out.add("seconds", measured.seconds(), 3);
  out.add_count("publications", work->publications());
  out.add_count("deliveries", deliveries);
  out.add("deliveries_per_s", static_cast<double>(deliveries) / std::max(measured.seconds(), 1e-9), 0);
  out.add_latency("last_delivery", work->latency_ns());
  measured.add_to(out, deliveries, "delivery");
  const bool all_lived = add_connections(out, driver.tally());
  out.add_count("deliveries_missing", faults.missing + never_came);
  out.add_count("deliveries_duplicate", faults.duplicate);
  out.add_count("deliveries_out_of_order", faults.out_of_order);
  out.add_count("deliveries_corrupt", faults.corrupt);
  if (common.deflate && !work->deflate()) out.note("the server declined permessage-deflate");
  if (work->deflate()) out.note("the publisher's copies were inflated and compared, the others counted");
  driver.close_all();
  return all_lived && faults.none() && never_came == 0 && deliveries != 0;
}

}  // namespace skein::bench
