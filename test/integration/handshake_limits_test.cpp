// What an opening handshake may cost.

#include "crowd.hpp"
#include "http.hpp"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <poll.h>

using namespace skein::test;
using namespace std::chrono_literals;
using namespace std::string_literals;
using skein::close_code;
using skein::closed_by;
namespace asio = boost::asio;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SKEIN_SANITIZER_OPENS_FILES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SKEIN_SANITIZER_OPENS_FILES 1
#endif
#endif
#ifdef SKEIN_SANITIZER_OPENS_FILES
constexpr bool sanitizer_opens_files = true;  // for its own purposes
#else
constexpr bool sanitizer_opens_files = false;
#endif

TEST_SUITE("handshake limits") {
  TEST_CASE("a handshake that trickles is cut at its deadline, however often a byte comes") {
    skein::server_options options;
    options.handshake_timeout = 400ms;
    test_server server{quiet_options(), options};
    raw_client client{server.port()};
    const auto request = upgrade_request("/echo", "X-Long: " + std::string(4'000, 'x') + "\r\n");
    const auto begun = std::chrono::steady_clock::now();
    std::size_t sent = 0;
    while (!client.readable_within(20ms) && sent < request.size())
      client.send(std::string_view{request}.substr(sent++, 1));
    CHECK(client.read_answer().status == 408);
    CHECK(client.read_to_end() != stream_end::open);
    const auto took = std::chrono::steady_clock::now() - begun;
    CHECK(took >= 390ms);
    CHECK(took < 10s);
    CHECK(refused(server, skein::refusal_reason::timeout) == 1);
    CHECK(server.serves());
  }

  TEST_CASE("a byte that comes in the very turn of the deadline gains no time") {
    asio::io_context context{2};
    const auto time = std::make_shared<skein::testing::virtual_clock>();
    auto options = quiet_options();
    options.shards = 1;
    options.time = time;
    const auto hub = skein::make_manager(context.get_executor(), options);
    skein::server_options where;
    where.port = 0;
    skein::server serving{hub, where};
    serving.start();
    raw_client peer{serving.port()};
    while (hub->stats().handshaking == 0) context.run_one();
    context.poll();
    const auto other = skein::testing::connect(*hub, echo);
    asio::post(other->other_end()->executor(), [&] {
      time->advance(5s);  // the deadline waits for the end of this function,
      peer.send("G");
      std::thread{[&context] { context.poll(); }}.join();  // and the byte stands behind it
    });
    REQUIRE(eventually([&] {
      context.poll();
      return peer.readable_within(0ms);
    }));
    CHECK(peer.read_answer().status == 408);
    peer.close();
    CHECK(eventually([&] {
      context.poll();
      return hub->stats().handshaking == 0;
    }));
  }

  TEST_CASE("a peer that reads no answer is cut as well") {
    skein::server_options options;
    options.handshake_timeout = 200ms;
    options.socket_write_buffer = 8 * 1024;
    test_server server{quiet_options(), options, [](skein::server& one) {
                         one.get("/large", [](const skein::request&) -> asio::awaitable<skein::response> {
                           skein::response all;
                           all.body.assign(8 << 20, 'x');
                           co_return all;
                         });
                       }};
    raw_client client{server.port(), 8 * 1024};
    client.send(get("/large"));
    REQUIRE(eventually([&] { return server.stats().handshaking == 1; }));
    CHECK(eventually([&] { return server.stats().handshaking == 0; }));
    CHECK(server.serves());
  }

  TEST_CASE("a peer that says nothing is cut at the deadline too") {
    skein::server_options options;
    options.handshake_timeout = 200ms;
    test_server server{quiet_options(), options};
    raw_client client{server.port()};
    const auto answer = client.read_answer();
    CHECK((answer.status == 408 || answer.status == 0));
    CHECK(client.read_to_end() == stream_end::closed);
    CHECK(server.serves());
  }

  TEST_CASE("the request line and headers may have so many bytes and not one more") {
    skein::server_options options;
    options.max_header_bytes = 8 * 1024;
    test_server server{quiet_options(), options};
    const auto of_size = [](std::size_t size) {
      const auto bare = upgrade_request("/echo", "X: \r\n").size();
      return upgrade_request("/echo", "X: " + std::string(size - bare, 'x') + "\r\n");
    };
    CHECK(ask(server, of_size(8 * 1024 - 1)).status == 101);
    CHECK(ask(server, of_size(8 * 1024)).status == 101);
    CHECK(ask(server, of_size(8 * 1024 + 1)).status == 431);
    CHECK(ask(server, of_size(16 * 1024)).status == 431);
    CHECK(ask(server, of_size(200 * 1024)).status == 431);
    CHECK(ask(server, "GET /" + std::string(10'000, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n").status == 431);
    // What follows does not count.
    raw_client client{server.port()};
    client.send(of_size(8 * 1024) + binary_frame(std::string(30'000, 'x')));
    CHECK(client.read_answer().status == 101);
    CHECK(client.read_message()->payload.size() == 30'000);
    CHECK(refused(server, skein::refusal_reason::too_large) == 4);
    CHECK(server.serves());
  }

  TEST_CASE("a header without an end is cut at the limit, not at the deadline") {
    test_server server;
    raw_client client{server.port()};
    client.send("GET /echo HTTP/1.1\r\nHost: a\r\nX: " + std::string(9'000, 'x'));
    CHECK(client.read_answer().status == 431);
    CHECK(client.read_to_end() == stream_end::closed);
  }

  TEST_CASE("100 header fields, and not one more") {
    test_server server;
    const auto with_fields = [](std::size_t count) {  // `upgrade_request` has five
      std::string more;
      for (std::size_t i = 5; i < count; ++i) more += "X-" + std::to_string(i) + ": y\r\n";
      return upgrade_request("/echo", more);
    };
    CHECK(ask(server, with_fields(99)).status == 101);
    CHECK(ask(server, with_fields(100)).status == 101);
    CHECK(ask(server, with_fields(101)).status == 431);
    CHECK(ask(server, with_fields(500)).status == 431);
    CHECK(server.serves());
  }

  TEST_CASE("past the connection limit: 503, and when to come back") {
    auto options = quiet_options();
    options.max_connections = 3;
    test_server server{options, {}, with_standard_endpoints};
    std::vector<raw_client> clients;
    for (int i = 0; i < 3; ++i) {
      CHECK(ask(server, get("/readyz")).status == 200);
      clients.emplace_back(server.port());
      REQUIRE(clients.back().open().status == 101);
    }
    CHECK(ask(server, get("/readyz")).status == 503);
    CHECK(ask(server, get("/healthz")).status == 200);
    CHECK_FALSE(server.manager().health().ready);
    for (int i = 0; i < 5; ++i) {
      const auto answer = ask(server, upgrade_request("/echo"));
      CHECK(answer.status == 503);
      const auto seconds = answer.header("Retry-After");
      CHECK_FALSE(seconds.empty());
      CHECK(seconds.find_first_not_of("0123456789") == std::string::npos);
    }
    CHECK(refused(server, skein::refusal_reason::connection_limit) == 5);
    for (auto& one : clients) CHECK(is_open(one));

    // A place that becomes free is given away again.
    clients.back().reset();
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.serves());
    CHECK(eventually([&] { return ask(server, get("/readyz")).status == 200; }));
  }

  TEST_CASE("the limit holds when many race for the last places") {
    constexpr std::size_t places = 50, racers = 500, threads = 8;
    auto options = quiet_options();
    options.max_connections = places;
    std::atomic<int> now{0}, most{0};
    options.on_open = [&](skein::connection&) {
      const int mine = ++now;
      for (int seen = most.load(); mine > seen && !most.compare_exchange_weak(seen, mine);) {
      }
    };
    options.on_closed = [&](skein::connection&, const skein::close_reason&) { --now; };
    skein::server_options where;
    where.clients.handshakes_per_address = 0;  // they all come at once
    test_server server{options, where};
    std::vector<std::vector<raw_client>> clients(threads);
    std::atomic<std::size_t> admitted{0}, turned_away{0}, other{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> pool;
    for (std::size_t t = 0; t < threads; ++t) {
      pool.emplace_back([&, t] {
        try {
          const auto mine = racers / threads + (t < racers % threads ? 1 : 0);
          for (std::size_t i = 0; i < mine; ++i) clients[t].emplace_back(server.port());
          while (!go) std::this_thread::yield();
          for (auto& one : clients[t]) one.send(upgrade_request("/echo"));
          for (auto& one : clients[t]) {
            const auto status = one.read_answer().status;
            ++(status == 101 ? admitted : status == 503 ? turned_away : other);
          }
        } catch (const std::exception&) {
          ++other;
        }
      });
    }
    go = true;
    for (auto& one : pool) one.join();
    CHECK(admitted == places);
    CHECK(turned_away == racers - places);
    CHECK(other == 0);
    CHECK(most == static_cast<int>(places));
    CHECK(server.stats().active == places);
    CHECK(server.stats().open == places);
    clients.clear();
    CHECK(server.wait_for_closed(places));
    CHECK(now == 0);
    CHECK(server.serves());
  }

  TEST_CASE("out of descriptors: who comes is turned away at once, and let in when there are some again" *
            doctest::skip(sanitizer_opens_files)) {
    std::array<int, 5> waiting{};
    for (auto& each : waiting) each = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    // With two listeners one may be let in by the descriptor with which the other turns somebody away.
    auto options = quiet_options();
    options.shards = 1;
    test_server one{options};
    crowd others{one.port(), "/echo"};
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    auto none = before;
    const int next = ::dup(waiting[0]);
    ::close(next);
    none.rlim_cur = static_cast<rlim_t>(next);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(one.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (const auto each : waiting) {
      CHECK(::connect(each, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
      pollfd ended{each, POLLIN, 0};
      CHECK(::poll(&ended, 1, static_cast<int>(patience / std::chrono::milliseconds{1})) == 1);
      char byte = 0;
      CHECK(::recv(each, &byte, 1, MSG_DONTWAIT) <= 0);
    }
    CHECK(others.is_well());
    ::setrlimit(RLIMIT_NOFILE, &before);
    for (const auto each : waiting) ::close(each);
    CHECK(refused(one, skein::refusal_reason::descriptors) == waiting.size());
    CHECK(one.problems() >= 1);
    CHECK(one.serves());
  }
}
