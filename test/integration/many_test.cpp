// As many connections as the file limit allows, in a process of their own: the report of a broadcast is exact
// while some stop reading and some are killed.

#include "test_engine.hpp"

#include <skein/manager.hpp>
#include <skein/server.hpp>
#include <skein/testing.hpp>

#include <csignal>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace {

using namespace skein;
using namespace std::chrono_literals;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif
#else
constexpr bool sanitized = false;
#endif

constexpr std::size_t payload_size = 60'000;  // does not fit into the socket's buffers
constexpr std::size_t frame_size = payload_size + 4;

void put(int fd, std::uint32_t value) {
  if (::write(fd, &value, sizeof value) != sizeof value) _exit(9);
}
std::uint32_t take(int fd) {
  std::uint32_t value = 0;
  return ::read(fd, &value, sizeof value) == sizeof value ? value : UINT32_MAX;
}

int connect_to(std::uint16_t port, unsigned number) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return -1;
  const int small = 4096;
  ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number % 4);  // 127.0.0.1 to 127.0.0.4
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) return -1;
  constexpr std::string_view request =
      "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
    return -1;
  std::string answer;
  while (!answer.ends_with("\r\n\r\n")) {
    char byte = 0;
    if (::recv(fd, &byte, 1, 0) != 1) return -1;
    answer += byte;
  }
  return answer.starts_with("HTTP/1.1 101") ? fd : -1;
}

/// The peers: connects `all`, then, told to, kills the last `killed`, leaves `stuck` unread, and reads the
/// rest to the end of one frame each.
[[noreturn]] void be_the_peers(std::size_t all, std::size_t stuck, std::size_t killed, int orders,
                               int answers) {
  ::signal(SIGPIPE, SIG_IGN);
  ::alarm(100);  // never outlives the test for long
  const auto port = static_cast<std::uint16_t>(take(orders));
  std::vector<int> sockets;
  for (unsigned i = 0; i < all; ++i) {
    const int fd = connect_to(port, i);
    if (fd < 0) _exit(1);
    sockets.push_back(fd);
  }
  put(answers, static_cast<std::uint32_t>(sockets.size()));
  if (take(orders) == UINT32_MAX) _exit(2);
  const auto readers = all - stuck - killed;
  for (auto i = readers + stuck; i < all; ++i) {
    const linger reset{1, 0};
    ::setsockopt(sockets[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    ::close(sockets[i]);
  }
  const int poller = ::epoll_create1(0);
  std::vector<std::size_t> got(readers);
  for (std::size_t i = 0; i < readers; ++i) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    ::epoll_ctl(poller, EPOLL_CTL_ADD, sockets[i], &event);
  }
  std::uint32_t complete = 0;
  std::array<char, 65536> buffer{};
  while (complete < readers) {
    std::array<epoll_event, 256> events{};
    const int n = ::epoll_wait(poller, events.data(), static_cast<int>(events.size()), 30'000);
    if (n <= 0) break;
    for (int e = 0; e < n; ++e) {
      const auto i = static_cast<std::size_t>(events[static_cast<std::size_t>(e)].data.u64);
      const auto bytes = ::recv(sockets[i], buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (bytes <= 0) _exit(3);
      got[i] += static_cast<std::size_t>(bytes);
      if (got[i] == frame_size) ++complete;
      if (got[i] > frame_size) _exit(4);
    }
  }
  put(answers, complete);
  take(orders);  // stays until the parent has looked
  _exit(0);
}

std::size_t descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<std::size_t>(limit.rlim_cur);
}

}  // namespace

TEST_SUITE("many connections") {
  TEST_CASE("a broadcast to 10,000 is reported exactly while 1,000 stop reading and 1,000 are killed") {
    std::size_t all = sanitized ? 1'000 : 10'000;
    while (all + 200 > descriptors()) all /= 2;
    INFO("connections: " << all);
    const auto stuck = all / 10;
    const auto killed = all / 10;
    const auto readers = all - stuck - killed;

    int orders[2];
    int answers[2];
    REQUIRE(::pipe(orders) == 0);
    REQUIRE(::pipe(answers) == 0);
    const auto child = ::fork();  // before there are threads
    REQUIRE(child >= 0);
    if (child == 0) be_the_peers(all, stuck, killed, orders[0], answers[1]);
    ::close(orders[0]);
    ::close(answers[1]);

    manager_options options;
    options.engine = skein::test::test_engine();
    options.max_connections = all;
    options.limits.ping_interval = 0s;
    options.limits.write_timeout = 0s;
    auto hub = make_manager(options);
    server_options at;
    at.address = "0.0.0.0";
    at.port = 0;
    at.socket_write_buffer = 4096;
    server front{hub, at};
    front.route("/", [](connection& client) -> asio::awaitable<void> {
      while (const auto got = co_await client.read()) {
      }
    });
    front.start();

    put(orders[1], front.port());
    REQUIRE(take(answers[0]) == all);
    CHECK(hub->stats().active == all);
    CHECK(!hub->health().ready);  // at the limit

    asio::io_context context{1};
    auto tell_peers = [](int fd) -> asio::awaitable<void> {
      put(fd, 1);
      co_return;
    };
    delivery how;
    how.deadline(sanitized ? 20s : 8s);
    std::optional<delivery_report> report;
    auto announce = [](manager& to, delivery chosen,
                       std::optional<delivery_report>& out) -> asio::awaitable<void> {
      out = co_await to.broadcast(message::binary(std::string(payload_size, 'x')), chosen);
    };
    asio::co_spawn(context, announce(*hub, how, report), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
    // The peers are told after the shards were, so a shard offers the copies before it sees who was killed.
    asio::co_spawn(context, tell_peers(orders[1]), [](const std::exception_ptr&) {});
    context.run_for(60s);

    REQUIRE(report);
    CHECK(report->balanced());
    CHECK(report->matched == all);
    CHECK(report->written == readers);
    CHECK(report->closed == killed);
    CHECK(report->pending == stuck);
    CHECK(report->dropped == 0);
    CHECK(take(answers[0]) == readers);  // what the peers themselves have counted
    CHECK(hub->stats().active == all - killed);
    put(orders[1], 1);
    int status = 0;
    CHECK(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    ::close(orders[1]);
    ::close(answers[0]);
    front.stop();
  }
}
