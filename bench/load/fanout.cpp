// The fan-out mode: see fanout_load.hpp for what is done, here is what is said about it.

#include "fanout_load.hpp"
#include "turns.hpp"

#include <algorithm>

namespace skein::bench {

namespace {

constexpr std::uint32_t open_window = 65'536;
constexpr double turn_s = 0.1;

fanout_options decided(fanout_options options) {
  if (options.window == 0) options.window = options.rate > 0 ? open_window : 1;
  return options;
}

std::vector<std::uint32_t> connections_of(std::uint32_t subscribers, std::uint32_t threads) {
  auto shares = shares_of(subscribers, std::min(threads, subscribers));
  ++shares[0];  // the publisher
  return shares;
}

}  // namespace

fanout_crew::fanout_crew(const run_context& run, const fanout_options& given)
    : options(decided(given)),
      connections(connections_of(options.subscribers, run.common.threads)),
      channel(options.window, static_cast<std::uint32_t>(connections.size())),
      crew(channel.threads, run.host, [&](std::uint32_t thread) {
        return std::make_unique<fanout_load>(run, options, channel, thread, connections[thread]);
      }) {
  crew.open(connections, run.common.handshakes_at_once);
}

void add_faults(report& out, const fanout_tally& tally) {
  out.add_count("deliveries_missing", tally.missing);
  out.add_count("deliveries_duplicate", tally.duplicate);
  out.add_count("deliveries_out_of_order", tally.out_of_order);
  out.add_count("deliveries_corrupt", tally.corrupt);
  out.add_count("messages_unsent", tally.unsent);
}

void fanout_crew::add_options(report& out) const {
  out.add_count("subscribers", options.subscribers);
  out.add_count("message_bytes", options.size);
  out.add_count("window", options.window);
  out.add_if(options.rate > 0, "rate_per_s", options.rate, 1);
}

bool fanout_crew::add_figures(const run_context& run, const measurement& measured) {
  const auto all = crew.result();
  const auto rate = options.rate;
  auto& out = run.out;
  out.add_flag("deflate", all.deflate);
  out.new_block();
  out.add("seconds", measured.seconds(), 3);
  out.add_count("publications", all.publications);
  out.add_count("deliveries", all.deliveries);
  out.add("deliveries_per_s", measured.per_second(all.deliveries), 0);
  out.add_latency("last_delivery", all.last_delivery_ns);
  out.add_latency("last_delivery_service", rate > 0 ? all.last_delivery_service_ns : histogram{});
  out.add_latency("delivery", all.delivery_ns);
  out.new_block();
  const bool bottleneck = measured.add_to(out, all.deliveries, "delivery");
  out.new_block();
  const bool all_lived = add_connections(out, crew.tally());
  add_faults(out, all);
  if (rate > 0) report_rate(out, rate, measured, all.publications, all.unsent, bottleneck);
  if (run.common.deflate && !all.deflate) out.note("the server declined permessage-deflate");
  if (all.deflate) out.note("the publisher's copies were inflated and compared, the others counted");
  crew.close_all();
  return all_lived && all.faultless() && all.deliveries != 0;
}

bool run_fanout(const run_context& run, const fanout_options& options) {
  return run_crew<fanout_crew>(run, options, {"fanout", "delivery", turn_s});
}

}  // namespace skein::bench
