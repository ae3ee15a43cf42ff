// The echo mode: see echo_load.hpp for what is done, here is what is said about it.

#include "echo_load.hpp"
#include "turns.hpp"

namespace skein::bench {
namespace {

constexpr double turn_s = 0.03;

}  // namespace

void echo_crew::add_options(report& out) const {
  out.add_count("connections", options.connections);
  out.add_count("message_bytes", options.size);
  out.add_count("depth", options.depth);
  out.add_if(options.rate > 0, "rate_per_s", options.rate, 1);
}

bool echo_crew::add_figures(const run_context& run, const measurement& measured) {
  const auto all = crew.result();
  auto& out = run.out;
  out.add_flag("deflate", all.deflate);
  out.new_block();
  out.add("seconds", measured.seconds(), 3);
  out.add_count("messages", all.messages);
  out.add("messages_per_s", measured.per_second(all.messages), 0);
  out.add_latency("latency", all.latency_ns);
  out.add_latency("service", all.service_ns);
  out.new_block();
  const bool bottleneck = measured.add_to(out, all.messages, "message");
  out.new_block();
  const bool all_lived = add_connections(out, crew.tally());
  out.add_count("messages_lost", all.lost);
  out.add_count("messages_unsent", all.unsent);
  out.add_count("messages_wrong", all.wrong);
  if (options.rate > 0) report_rate(out, options.rate, measured, all.messages, all.unsent, bottleneck);
  if (run.common.deflate && !all.deflate) out.note("the server declined permessage-deflate");
  if (all.deflate) out.note("one answer in 16 was inflated and compared, the others were counted");
  crew.close_all();
  return all_lived && all.lost == 0 && all.unsent == 0 && all.wrong == 0 && all.messages != 0;
}

bool run_echo(const run_context& run, const echo_options& options) {
  return run_crew<echo_crew>(run, options, {"echo", "message", turn_s});
}

}  // namespace skein::bench
