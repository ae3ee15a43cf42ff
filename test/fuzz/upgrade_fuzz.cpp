// A fuzz target: any bytes as what a client sends from its first byte on, cut anywhere, with a clock that
// moves, through a whole HTTP session over a socket pair, and through the connection that it may be upgraded
// to. Every answer is well formed; nobody is upgraded whose request does not ask for it by RFC 6455
// section 4.2.1, whose origin may not, or who has no token where one is wanted; nothing stays when the client
// has gone.
//
// An input: a byte of settings, a byte of cuts, and what the client sends.

#include "http/server_core.hpp"
#include "http/session.hpp"
#include "hub/hub.hpp"
#include "server_frames.hpp"
#include "world.hpp"

#include <skein/authentication.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <random>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using namespace skein;

enum kind : unsigned { plain, origins, proxies, tokens };
constexpr unsigned cut_bit = 4, clock_bit = 8, half_close_bit = 16, silent_bit = 32;
constexpr std::size_t most_header_bytes = 1000, most_header_fields = 12;

asio::awaitable<void> echo(connection& client) {
  while (auto got = co_await client.read()) co_await client.write(std::move(*got));
}

asio::awaitable<response> hello(const request& asked) {
  response reply;
  reply.body = "hello\n";
  reply.headers.emplace_back("X-Asked", std::string{asked.target()});
  co_return reply;
}

std::string accept_of(std::string_view key) {
  const auto text = std::string{key} + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::array<unsigned char, 32> encoded{};
  const auto size = EVP_EncodeBlock(encoded.data(), digest.data(), static_cast<int>(digest.size()));
  return {reinterpret_cast<const char*>(encoded.data()), static_cast<std::size_t>(size)};
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  return first == std::string_view::npos ? std::string_view{}
                                         : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// One server of each kind, its world, and what became of the request that was upgraded.
struct service {
  explicit service(kind what) : is(what), in(manager_options_of()) {
    auto& hub = dynamic_cast<detail::hub&>(*in.hub);
    core = std::make_shared<detail::server_core>(in.hub, hub, options_of());
    detail::route_entry entry{std::make_shared<const handler>(echo), {}};
    entry.options.subprotocols = {"chat", "skein.v1"};
    if (core->options.tokens) {
      entry.anonymous = false;
      entry.token_may_follow = true;
    }
    core->routes.emplace("/ws", entry);
    core->routes.emplace("/both", entry);
    core->endpoints.emplace("/both", hello);
    core->endpoints.emplace("/plain", hello);
  }

  manager_options manager_options_of() {
    manager_options options;
    options.compression.enabled = true;
    options.limits.max_message_bytes = 1000;
    options.engine = is == origins ? engine::beast : engine::native;
    options.on_open = [this](connection& who) { check(who); };
    return options;
  }

  server_options options_of() {
    server_options options;
    options.max_header_bytes = most_header_bytes;
    options.max_header_fields = most_header_fields;
    if (is == origins) options.origin.allowed = {"https://example.com"};
    if (is == proxies) {
      // The peer of a socket pair has no address; it is taken for `::`.
      options.proxies.trusted = {"::/128", "10.0.0.0/8"};
      options.proxies.proxy_protocol = true;
    }
    if (is == tokens) {
      token_options how;
      how.keys = {jwt_key::from_secret(jwt_algorithm::hs256, std::string(32, 's'))};
      how.time = in.time;
      how.places.query = "token";
      how.places.cookie = "token";
      how.places.first_message = true;
      options.tokens = std::make_shared<token_authenticator>(std::move(how));
      options.require_authentication = true;
    }
    return options;
  }

  /// Looks at a connection that has been upgraded.
  void check(connection& who) {
    using fuzz::require;
    const auto& asked = who.request();
    require(asked.method() == "GET", "upgraded another method than GET");
    require(asked.path() == "/ws" || asked.path() == "/both", "upgraded another path");
    require(asked.count("Host") == 1, "upgraded without one Host");
    require(asked.count("Sec-WebSocket-Key") == 1, "upgraded without one key");
    require(trimmed(asked.header("Sec-WebSocket-Version")) == "13", "upgraded another version");
    require(asked.has_header("Upgrade") && asked.has_header("Connection"),
            "upgraded what did not ask for it");
    require(!asked.has_header("Transfer-Encoding"), "upgraded with content");
    require(trimmed(asked.header("Content-Length")).find_first_not_of('0') == std::string_view::npos,
            "upgraded with content of a length");
    require(asked.headers().size() <= most_header_fields, "upgraded with too many fields");
    require(origin_allowed(core->options.origin, asked), "upgraded from an origin that may not");
    require(who.subprotocol().empty() || asked.has_header("Sec-WebSocket-Protocol"),
            "agreed on what was not offered");
    require(is != tokens || who.user().user == "ada" || who.user().user.empty(), "somebody unknown is in");
    require(is == tokens || who.user().user.empty(), "somebody is in who nobody is");
    // A token's place in the query is kept, with a dash in it.
    const auto seen = asked.query("token").value_or("-");
    require(is != tokens || seen == "-", "a handler sees a token");
    accept = accept_of(trimmed(asked.header("Sec-WebSocket-Key")));
  }

  kind is;
  fuzz::world in;
  std::shared_ptr<detail::server_core> core;
  std::string accept;  // of the last upgrade
};

/// Reads what the server answers.
class answers {
 public:
  void take(std::string_view bytes, const std::string& accept) {
    pending_ += bytes;
    while (!upgraded_ && next(accept)) {
    }
    if (upgraded_) {
      frames_.take(pending_);
      pending_.clear();
    }
  }
  void finish() const { fuzz::require(pending_.empty(), "an answer without its end"); }

 private:
  bool next(const std::string& accept) {
    const auto end = pending_.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    const auto head = pending_.substr(0, end + 2);
    fuzz::require(head.starts_with("HTTP/1.1 "), "no answer of HTTP");
    unsigned status = 0;
    std::from_chars(head.data() + 9, head.data() + 12, status);
    if (status == 101) {
      // A connection that has yet to bring its token is not opened, so its request is not known.
      const auto expected = "Sec-WebSocket-Accept: " + (accept.empty() ? "" : accept + "\r\n");
      fuzz::require(head.find(expected) != std::string::npos, "the answer to another key");
      upgraded_ = true;
      pending_.erase(0, end + 4);
      return true;
    }
    constexpr std::array<unsigned, 9> statuses{200, 400, 401, 403, 404, 405, 408, 426, 431};
    fuzz::require(std::find(statuses.begin(), statuses.end(), status) != statuses.end(), head.c_str());
    const auto length = head.find("\r\nContent-Length: ");
    fuzz::require(length != std::string::npos, "an answer without a length");
    std::size_t size = 0;
    std::from_chars(head.data() + length + 18, head.data() + head.size(), size);
    const std::string_view rest = std::string_view{pending_}.substr(end + 4);
    // What answers HEAD has the length, but not the body.
    const bool has_body = !rest.empty() && !rest.starts_with("HTTP/1.1 ");
    fuzz::require(!has_body || rest.size() >= size, "a body that is too short");
    pending_.erase(0, end + 4 + (has_body ? size : 0));
    return true;
  }

  std::string pending_;
  bool upgraded_ = false;
  fuzz::server_frames frames_{true};
};

class client {
 public:
  explicit client(service& of) : service_(of) {
    std::array<int, 2> ends{};
    fuzz::require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()) == 0, "no socket pair");
    fuzz::require(ends[0] < 100, "descriptors are not closed");
    own_ = ends[0];
    auto where = dynamic_cast<detail::hub&>(*of.in.hub).shards().front();
    asio::ip::tcp::socket socket{where->executor(), asio::ip::tcp::v4(), ends[1]};
    asio::co_spawn(
        where->executor(),
        detail::serve_http(of.core, where, std::move(socket), detail::handshake_place{handshakes_}),
        [done = done_](const std::exception_ptr& error) {
          fuzz::require(!error, "a session has thrown");
          *done = true;
        });
    of.in.settle();
  }
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  ~client() { ::close(own_); }

  void send(std::string_view bytes) {
    // What the server does not take any more is lost; nothing is said of that here.
    (void)::send(own_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    service_.in.settle();
    receive();
  }
  void receive() {
    // All that there is, before it is looked at: where a read ends says nothing of where an answer does.
    std::array<char, 4096> into{};
    std::string all;
    for (;;) {
      const auto n = ::recv(own_, into.data(), into.size(), 0);
      if (n <= 0) break;
      all.append(into.data(), static_cast<std::size_t>(n));
      service_.in.settle();
    }
    answers_.take(all, service_.accept);
  }
  void half_close() {
    ::shutdown(own_, SHUT_WR);
    service_.in.settle();
    receive();
  }
  /// The session ends, however silent the client is, and so does what it was upgraded to.
  void end(bool silent) {
    if (!silent) ::shutdown(own_, SHUT_RDWR);
    service_.in.settle();
    const auto last = service_.in.time->now() + 15s;
    while (!*done_) {
      const auto next = service_.in.time->next();
      fuzz::require(next && *next <= last, "a session does not end");
      service_.in.advance(*next - service_.in.time->now());
      if (silent) receive();
    }
    service_.in.end_within(60s);
    if (silent) receive();
    if (silent) answers_.finish();
    fuzz::require(handshakes_->empty(), "a session that has ended is idle");
    fuzz::require(service_.in.hub->stats().handshaking == 0, "a handshake is still counted");
  }

 private:
  service& service_;
  std::shared_ptr<detail::handshakes> handshakes_ =
      std::make_shared<detail::handshakes>(detail::handshakes::limits{});
  std::shared_ptr<bool> done_ = std::make_shared<bool>(false);
  int own_ = -1;
  answers answers_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  static std::array<std::unique_ptr<service>, 4> services;
  const auto settings = data[0];
  auto& chosen = services[settings & 3U];
  if (!chosen) chosen = std::make_unique<service>(static_cast<kind>(settings & 3U));
  chosen->in.begin();
  chosen->accept.clear();
  {
    client one{*chosen};
    std::minstd_rand cuts{data[1] + 1U};
    std::string_view rest{reinterpret_cast<const char*>(data) + 2, size - 2};
    while (!rest.empty()) {
      const auto part = rest.substr(0, (settings & cut_bit) != 0 ? 1U + cuts() % 300U : rest.size());
      one.send(part);
      rest.remove_prefix(part.size());
      if ((settings & clock_bit) != 0) chosen->in.advance(cuts() % 1500U * 1ms);
    }
    if ((settings & half_close_bit) != 0) one.half_close();
    one.end((settings & silent_bit) != 0);
  }
  chosen->in.settle();
  for (const auto& line : chosen->in.problems) fuzz::require(false, line.c_str());
  return 0;
}
