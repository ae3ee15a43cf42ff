// A WebSocket server as Boost.Beast's documentation and examples teach it, with coroutines: one io_context,
// one thread, a read loop and a write loop for each session, a channel of messages between them, the
// suggested timeouts, no compression. The buffer has a maximum and Nagle's algorithm is off; nothing else is
// tuned.
// --whole-messages turns Beast's automatic fragmentation off, which sends 16 KiB as four frames.

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;

namespace {

constexpr std::size_t max_message_bytes = 1024 * 1024;
constexpr std::size_t channel_capacity = 256;
constexpr auto no_throw = asio::as_tuple(asio::use_awaitable);

using message = std::shared_ptr<const std::string>;

struct session {
  explicit session(tcp::socket socket)
      : stream(std::move(socket)), outgoing(stream.get_executor(), channel_capacity) {}

  void end() {
    outgoing.close();
    beast::get_lowest_layer(stream).close();
  }

  websocket::stream<beast::tcp_stream> stream;
  asio::experimental::channel<void(boost::system::error_code, message)> outgoing;
};

using session_ptr = std::shared_ptr<session>;

struct room {
  std::unordered_set<session*> members;

  void broadcast(const message& text) const {
    for (auto* member : members)
      if (!member->outgoing.try_send(boost::system::error_code{}, text)) member->end();  // too slow
  }
};

/// A coroutine has nobody to throw to: say it, so that a benchmark is not taken from a broken run.
void report(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const std::exception& what) {
    std::fprintf(stderr, "bench-textbook-beast: %s\n", what.what());
  }
}

asio::awaitable<void> write_loop(session_ptr self) {
  for (;;) {
    auto [closed, text] = co_await self->outgoing.async_receive(no_throw);
    if (closed) co_return;
    auto [error, size] = co_await self->stream.async_write(asio::buffer(*text), no_throw);
    if (error) co_return self->end();
  }
}

asio::awaitable<void> read_loop(session_ptr self, room& everyone, bool broadcasts) {
  beast::flat_buffer buffer{max_message_bytes};
  for (;;) {
    auto [error, size] = co_await self->stream.async_read(buffer, no_throw);
    if (error) co_return;
    auto text = std::make_shared<const std::string>(beast::buffers_to_string(buffer.data()));
    buffer.consume(buffer.size());
    if (broadcasts) {
      everyone.broadcast(text);
      continue;
    }
    self->stream.text(self->stream.got_text());
    if (self->outgoing.try_send(boost::system::error_code{}, text)) continue;
    auto [closed] = co_await self->outgoing.async_send(boost::system::error_code{}, text, no_throw);
    if (closed) co_return;
  }
}

asio::awaitable<void> serve(tcp::socket socket, room& everyone, bool whole_messages) {
  auto self = std::make_shared<session>(std::move(socket));
  beast::flat_buffer buffer{16 * 1024};
  http::request<http::empty_body> request;
  beast::get_lowest_layer(self->stream).expires_after(std::chrono::seconds{30});
  auto [bad_request, request_size] =
      co_await http::async_read(self->stream.next_layer(), buffer, request, no_throw);
  if (bad_request) co_return;
  const bool broadcasts = request.target() == "/broadcast";
  if (!websocket::is_upgrade(request) || (!broadcasts && request.target() != "/echo")) {
    http::response<http::empty_body> response{http::status::not_found, request.version()};
    response.prepare_payload();
    co_await http::async_write(self->stream.next_layer(), response, no_throw);
    co_return;
  }

  beast::get_lowest_layer(self->stream).expires_never();  // the stream's own timeouts take over
  self->stream.set_option(websocket::stream_base::timeout::suggested(beast::role_type::server));
  self->stream.read_message_max(max_message_bytes);
  if (whole_messages) self->stream.auto_fragment(false);
  auto [refused] = co_await self->stream.async_accept(request, no_throw);
  if (refused) co_return;

  if (broadcasts) everyone.members.insert(self.get());
  asio::co_spawn(self->stream.get_executor(), write_loop(self), report);
  auto failed = std::exception_ptr{};
  try {
    co_await read_loop(self, everyone, broadcasts);
  } catch (...) {
    failed = std::current_exception();
  }
  everyone.members.erase(self.get());
  self->end();
  if (failed) std::rethrow_exception(failed);
}

asio::awaitable<void> accept_loop(tcp::acceptor& acceptor, room& everyone, bool whole_messages) {
  for (;;) {
    auto [error, socket] = co_await acceptor.async_accept(no_throw);
    if (error) throw boost::system::system_error{error};
    socket.set_option(tcp::no_delay{true});
    asio::co_spawn(acceptor.get_executor(), serve(std::move(socket), everyone, whole_messages), report);
  }
}

struct options {
  std::uint16_t port = 0;
  bool whole_messages = false;
};

std::optional<options> parse(int argc, char** argv) {
  options parsed;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name{argv[i]};
    if (name == "--whole-messages") {
      parsed.whole_messages = true;
    } else if (name == "--port" && i + 1 < argc) {
      char* end = nullptr;
      const long port = std::strtol(argv[++i], &end, 10);
      if (*end != '\0' || port < 0 || port > 65535) return std::nullopt;
      parsed.port = static_cast<std::uint16_t>(port);
    } else {
      return std::nullopt;
    }
  }
  return parsed;
}

}  // namespace

int main(int argc, char** argv) try {
  const auto chosen = parse(argc, argv);
  if (!chosen) {
    std::fprintf(stderr, "usage: bench-textbook-beast [--port N] [--whole-messages]   (0 picks a port)\n");
    return 2;
  }
  asio::io_context context{1};
  room everyone;
  tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), chosen->port}};
  acceptor.listen(asio::socket_base::max_listen_connections);
  asio::signal_set signals{context, SIGINT, SIGTERM};
  signals.async_wait([&](auto, auto) { context.stop(); });
  asio::co_spawn(context, accept_loop(acceptor, everyone, chosen->whole_messages), report);
  std::printf("listening on 127.0.0.1:%u\n", static_cast<unsigned>(acceptor.local_endpoint().port()));
  std::fflush(stdout);
  context.run();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench-textbook-beast: %s\n", error.what());
  return 1;
}
