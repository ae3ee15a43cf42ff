#include "app/option_kinds.hpp"
#include "app/topic_rule_text.hpp"
#include "app/value_text.hpp"

#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace skein::app {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t one_gib = 1ULL << 30;
constexpr std::uint64_t many = 10'000'000;

constexpr range some_time = between(nanoseconds{1ms}, nanoseconds{24h});
constexpr range any_time = zero_or(some_time);

std::string environment_name(std::string_view key) {
  std::string name = "WEBSOCKET_";
  for (char c : key) name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

bool is_address(const std::string& text) {
  boost::system::error_code invalid;
  boost::asio::ip::make_address(text, invalid);
  return !invalid;
}

option topic() {
  auto result =
      make_option("topic", "text", "a topic or pattern, and words such as history=100",
                  "What holds for topics that match a pattern; give it again for more, the first that "
                  "matches counts.");
  result.environment = "WEBSOCKET_TOPICS";  // it takes several, separated by commas
  result.hint = "; docs/how-to/serve-the-protocol.md has the words";
  result.repeatable = true;
  result.set = [](config& into, const std::vector<std::string>& values) {
    std::vector<topic_rule> rules;
    for (const auto& value : values) {
      auto rule = parse_topic_rule(value);
      if (!rule) return false;
      rules.push_back(std::move(*rule));
    }
    into.topics.rules = std::move(rules);
    return true;
  };
  result.show = [](const config& from) {
    std::vector<std::string> texts;
    for (const auto& rule : from.topics.rules) texts.push_back(format_topic_rule(rule));
    return joined(texts);
  };
  return result;
}

constexpr std::array<std::pair<std::string_view, log_level>, 5> log_levels{{{"debug", log_level::debug},
                                                                            {"info", log_level::info},
                                                                            {"warning", log_level::warning},
                                                                            {"error", log_level::error},
                                                                            {"off", log_level::off}}};

constexpr std::array<std::pair<std::string_view, engine>, 2> engines{
    {{"native", engine::native}, {"beast", engine::beast}}};

constexpr std::array<std::pair<std::string_view, topic_rights>, 2> rights{
    {{"rules", topic_rights::rules}, {"claims", topic_rights::claims}}};

std::vector<option> make_options() {
  std::vector<option> all;
  all.push_back(text("address", "an IPv4 or IPv6 address", {}, is_address, SKEIN_PLACE(server.address),
                     "Where to listen; 0.0.0.0 or :: for every interface."));
  all.push_back(count("port", between(0, 65'535), SKEIN_PLACE(server.port),
                      "The port to listen on; 0: the system picks one."));
  all.push_back(count("shards", between(0, 1'024), SKEIN_PLACE(manager.shards),
                      "Threads that serve connections; 0: one for each core."));
  all.push_back(count("max-connections", between(1, many), SKEIN_PLACE(manager.max_connections),
                      "Connections at once, never more than the limit of open files allows; past it 503."));
  all.push_back(list(
      "allowed-origin", "WEBSOCKET_ALLOWED_ORIGINS", "scheme://host[:port] without a path, or *", {},
      [](const std::string& v) { return v == "*" || is_origin(v); }, SKEIN_PLACE(server.origin.allowed),
      "An origin whose pages may connect; give it again for more, * allows all. None: pages of the "
      "server's own host and port, and clients that send no origin."));
  add_security_options(all);
  all.push_back(duration("handshake-timeout", some_time, SKEIN_PLACE(server.handshake_timeout),
                         "For TLS and the whole request that opens a connection; past it 408."));
  all.push_back(bytes("max-header-bytes", between(1, 16ULL << 20), SKEIN_PLACE(server.max_header_bytes),
                      "Request line and headers; past it 431."));
  all.push_back(count("max-header-fields", between(1, 100'000), SKEIN_PLACE(server.max_header_fields),
                      "Headers of a request; past it 431."));
  all.push_back(count("max-handshakes", between(1, many), SKEIN_PLACE(server.max_handshakes),
                      "Connections that are still in TLS or HTTP; past it those between two requests go, or "
                      "accepting waits."));
  all.push_back(count("max-requests", between(0, many), SKEIN_PLACE(server.max_requests),
                      "Requests of one HTTP connection, which then ends. 0: no limit."));
  all.push_back(bytes("read-buffer-size", zero_or(between(1'024, one_gib)),
                      SKEIN_PLACE(server.socket_read_buffer),
                      "The socket's receive buffer; 0: the system's default."));
  all.push_back(bytes("write-buffer-size", zero_or(between(1'024, one_gib)),
                      SKEIN_PLACE(server.socket_write_buffer),
                      "The socket's send buffer; 0: the system's default."));

  all.push_back(choice("engine", engines, SKEIN_PLACE(manager.engine),
                       "What reads the protocol: Skein's own code, or Boost.Beast."));
  all.push_back(duration("ping-interval", any_time, SKEIN_PLACE(manager.limits.ping_interval),
                         "Between two pings of a connection; 0s: no pings, dead peers are not found."));
  all.push_back(duration("pong-timeout", some_time, SKEIN_PLACE(manager.limits.pong_timeout),
                         "For the answer to a ping; past it the connection is closed with 4000."));
  all.push_back(duration("write-timeout", any_time, SKEIN_PLACE(manager.limits.write_timeout),
                         "For a write that makes no progress; past it 4008. 0s: none."));
  all.push_back(duration("close-timeout", some_time, SKEIN_PLACE(manager.limits.close_timeout),
                         "For the closing handshake; past it the connection is reset."));
  all.push_back(bytes("max-message-size", between(0, one_gib), SKEIN_PLACE(manager.limits.max_message_bytes),
                      "Of a received message, after decompression; past it 1009. 0: no limit."));
  all.push_back(count("max-message-frames", between(0, many), SKEIN_PLACE(manager.limits.max_message_frames),
                      "Frames of a received message; past it 1008. 0: no limit."));
  all.push_back(duration("message-timeout", any_time, SKEIN_PLACE(manager.limits.message_timeout),
                         "For the frames of one received message; past it 1008. 0s: none."));
  all.push_back(count("max-pings-per-second", between(0, many),
                      SKEIN_PLACE(manager.limits.max_pings_per_second),
                      "Pings received, sustained; past the burst 1008. 0: no limit."));
  all.push_back(count("ping-burst", between(1, many), SKEIN_PLACE(manager.limits.ping_burst),
                      "Pings that may be received at once."));
  all.push_back(count("send-queue-messages", between(1, many),
                      SKEIN_PLACE(manager.limits.send_queue_messages),
                      "Messages that wait in a connection's send channel."));
  all.push_back(
      bytes("send-queue-bytes", between(1, one_gib), SKEIN_PLACE(manager.limits.send_queue_bytes),
            "Bytes that wait in a connection's send channel; an empty one takes a message of any size."));
  all.push_back(count("receive-queue-messages", between(1, many),
                      SKEIN_PLACE(manager.limits.receive_queue_messages),
                      "Messages read ahead of a handler; past it the socket is not read."));
  all.push_back(bytes("receive-queue-bytes", between(1, one_gib),
                      SKEIN_PLACE(manager.limits.receive_queue_bytes),
                      "Bytes read ahead of a handler; past it the socket is not read."));

  all.push_back(count("max-subscriptions", between(1, many), SKEIN_PLACE(topics.max_subscriptions),
                      "Topics and patterns that one connection may follow."));
  all.push_back(topic());
  all.push_back(
      choice("topic-rights", rights, SKEIN_PLACE(rights),
             "Who may do what with topics: all what the topics' rules allow, or each user only what "
             "the claim 'topics' of its token lists."));
  all.back().example = "claims";
  all.push_back(count("presence-members", between(0, 100'000), SKEIN_PLACE(topics.presence_members),
                      "Of a topic with more, only their number is told."));
  all.push_back(duration("presence-interval", some_time, SKEIN_PLACE(topics.presence_interval),
                         "For which joins and leaves of a topic are gathered."));
  all.push_back(text(
      "store", "the path of a file", {}, [](const std::string&) { return true; }, SKEIN_PLACE(store),
      "The SQLite database in which durable topics and stored messages are kept, created if it "
      "is not there; none: they are kept in memory, and durable topics are refused."));
  all.push_back(count("offline-messages", between(1, many), SKEIN_PLACE(users.limits.max_messages),
                      "Stored messages that wait for one user; the oldest make room."));
  all.push_back(bytes("offline-bytes", zero_or(between(1'024, one_gib)), SKEIN_PLACE(users.limits.max_bytes),
                      "Their payload; 0: no limit of its own."));
  all.push_back(duration("offline-expiry", zero_or(between(nanoseconds{1s}, nanoseconds{24h * 365})),
                         SKEIN_PLACE(users.limits.expiry), "How long a stored message waits; 0s: for ever."));

  all.push_back(toggle("compression", SKEIN_PLACE(manager.compression.enabled),
                       "Agree on permessage-deflate with clients that offer it."));
  all.push_back(count("compression-level", between(1, 9), SKEIN_PLACE(manager.compression.level),
                      "From 1, the fastest, to 9, the smallest."));
  all.push_back(bytes("compression-threshold", between(0, one_gib),
                      SKEIN_PLACE(manager.compression.threshold), "Smaller messages are sent as they are."));

  all.push_back(count("drain-rate", between(0, many), SKEIN_PLACE(manager.drain_rate),
                      "Connections closed each second during a shutdown; 0: all at once."));
  all.push_back(duration("shutdown-timeout", some_time, SKEIN_PLACE(shutdown_timeout),
                         "For the shutdown; what has not ended by then is reset."));
  all.push_back(duration("stall-threshold", some_time, SKEIN_PLACE(manager.stall_threshold),
                         "A shard that has not run for this long makes /healthz fail."));
  all.push_back(choice("log-level", log_levels, SKEIN_PLACE(log),
                       "The least serious lines that go to the log on standard error."));
  all.push_back(toggle("bench-routes", SKEIN_PLACE(bench_routes),
                       "Add /echo, /broadcast and others, which the benchmarks use."));
  all.push_back(toggle("examples", SKEIN_PLACE(examples), "Add the example modules behind /ws."));
  return all;
}

}  // namespace

option make_option(std::string key, std::string type, std::string allowed, std::string help) {
  option result;
  result.environment = environment_name(key);
  result.key = std::move(key);
  result.type = std::move(type);
  result.allowed = std::move(allowed);
  result.help = std::move(help);
  return result;
}

const std::vector<option>& options() {
  static const std::vector<option> all = make_options();
  return all;
}

}  // namespace skein::app
