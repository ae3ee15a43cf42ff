// skein-bench: loads a WebSocket server and says what a message, a delivery or a resting connection costs it.

#include "modes.hpp"
#include "payload.hpp"

#include <CLI/CLI.hpp>
#include <csignal>
#include <sys/resource.h>

#include <algorithm>
#include <exception>
#include <iostream>

namespace skein::bench {
namespace {

constexpr rlim_t files_besides_connections = 32;

void raise_file_limit(std::uint64_t connections) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (connections + files_besides_connections > limit.rlim_max)
    throw std::runtime_error{"the file limit of " + std::to_string(limit.rlim_max) +
                             " is too low for so many connections"};
}

struct command_line {
  common_options common;
  echo_options echo;
  fanout_options fanout;
  idle_options idle;
  bool json = false;
};

void declare_common(CLI::App& app, command_line& chosen) {
  auto& common = chosen.common;
  app.add_option("--url", common.url, "ws://HOST[:PORT][/PATH] of the server")->capture_default_str();
  app.add_option("--pid", common.window.pid, "server process whose CPU time and memory to report");
  app.add_option("--header", common.headers, "further request header, 'Name: value'; repeatable")
      ->allow_extra_args(false);
  app.add_option("--handshakes-at-once", common.handshakes_at_once, "connections in the handshake at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_flag("--text,!--binary", common.text, "send text messages (the default), or binary ones");
  app.add_flag("--json", chosen.json, "print the figures as one JSON object");
}

void declare_window(CLI::App& mode, common_options& common) {
  mode.add_option("--seconds", common.window.seconds, "length of the measured window")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  mode.add_option("--warmup", common.window.warmup_s, "seconds of load before it; 0 for none")
      ->check(CLI::Range(0.0, 600.0))
      ->capture_default_str();
  mode.add_flag("--deflate", common.deflate, "offer permessage-deflate, without context takeover");
}

void declare_echo(CLI::App& mode, command_line& chosen) {
  auto& echo = chosen.echo;
  mode.add_option("--connections", echo.connections, "connections")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  mode.add_option("--size", echo.size, "bytes in a message")
      ->check(CLI::Range(token_bytes, max_payload_bytes))
      ->capture_default_str();
  mode.add_option("--depth", echo.depth, "messages that each connection keeps outstanding")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  declare_window(mode, chosen.common);
}

void declare_fanout(CLI::App& mode, command_line& chosen) {
  auto& fanout = chosen.fanout;
  mode.add_option("--subscribers", fanout.subscribers, "connections besides the publisher")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  mode.add_option("--size", fanout.size, "bytes in a message")
      ->check(CLI::Range(token_bytes, max_payload_bytes))
      ->capture_default_str();
  mode.add_option("--window", fanout.window, "messages that the publisher keeps outstanding")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  mode.add_flag("--json-payload", fanout.json_payload, "send JSON that compresses as a feed of quotes does");
  declare_window(mode, chosen.common);
}

void declare_idle(CLI::App& mode, command_line& chosen) {
  auto& idle = chosen.idle;
  mode.add_option("--connections", idle.connections, "connections")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  mode.add_flag("--exchange", idle.exchange, "echo one message on each connection first");
  mode.add_option("--hold", idle.hold_s, "seconds to hold them; 0 for none")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  mode.add_flag("--deflate", chosen.common.deflate, "offer permessage-deflate, without context takeover");
}

int run(int argc, char** argv) {
  command_line chosen;
  CLI::App app{
      "Loads a WebSocket server and measures it. Exit status: 0 when nothing was lost, 1 when "
      "something was, 2 when the run could not be made."};
  app.require_subcommand(1);
  app.fallthrough();
  declare_common(app, chosen);
  auto& echo = *app.add_subcommand("echo", "messages that the server sends back");
  auto& fanout =
      *app.add_subcommand("fanout", "messages that the server sends to all connections on the path");
  auto& idle = *app.add_subcommand("idle", "connections that rest");
  declare_echo(echo, chosen);
  declare_fanout(fanout, chosen);
  declare_idle(idle, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  std::signal(SIGPIPE, SIG_IGN);
  report out;
  bool good = false;
  if (echo.parsed()) {
    raise_file_limit(chosen.echo.connections);
    good = run_echo(chosen.common, chosen.echo, out);
  } else if (fanout.parsed()) {
    raise_file_limit(std::uint64_t{chosen.fanout.subscribers} + 1);
    good = run_fanout(chosen.common, chosen.fanout, out);
  } else {
    raise_file_limit(chosen.idle.connections);
    good = run_idle(chosen.common, chosen.idle, out);
  }
  out.add_flag("ok", good);
  if (chosen.json)
    out.print_json(std::cout);
  else
    out.print_table(std::cout);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace skein::bench

int main(int argc, char** argv) try {
  return skein::bench::run(argc, argv);
} catch (const std::exception& error) {
  std::cerr << "skein-bench: " << error.what() << '\n';
  return 2;
}
