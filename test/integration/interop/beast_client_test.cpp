// Boost.Beast's own client against skein-server, without and with permessage-deflate: skein-interop-beast
// SERVER.

#define DOCTEST_CONFIG_IMPLEMENT

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>

#include <csignal>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using asio::ip::tcp;

constexpr std::size_t limit = 64 * 1024;
const char* server_program = nullptr;

/// skein-server as a process, from its address to its end.
class server_process {
 public:
  explicit server_process(bool compression) {
    int out[2];
    REQUIRE(::pipe(out) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::dup2(out[1], STDOUT_FILENO);
      ::close(out[0]);
      ::close(out[1]);
      const char* const flag = compression ? "--compression" : nullptr;
      ::execl(server_program, server_program, "--bench-routes", "--port", "0", flag,
              static_cast<char*>(nullptr));
      ::_exit(127);
    }
    ::close(out[1]);
    std::string said;
    char part[256];
    for (ssize_t n = 0;
         said.find('\n') == std::string::npos && (n = ::read(out[0], part, sizeof part)) > 0;) {
      said.append(part, static_cast<std::size_t>(n));
    }
    ::close(out[0]);
    const auto colon = said.rfind(':');
    REQUIRE(said.find("listening on ") != std::string::npos);
    port = static_cast<std::uint16_t>(std::stoi(said.substr(colon + 1)));
  }
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;
  ~server_process() { end(); }

  /// The exit status after SIGTERM.
  int end() {
    if (pid_ <= 0) return -1;
    int status = 0;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::uint16_t port = 0;

 private:
  pid_t pid_ = 0;
};

using stream = websocket::stream<tcp::socket>;

struct client {
  client(std::uint16_t port, const websocket::permessage_deflate& deflate, bool expect_deflate) {
    ws.next_layer().connect({asio::ip::address_v4::loopback(), port});
    ws.set_option(deflate);
    ws.auto_fragment(false);
    ws.read_message_max(limit);
    websocket::response_type answer;
    ws.handshake(answer, "localhost", "/echo");
    const auto agreed =
        answer[beast::http::field::sec_websocket_extensions].find("permessage-deflate") != std::string::npos;
    REQUIRE(agreed == expect_deflate);
  }

  // Beast 1.81 misjudges some valid deflate streams unless its buffer has more room than the message needs.
  std::string read() {
    std::string buffer(limit + 1024, 0), message;
    do {
      message.append(buffer.data(), ws.read_some(asio::buffer(buffer)));
    } while (!ws.is_message_done());
    return message;
  }

  void exchange(const std::string& payload, bool binary) {
    CAPTURE(payload.size());
    ws.binary(binary);
    ws.write(asio::buffer(payload));
    REQUIRE(read() == payload);
    REQUIRE(ws.got_binary() == binary);
    // The same in fragments.
    const auto third = payload.size() / 3;
    ws.write_some(false, asio::buffer(payload.data(), third));
    ws.write_some(false, asio::buffer(payload.data() + third, third));
    ws.write_some(true, asio::buffer(payload.data() + 2 * third, payload.size() - 2 * third));
    REQUIRE(read() == payload);
  }

  asio::io_context context{1};
  stream ws{context};
};

std::string noise(std::size_t size) {
  std::minstd_rand random{7};
  std::string result(size, 0);
  for (auto& byte : result) byte = static_cast<char>(random() >> 7U);
  return result;
}

std::string prose(std::size_t size) {
  std::minstd_rand random{7};
  std::string result;
  while (result.size() < size)
    result += std::to_string(random() % 1'000) + (random() % 3 == 0 ? " buy " : " sell ");
  result.resize(size);
  return result;
}

void converse(std::uint16_t port, const websocket::permessage_deflate& deflate, bool expect_deflate) {
  client one{port, deflate, expect_deflate};
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{125}, std::size_t{126},
                                 std::size_t{255}, std::size_t{256}, std::size_t{5'000}, limit - 1, limit}) {
    one.exchange(prose(size), false);
    one.exchange(std::string(size, 'x'), false);
    one.exchange(noise(size), true);
  }
  // Many at once.
  one.ws.text(true);
  for (int i = 0; i < 100; ++i) one.ws.write(asio::buffer(std::to_string(i) + prose(300)));
  for (int i = 0; i < 100; ++i) REQUIRE(one.read() == std::to_string(i) + prose(300));

  bool ponged = false;
  const std::function<void(websocket::frame_type, beast::string_view)> control =
      [&](websocket::frame_type kind, beast::string_view payload) {
        if (kind == websocket::frame_type::pong) ponged = payload == "ping";
      };
  one.ws.control_callback(control);
  one.ws.ping("ping");
  one.ws.write(asio::buffer(prose(10)));
  CHECK(one.read() == prose(10));
  CHECK(ponged);

  one.ws.close({static_cast<websocket::close_code>(4001), "done"});
  CHECK(one.ws.reason().code == 4001);
}

void past_the_limit(std::uint16_t port, const websocket::permessage_deflate& deflate, bool expect_deflate) {
  client one{port, deflate, expect_deflate};
  one.ws.write(asio::buffer(prose(limit + 1)));
  std::string buffer(1024, 0);
  beast::error_code ec;
  one.ws.read_some(asio::buffer(buffer), ec);
  CHECK(ec == websocket::error::closed);
  CHECK(one.ws.reason().code == websocket::close_code::too_big);
}

websocket::permessage_deflate offer(int server_bits = 15, int client_bits = 15) {
  websocket::permessage_deflate deflate;
  deflate.client_enable = true;
  deflate.server_max_window_bits = server_bits;
  deflate.client_max_window_bits = client_bits;
  return deflate;
}

}  // namespace

TEST_SUITE("Boost.Beast's client") {
  TEST_CASE("without permessage-deflate") {
    server_process server{false};
    converse(server.port, {}, false);
    past_the_limit(server.port, {}, false);
    CHECK(server.end() == 0);
  }

  TEST_CASE("with an offer that is declined") {
    server_process server{false};
    converse(server.port, offer(), false);
    CHECK(server.end() == 0);
  }

  TEST_CASE("with permessage-deflate") {
    server_process server{true};
    converse(server.port, {}, false);
    for (const int bits : {9, 12, 15}) {
      converse(server.port, offer(bits, 15), true);
      converse(server.port, offer(15, bits), true);
    }
    past_the_limit(server.port, offer(), true);
    CHECK(server.end() == 0);
  }
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  server_program = argv[1];
  doctest::Context context;
  context.applyCommandLine(argc - 1, argv + 1);
  return context.run();
}
