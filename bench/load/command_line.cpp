#include "command_line.hpp"

#include "payload.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace skein::bench {
namespace {

/// A number in this range. CLI::Range lets pass what is no number at all: it is in no order with its ends.
CLI::Validator number(double least, double most) {
  const auto range = CLI::detail::to_string(least) + " to " + CLI::detail::to_string(most);
  return {[least, most, range](const std::string& text) {
            double value = 0;
            const bool right = CLI::detail::lexical_cast(text, value) && value >= least && value <= most;
            return right ? std::string{} : text + " is not from " + range;
          },
          "FLOAT in [" + range + "]"};
}

/// Takes NAME=PID@URL.
void add_rival(std::vector<rival>& all, const std::string& text) {
  const auto equals = text.find('=');
  const auto at = text.find('@', equals == std::string::npos ? 0 : equals);
  if (equals == 0 || equals == std::string::npos || at == std::string::npos)
    throw CLI::ValidationError{"--server", text + " is not NAME=PID@URL"};
  rival server{text.substr(0, equals), 0, text.substr(at + 1)};
  const auto pid = text.substr(equals + 1, at - equals - 1);
  if (!CLI::detail::lexical_cast(pid, server.pid) || server.pid <= 0)
    throw CLI::ValidationError{"--server", pid + " is not a process id"};
  if (std::any_of(all.begin(), all.end(), [&](const rival& other) { return other.name == server.name; }))
    throw CLI::ValidationError{"--server", "there are two servers called " + server.name};
  all.push_back(std::move(server));
}

// Each mode has all of its options, common ones included, so that its help is complete.
class declaration {
 public:
  declaration(CLI::App& app, command_line& chosen) : app_(app), chosen_(chosen) {}

  void echo() {
    auto& options = chosen_.echo;
    auto& app = begin("echo", mode::echo, "messages that the server sends back", "/echo");
    connections(app, options.connections);
    size(app, options.size);
    app.add_option(
           "--depth", options.depth,
           "messages that each connection keeps, or with --rate at most has, outstanding (default: 1, with "
           "--rate 16)")
        ->check(CLI::Range(1, 65536));
    rate(app, options.rate, "messages per second of all connections together");
    window(app);
    turns(app, 0.03);
  }

  void fanout() {
    auto& options = chosen_.fanout;
    auto& app = begin("fanout", mode::fanout, "messages that the server sends to all connections on the path",
                      "/broadcast");
    broadcast(app, options);
    app.add_option(
           "--window", options.window,
           "messages that the publisher keeps, or with --rate at most has, outstanding (default: 1, with "
           "--rate 65536)")
        ->check(CLI::Range(1, 65536));
    rate(app, options.rate, "messages per second that are published");
    window(app);
    turns(app, 0.1);
  }

  void idle() {
    auto& options = chosen_.idle;
    auto& app = begin("idle", mode::idle, "connections that rest, and what opening them costs", "/echo");
    connections(app, options.connections);
    app.add_flag("--exchange", options.exchange, "echo one message on each connection first");
    app.add_option("--hold", options.hold_s, "seconds to hold them; 0 for none")
        ->check(number(0.0, 3600.0))
        ->capture_default_str();
    at_once(app);
  }

  void churn() {
    auto& options = chosen_.churn;
    auto& app = begin("churn", mode::churn,
                      "connections that open, have a message echoed, close, and begin again", "/echo");
    connections(app, options.connections, "connections at a time");
    size(app, options.size);
    rate(app, options.rate, "new connections per second of all threads together");
    window(app);
  }

  void storm() {
    auto& options = chosen_.storm;
    auto& app =
        begin("storm", mode::storm, "connections that are all cut at once, and all return at once", "/echo");
    connections(app, options.connections);
    app.add_option("--rounds", options.rounds, "how often")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_option("--round-limit", options.round_limit_s, "seconds after which a round is over, back or not")
        ->check(number(0.1, 3600.0))
        ->capture_default_str();
    app.add_option("--pause", options.pause_s, "seconds between two rounds")
        ->check(number(0.0, 3600.0))
        ->capture_default_str();
    app.add_option("--retry", options.retry_s,
                   "seconds after which a connection that was refused tries again")
        ->check(number(0.001, 60.0))
        ->capture_default_str();
    at_once(app);
  }

  void slow() {
    auto& options = chosen_.slow;
    auto& app = begin("slow", mode::slow, "a fan-out in which some subscribers stop reading", "/broadcast");
    broadcast(app, options.fanout);
    app.add_option("--rate", options.fanout.rate, "messages per second that are published")
        ->check(number(0.001, 1e9))
        ->capture_default_str();
    app.add_option("--slow-percent", options.share_percent, "subscribers that stop reading, in percent")
        ->check(number(0.1, 99.0))
        ->capture_default_str();
    app.add_option("--stall", options.stall_s, "seconds for which they do, after the window before")
        ->check(number(0.1, 3600.0))
        ->capture_default_str();
    app.add_option(
           "--slow-receive-buffer", options.receive_buffer,
           "bytes that the kernel may keep for each of them, about; small, so that the server feels it soon")
        ->check(CLI::Range(1024, 1 << 30))
        ->capture_default_str();
    window(app);
  }

 private:
  CLI::App& begin(const std::string& name, mode what, const std::string& about, const std::string& path) {
    auto& app = *app_.add_subcommand(name, about);
    auto& common = chosen_.common;
    const auto url = "ws://127.0.0.1:8080" + path;
    app.callback([this, what, url] {
      chosen_.what = what;
      if (chosen_.common.url.empty()) chosen_.common.url = url;
    });
    app.add_option("--url", common.url,
                   "ws://HOST[:PORT][/PATH][?QUERY] of the server, or wss:// (default: " + url + ")");
    app.add_option("--pid", common.window.pid, "server process whose CPU time and memory to report")
        ->check(CLI::Range(1, std::numeric_limits<pid_t>::max()));
    app.add_option("--threads", common.threads, "load threads; each has its share of the connections")
        ->check(CLI::Range(1, 200))
        ->capture_default_str();
    app.add_option("--header", common.headers, "further request header, 'Name: value'; repeatable")
        ->allow_extra_args(false);
    auto* ca = app.add_option("--ca", common.tls.ca_file,
                              "certificates to trust, a PEM file (default: the system's authorities)");
    app.add_flag("!--insecure", common.tls.verify, "do not verify the server's certificate")->excludes(ca);
    app.add_option("--handshake-timeout", common.handshake_timeout_s,
                   "seconds for each connection to become open, or to close")
        ->check(number(0.1, 600.0))
        ->capture_default_str();
    app.add_option("--time-limit", common.time_limit_s,
                   "seconds for the whole run, past which it ends with status 1 (default: what it can need)")
        ->check(number(0.1, 86400.0));
    app.add_flag("--text,!--binary", common.text, "send text messages (the default), or binary ones");
    app.add_flag("--deflate", common.deflate, "offer permessage-deflate, without context takeover");
    app.add_flag("--progress", chosen_.progress,
                 "say on stderr how far a longer run is, even if stderr is no terminal");
    auto* json = app.add_flag_callback(
        "--json", [this] { chosen_.as = output::json; },
        "print the figures as one JSON object, with the full histograms");
    app.add_flag_callback(
           "--csv", [this] { chosen_.as = output::csv; }, "print one line of names and one of values")
        ->excludes(json);
    return app;
  }

  static void connections(CLI::App& app, std::uint32_t& value, const std::string& about = "connections") {
    app.add_option("--connections", value, about)->check(CLI::Range(1, 1'000'000))->capture_default_str();
  }

  static void size(CLI::App& app, std::size_t& value) {
    app.add_option("--size", value, "bytes in a message")
        ->check(CLI::Range(token_bytes, max_payload_bytes))
        ->capture_default_str();
  }

  static void rate(CLI::App& app, double& value, const std::string& of_what) {
    app.add_option(
           "--rate", value,
           of_what +
               ", on a timetable from which the latency counts (default: a closed load, as fast as the "
               "server answers)")
        ->check(number(0.001, 1e9));
  }

  void broadcast(CLI::App& app, fanout_options& options) {
    app.add_option("--subscribers", options.subscribers, "connections besides the publisher")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    size(app, options.size);
    app.add_flag("--json-payload", options.json_payload,
                 "send JSON that compresses as a feed of quotes does");
    at_once(app);
  }

  void at_once(CLI::App& app) {
    app.add_option("--handshakes-at-once", chosen_.common.handshakes_at_once,
                   "connections in the handshake at a time")
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
  }

  void window(CLI::App& app) {
    auto& settings = chosen_.common.window;
    app.add_option("--seconds", settings.seconds, "length of the measured window, in seconds")
        ->check(number(0.1, 3600.0))
        ->capture_default_str();
    app.add_option("--warmup", settings.warmup_s, "seconds of load before it; 0 for none")
        ->check(number(0.0, 600.0))
        ->capture_default_str();
    app.add_option("--drain", settings.drain_s, "seconds after it in which the rest may still come")
        ->check(number(0.0, 600.0))
        ->capture_default_str();
  }

  void turns(CLI::App& app, double usual_s) {
    auto& common = chosen_.common;
    auto* servers =
        app.add_option(
               "--server",
               [&common](const std::vector<std::string>& given) {
                 for (const auto& text : given) add_rival(common.servers, text);
                 return true;
               },
               "one of several servers between which the load goes back and forth; repeatable, instead of "
               "--url and --pid. The first is what the others are multiples of; --seconds and --warmup are "
               "for each")
            ->type_name("NAME=PID@URL")
            ->allow_extra_args(false)
            ->expected(1, 64);
    for (const auto* other : {"--url", "--pid", "--rate"}) servers->excludes(app.get_option(other));
    app.add_option("--turn", common.turn_s,
                   "seconds that each server has it for (default: " + CLI::detail::to_string(usual_s) + ")")
        ->check(number(0.001, 60.0))
        ->needs(servers);
  }

  CLI::App& app_;
  command_line& chosen_;
};

}  // namespace

std::uint32_t command_line::connections() const noexcept {
  switch (what) {
    case mode::echo:
      return echo.connections;
    case mode::fanout:
      return fanout.subscribers + 1;
    case mode::idle:
      return idle.connections;
    case mode::churn:
      return churn.connections;
    case mode::storm:
      return storm.connections;
    case mode::slow:
      break;
  }
  return slow.fanout.subscribers + 1;
}

double command_line::usual_time_limit_s() const noexcept {
  constexpr double handshakes_per_s = 500;
  const double base_s = 30 + common.handshake_timeout_s + connections() / handshakes_per_s;
  const auto servers = static_cast<double>(std::max<std::size_t>(1, common.servers.size()));
  switch (what) {
    case mode::idle:
      return base_s + idle.hold_s;
    case mode::storm:
      return base_s + storm.rounds * (storm.round_limit_s + storm.pause_s);
    case mode::slow:
      return base_s + common.window.warmup_s + common.window.seconds + common.window.drain_s + slow.stall_s;
    case mode::echo:
    case mode::fanout:
    case mode::churn:
      break;
  }
  // A turn ends a little after its time, when what was sent has come back.
  constexpr double longer = 1.5;
  return servers *
         (base_s + longer * (common.window.warmup_s + common.window.seconds) + common.window.drain_s);
}

command_line parse_command_line(int argc, char** argv) {
  command_line chosen;
  CLI::App app{
      "Loads a WebSocket server and measures it. `skein-bench MODE --help` lists a mode's options. Exit "
      "status: 0 "
      "when nothing was lost or wrong, 1 when something was, 2 when the run could not be made."};
  app.require_subcommand(1);
  declaration declare{app, chosen};
  declare.echo();
  declare.fanout();
  declare.idle();
  declare.churn();
  declare.storm();
  declare.slow();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    throw command_line_end{app.exit(error) == 0 ? 0 : 2};
  }
  if (chosen.common.time_limit_s == 0) chosen.common.time_limit_s = chosen.usual_time_limit_s();
  return chosen;
}

}  // namespace skein::bench
