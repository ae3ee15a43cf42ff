// A fuzz target: any bytes as what comes on a new connection, PROXY header included: each request is answered
// with a response whose head is whole, in order, and the connection comes to an end.
//
// An input: a byte of settings, a byte that says where the bytes are cut, and the bytes.

#include "http/server_core.hpp"
#include "http/session.hpp"
#include "hub/hub.hpp"
#include "memory_hub.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>

namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;

constexpr unsigned proxy_bit = 1, trusted_bit = 2, origin_bit = 4;

asio::awaitable<void> echo(skein::connection& client) {
  while (auto got = co_await client.read()) co_await client.write(std::move(*got));
}

asio::awaitable<skein::response> answer(const skein::request& asked) {
  skein::response reply;
  reply.body = std::string{asked.query("q").value_or("none")} + " " + std::string{asked.remote_address()};
  co_return reply;
}

skein::server_options options_of(unsigned settings) {
  skein::server_options options;
  options.max_header_bytes = 1024;
  options.max_header_fields = 20;
  if ((settings & (proxy_bit | trusted_bit)) != 0) options.proxies.trusted = {"0.0.0.0/0", "::/0"};
  options.proxies.proxy_protocol = (settings & proxy_bit) != 0;
  if ((settings & origin_bit) != 0) options.origin.allowed = {"https://example.org"};
  return options;
}

/// As much of the answers as there are heads of responses in front; what follows a 101 is frames.
void check_answers(std::string_view bytes) {
  while (!bytes.empty()) {
    fuzz::require(bytes.starts_with("HTTP/1.1 "), "an answer that is none");
    const auto status = bytes.substr(9, 3);
    fuzz::require(status >= "101" && status < "600", "an odd status");
    const auto end = bytes.find("\r\n\r\n");
    fuzz::require(end != std::string_view::npos, "half an answer");
    if (status == "101") return;
    const auto head = bytes.substr(0, end);
    const auto length = head.find("Content-Length: ");
    fuzz::require(length != std::string_view::npos, "no Content-Length");
    const auto content = std::stoul(std::string{head.substr(length + 16, 12)});
    bytes.remove_prefix(end + 4);
    bytes.remove_prefix(std::min<std::size_t>(content, bytes.size()));  // none for HEAD
    const auto next = bytes.find("HTTP/1.1 ");
    if (next != 0) bytes = {};  // of a HEAD: not told apart here
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  fuzz::memory_hub where;
  auto& hub = dynamic_cast<skein::detail::hub&>(*where.hub);
  const auto core = std::make_shared<skein::detail::server_core>(where.hub, hub, options_of(data[0]));
  skein::route_options how;
  how.subprotocols = {"a", "b"};
  core->routes.try_emplace("/ws", std::make_shared<const skein::handler>(echo), how);
  core->endpoints.try_emplace("/get", answer);
  core->started = true;

  int ends[2];
  fuzz::require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0, "no sockets");
  asio::ip::tcp::socket socket{where.context};
  socket.assign(asio::ip::tcp::v4(), ends[0]);
  const auto idle = std::make_shared<skein::detail::idle_sessions>();
  bool done = false;
  asio::co_spawn(where.context, serve_http(core, hub.shards().front(), std::move(socket), idle),
                 [&](const std::exception_ptr& error) {
                   fuzz::require(!error, "a session threw");
                   done = true;
                 });
  where.settle();

  std::string answers;
  const auto look = [&] {
    where.settle();
    char some[4096];
    for (;;) {
      const auto n = ::recv(ends[1], some, sizeof some, MSG_DONTWAIT);
      if (n <= 0) break;
      answers.append(some, static_cast<std::size_t>(n));
    }
  };
  std::string_view rest{reinterpret_cast<const char*>(data) + 2, size - 2};
  const std::size_t step = data[1] == 0 ? rest.size() : data[1];
  while (!rest.empty()) {
    const auto piece = rest.substr(0, step);
    if (::send(ends[1], piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) break;
    rest.remove_prefix(piece.size());
    look();
  }
  ::shutdown(ends[1], SHUT_WR);
  look();
  for (int i = 0; i < 4 && !done; ++i) {
    where.advance(10s);
    look();
  }
  fuzz::require(done, "a session does not end");
  check_answers(answers);
  ::close(ends[1]);
  where.settle();
  where.end_within(5min);
  return 0;
}
