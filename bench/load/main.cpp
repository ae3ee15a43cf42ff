// skein-bench: loads a WebSocket server and says what a message, a delivery or a resting connection costs it.

#include "clock.hpp"
#include "command_line.hpp"

#include <csignal>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <iostream>
#include <stdexcept>

namespace skein::bench {
namespace {

constexpr rlim_t files_besides_connections = 32;

void raise_file_limit(std::uint64_t connections, std::uint64_t threads) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  // Each thread has a table of open files of its own.
  if (connections / threads + 2 * threads + files_besides_connections > limit.rlim_max)
    throw std::runtime_error{"the file limit of " + std::to_string(limit.rlim_max) +
                             " is too low for so many connections on one thread; --threads spreads them"};
}

bool run_mode(const run_context& run, const command_line& chosen) {
  switch (chosen.what) {
    case mode::echo:
      return run_echo(run, chosen.echo);
    case mode::fanout:
      return run_fanout(run, chosen.fanout);
    case mode::idle:
      return run_idle(run, chosen.idle);
    case mode::churn:
      return run_churn(run, chosen.churn);
    case mode::storm:
      return run_storm(run, chosen.storm);
    case mode::slow:
      break;
  }
  return run_slow(run, chosen.slow);
}

int run(const command_line& chosen) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  const auto& common = chosen.common;
  const auto servers = std::max<std::size_t>(1, common.servers.size());
  raise_file_limit(chosen.connections() * servers, common.threads * servers);
  const auto handshake = common.handshake_with(common.servers.empty() ? common.url : common.servers[0].url);
  report out;
  bool good = false;
  {
    conductor host{common.time_limit_s, chosen.progress};
    good = run_mode({common, handshake, host, out}, chosen);
    if (host.interrupted()) {
      out.note("the run was interrupted, and is shorter than asked for");
    } else if (host.out_of_time()) {
      out.note("the time limit of " + std::to_string(std::lround(host.time_limit_s())) + " s ended the run");
      good = false;
    }
    out.add_flag("interrupted", host.interrupted());
  }
  out.add_flag("ok", good);
  if (!out.problem().empty()) std::cerr << "skein-bench: " << out.problem() << '\n';
  if (chosen.as == output::json)
    out.print_json(std::cout);
  else if (chosen.as == output::csv)
    out.print_csv(std::cout);
  else if (!out.nothing_measured())
    out.print_table(std::cout);
  // A report that nobody can read is no run that was made.
  if (!std::cout.flush()) throw std::runtime_error{"the figures could not be written"};
  return good ? 0 : 1;
}

}  // namespace

handshake_settings common_options::handshake_with(std::string_view server) const {
  handshake_settings settings{resolve(server), headers, deflate, to_ns(handshake_timeout_s), nullptr};
  if (settings.target.secure) settings.tls = std::make_shared<tls_context>(tls, settings.target.host);
  return settings;
}

void run_context::begin_report(std::string_view mode, std::uint32_t threads) const {
  begin_shared_report(mode, threads);
  out.add("url", common.url);
  out.add_flag("tls", handshake.tls != nullptr);
}

void run_context::begin_shared_report(std::string_view mode, std::uint32_t threads) const {
  out.add("mode", mode);
  out.add_count("threads", threads);
  out.add("message_kind", common.text ? "text" : "binary");
}

}  // namespace skein::bench

int main(int argc, char** argv) try {
  return skein::bench::run(skein::bench::parse_command_line(argc, argv));
} catch (const skein::bench::command_line_end& end) {
  return end.exit_status;
} catch (const std::exception& error) {
  std::cerr << "skein-bench: " << error.what() << '\n';
  return 2;
}
