#include "app/options.hpp"

#include "app/value_text.hpp"

#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <type_traits>
#include <utility>

namespace skein::app {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

constexpr std::uint64_t one_gib = 1ULL << 30;
constexpr std::uint64_t many = 10'000'000;

constexpr range between(std::uint64_t low, std::uint64_t high) {
  return {low, high, false};
}
constexpr range between(nanoseconds low, nanoseconds high) {
  return {static_cast<std::uint64_t>(low.count()), static_cast<std::uint64_t>(high.count()), false};
}
constexpr range zero_or(range what) {
  return {what.low, what.high, true};
}

constexpr range some_time = between(nanoseconds{1ms}, nanoseconds{24h});
constexpr range any_time = zero_or(some_time);

std::string environment_name(std::string_view key) {
  std::string name = "WEBSOCKET_";
  for (char c : key) name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

std::string in_words(const range& bounds, const std::function<std::string(std::uint64_t)>& format) {
  return (bounds.or_zero ? format(0) + ", or " : "") + format(bounds.low) + " to " + format(bounds.high);
}

option make_option(std::string key, std::string type, std::string allowed, std::string help) {
  option result;
  result.environment = environment_name(key);
  result.key = std::move(key);
  result.type = std::move(type);
  result.allowed = std::move(allowed);
  result.help = std::move(help);
  return result;
}

// `member` is a function that gives the option's place in a config; called with a const config for reading.
template <class Member>
option duration(std::string key, range bounds, Member member, std::string help) {
  auto format = [](std::uint64_t v) { return format_duration(nanoseconds{static_cast<std::int64_t>(v)}); };
  auto result = make_option(std::move(key), "duration", in_words(bounds, format), std::move(help));
  result.hint = ", with a unit: ns, us, ms, s, m or h";
  result.bounds = bounds;
  result.set = [=](config& into, const std::vector<std::string>& values) {
    const auto value = parse_duration(values.front());
    if (!value || !bounds.contains(static_cast<std::uint64_t>(value->count()))) return false;
    member(into) = *value;
    return true;
  };
  result.show = [=](const config& from) { return format_duration(member(from)); };
  return result;
}

template <class Member, class Parse, class Format>
option number(option result, range bounds, Member member, Parse parse, Format format) {
  result.bounds = bounds;
  result.set = [=](config& into, const std::vector<std::string>& values) {
    const auto value = parse(values.front());
    if (!value || !bounds.contains(*value)) return false;
    auto& place = member(into);
    place = static_cast<std::remove_reference_t<decltype(place)>>(*value);
    return true;
  };
  result.show = [=](const config& from) { return format(static_cast<std::uint64_t>(member(from))); };
  return result;
}

template <class Member>
option bytes(std::string key, range bounds, Member member, std::string help) {
  auto result = make_option(std::move(key), "bytes", in_words(bounds, format_bytes), std::move(help));
  result.hint = ", as bytes or with a unit: KiB, MiB or GiB";
  return number(std::move(result), bounds, member, parse_bytes, format_bytes);
}

template <class Member>
option count(std::string key, range bounds, Member member, std::string help) {
  auto format = [](std::uint64_t v) { return std::to_string(v); };
  return number(make_option(std::move(key), "count", in_words(bounds, format), std::move(help)), bounds,
                member, parse_count, format);
}

template <class Member>
option toggle(std::string key, Member member, std::string help) {
  auto result = make_option(std::move(key), "switch", "true or false", std::move(help));
  result.hint = ", or on, off, 1, 0";
  result.set = [=](config& into, const std::vector<std::string>& values) {
    const auto value = parse_switch(values.front());
    if (value) member(into) = *value;
    return value.has_value();
  };
  result.show = [=](const config& from) { return std::string{member(from) ? "true" : "false"}; };
  return result;
}

option address() {
  auto result = make_option("address", "text", "an IPv4 or IPv6 address",
                            "Where to listen; 0.0.0.0 or :: for every interface.");
  result.set = [](config& into, const std::vector<std::string>& values) {
    boost::system::error_code invalid;
    boost::asio::ip::make_address(values.front(), invalid);
    if (!invalid) into.server.address = values.front();
    return !invalid;
  };
  result.show = [](const config& from) { return from.server.address; };
  return result;
}

option allowed_origin() {
  auto result = make_option(
      "allowed-origin", "text", "scheme://host[:port] without a path, or *",
      "An origin whose pages may connect; give it again for more, * allows all. None: pages of the "
      "server's own host and port, and clients that send no origin.");
  result.environment = "WEBSOCKET_ALLOWED_ORIGINS";  // it takes several, separated by commas
  result.repeatable = true;
  result.set = [](config& into, const std::vector<std::string>& values) {
    if (!std::ranges::all_of(values, [](const auto& v) { return v == "*" || is_origin(v); })) return false;
    into.server.origin.allowed = values;
    return true;
  };
  result.show = [](const config& from) {
    std::string list;
    for (const auto& origin : from.server.origin.allowed) list += (list.empty() ? "" : ",") + origin;
    return list;
  };
  return result;
}

// A file's name; whether it can be used is found out when the server starts.
template <class Member>
option file(std::string key, Member member, std::string help) {
  auto result = make_option(std::move(key), "text", "the path of a PEM file", std::move(help));
  result.set = [=](config& into, const std::vector<std::string>& values) {
    if (values.front().empty()) return false;
    member(into) = values.front();
    return true;
  };
  result.show = [=](const config& from) { return member(from); };
  return result;
}

// Several of them. `environment` is the plural.
template <class Member>
option files(std::string key, std::string environment, Member member, std::string help) {
  auto result = make_option(std::move(key), "text", "the path of a PEM file", std::move(help));
  result.environment = std::move(environment);
  result.repeatable = true;
  result.set = [=](config& into, const std::vector<std::string>& values) {
    if (std::ranges::any_of(values, &std::string::empty)) return false;
    member(into) = values;
    return true;
  };
  result.show = [=](const config& from) {
    std::string list;
    for (const auto& name : member(from)) list += (list.empty() ? "" : ",") + name;
    return list;
  };
  return result;
}

// One of a few names. `member` as above.
template <class Value, std::size_t N, class Member>
option choice(std::string key, const std::array<std::pair<std::string_view, Value>, N>& names, Member member,
              std::string help) {
  std::string allowed;
  for (std::size_t i = 0; i < N; ++i)
    allowed += (i == 0 ? "" : i + 1 == N ? " or " : ", ") + std::string{names[i].first};
  auto result = make_option(std::move(key), "text", std::move(allowed), std::move(help));
  result.set = [=](config& into, const std::vector<std::string>& values) {
    const auto found = std::ranges::find(names, values.front(), [](const auto& one) { return one.first; });
    if (found != names.end()) member(into) = found->second;
    return found != names.end();
  };
  result.show = [=](const config& from) {
    const auto found = std::ranges::find(names, member(from), [](const auto& one) { return one.second; });
    return found == names.end() ? std::string{} : std::string{found->first};
  };
  return result;
}

constexpr std::array<std::pair<std::string_view, log_level>, 5> log_levels{{{"debug", log_level::debug},
                                                                            {"info", log_level::info},
                                                                            {"warning", log_level::warning},
                                                                            {"error", log_level::error},
                                                                            {"off", log_level::off}}};

constexpr std::array<std::pair<std::string_view, bool>, 2> client_certificates{
    {{"required", true}, {"optional", false}}};

constexpr std::array<std::pair<std::string_view, engine>, 2> engines{
    {{"native", engine::native}, {"beast", engine::beast}}};

// Names the place of an option in `config`, for reading and for writing.
#define SKEIN_PLACE(member) ([](auto& c) -> auto& { return c.member; })

std::vector<option> make_options() {
  std::vector<option> all;
  all.push_back(address());
  all.push_back(count("port", between(0, 65'535), SKEIN_PLACE(server.port),
                      "The port to listen on; 0: the system picks one."));
  all.push_back(count("shards", between(0, 1'024), SKEIN_PLACE(manager.shards),
                      "Threads that serve connections; 0: one for each core."));
  all.push_back(count("max-connections", between(1, many), SKEIN_PLACE(manager.max_connections),
                      "Connections at once, never more than the limit of open files allows; past it 503."));
  all.push_back(allowed_origin());
  all.push_back(duration("handshake-timeout", some_time, SKEIN_PLACE(server.handshake_timeout),
                         "For TLS and the whole request that opens a connection; past it 408."));
  all.push_back(bytes("max-header-bytes", between(1, 16ULL << 20), SKEIN_PLACE(server.max_header_bytes),
                      "Request line and headers; past it 431."));
  all.push_back(count("max-header-fields", between(1, 100'000), SKEIN_PLACE(server.max_header_fields),
                      "Headers of a request; past it 431."));
  all.push_back(count("max-handshakes", between(1, many), SKEIN_PLACE(server.max_handshakes),
                      "Connections that are still in TLS or HTTP; past it accepting waits."));
  all.push_back(bytes("read-buffer-size", zero_or(between(1'024, one_gib)),
                      SKEIN_PLACE(server.socket_read_buffer),
                      "The socket's receive buffer; 0: the system's default."));
  all.push_back(bytes("write-buffer-size", zero_or(between(1'024, one_gib)),
                      SKEIN_PLACE(server.socket_write_buffer),
                      "The socket's send buffer; 0: the system's default."));

  all.push_back(
      files("tls-certificate", "WEBSOCKET_TLS_CERTIFICATES", SKEIN_PLACE(server.tls.certificate_files),
            "A certificate with its chain; switches TLS on. Give it again for more names (SNI): a "
            "client is shown the first that is valid for the name it asks for, else the very first."));
  all.push_back(files("tls-key", "WEBSOCKET_TLS_KEYS", SKEIN_PLACE(server.tls.key_files),
                      "The private key, not encrypted, of each tls-certificate, in the same order."));
  all.push_back(
      file("tls-client-ca", SKEIN_PLACE(server.tls.client_ca_file),
           "The authorities whose certificates clients show (mutual TLS). None: clients are not asked "
           "for one."));
  all.push_back(choice("tls-client-certificate", client_certificates,
                       SKEIN_PLACE(server.tls.client_certificate_required),
                       "Whether a client without a certificate is refused, if there is a tls-client-ca."));

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
                       "Add /echo, /broadcast and /broadcast-awaited, which the benchmarks use."));
  all.push_back(toggle("examples", SKEIN_PLACE(examples), "Add the example modules behind /ws."));
  return all;
}

#undef SKEIN_PLACE

}  // namespace

const std::vector<option>& options() {
  static const std::vector<option> all = make_options();
  return all;
}

}  // namespace skein::app
