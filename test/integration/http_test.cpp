// Plain HTTP beside the WebSocket routes.

#include "http.hpp"

#include <doctest/doctest.h>

using namespace skein::test;
using namespace std::chrono_literals;
using namespace std::string_literals;
using skein::close_code;
using skein::closed_by;
namespace asio = boost::asio;

namespace {

/// What a careless endpoint makes of a request.
asio::awaitable<skein::response> repeat_the_query(const skein::request& asked) {
  skein::response reply;
  reply.body = "done\n";
  reply.headers.emplace_back("Location", asked.query("to").value_or(""));
  co_return reply;
}

}  // namespace

TEST_SUITE("HTTP") {
  TEST_CASE("the standard endpoints answer") {
    test_server server{quiet_options(), {}, with_standard_endpoints};
    CHECK(ask(server, get("/healthz")).status == 200);
    CHECK(ask(server, get("/readyz")).status == 200);
    raw_client client{server.port()};
    REQUIRE(client.open().status == 101);
    const auto stats = ask(server, get("/ws/stats"));
    CHECK(stats.status == 200);
    CHECK(stats.header("Content-Type").starts_with("application/json"));
    boost::json::error_code ec;
    const auto parsed = boost::json::parse(stats.body, ec);
    CHECK_FALSE(ec);
    CHECK(parsed.is_object());
    CHECK_FALSE(parsed.as_object().empty());
  }

  TEST_CASE("a drained server is alive but not ready, and takes nobody") {
    test_server server{quiet_options(), {}, with_standard_endpoints};
    raw_client waiting{server.port()};
    waiting.send(get("/readyz"));
    CHECK(waiting.read_answer().status == 200);
    await(server.manager().drain(5s));
    waiting.send(get("/readyz"));
    CHECK(waiting.read_answer().status == 503);
    CHECK(ask(server, get("/healthz")).status == 200);
    CHECK_FALSE(server.manager().health().ready);
    CHECK(server.manager().health().live);
    const auto answer = ask(server, upgrade_request("/echo"));
    CHECK(answer.status == 503);
    CHECK(answer.has("Retry-After"));
    CHECK(refused(server, skein::refusal_reason::draining) == 1);
  }

  TEST_CASE("a line end in a header's value begins no other header") {
    test_server server{quiet_options(), {}, [](skein::server& one) { one.get("/repeat", repeat_the_query); }};
    const auto answer = ask(server, get("/repeat?to=/%0d%0aSet-Cookie:%20a=b%0d%0a%0d%0abody"));
    CHECK(answer.status == 200);
    CHECK(answer.header("Location") == "/  Set-Cookie: a=b    body");
    CHECK_FALSE(answer.has("Set-Cookie"));
    CHECK(answer.body == "done\n");
  }

  TEST_CASE("HEAD is GET without the content") {
    test_server server{quiet_options(), {}, with_standard_endpoints};
    for (const char* path : {"/healthz", "/readyz", "/ws/stats", "/nowhere"}) {
      CAPTURE(path);
      const auto full = ask(server, get(path));
      raw_client client{server.port()};
      client.send(get(path, "", "1.1", "HEAD") + get("/healthz", "Connection: close\r\n"));
      const auto head = client.read_answer(true);
      CHECK(head.status == full.status);
      CHECK(head.has("Content-Length"));
      CHECK(client.read_answer().status == 200);  // the next response follows at once
      CHECK(client.read_to_end() == stream_end::closed);
    }
  }

  TEST_CASE("a connection is kept for more requests, one by one or in one segment") {
    test_server server{quiet_options(), {}, with_standard_endpoints};
    raw_client client{server.port()};
    for (int i = 0; i < 5; ++i) {
      client.send(get("/healthz"));
      CHECK(client.read_answer().status == 200);
      client.send(get("/nowhere"));
      CHECK(client.read_answer().status == 404);
    }
    client.send(get("/healthz") + get("/nowhere") + get("/healthz") + upgrade_request("/echo") +
                text_frame("at last"));
    CHECK(client.read_answer().status == 200);
    CHECK(client.read_answer().status == 404);
    CHECK(client.read_answer().status == 200);
    CHECK(client.read_answer().status == 101);
    const auto echo = client.read_message();
    REQUIRE(echo);
    CHECK(echo->payload == "at last");
  }

  TEST_CASE("each request of a connection has the whole deadline") {
    skein::server_options options;
    options.handshake_timeout = 500ms;
    test_server server{quiet_options(), options, with_standard_endpoints};
    raw_client client{server.port()};
    const auto until = std::chrono::steady_clock::now() + 900ms;
    while (std::chrono::steady_clock::now() < until) {
      client.send(get("/healthz"));
      REQUIRE(client.read_answer().status == 200);
      REQUIRE_FALSE(client.readable_within(20ms));
    }
    CHECK(client.read_to_end() == stream_end::closed);  // idle
  }

  TEST_CASE("Connection: close ends the connection behind the answer") {
    test_server server{quiet_options(), {}, with_standard_endpoints};
    raw_client client{server.port()};
    client.send(get("/healthz", "Connection: close\r\n"));
    const auto answer = client.read_answer();
    CHECK(answer.status == 200);
    CHECK(answer.header("Connection") == "close");
    CHECK(client.read_to_end() == stream_end::closed);
  }

  TEST_CASE("HTTP/1.0 is answered once, unless it asks to be kept; it cannot upgrade") {
    test_server server{quiet_options(), {}, with_standard_endpoints};
    raw_client client{server.port()};
    client.send("GET /healthz HTTP/1.0\r\n\r\n");
    CHECK(client.read_answer().status == 200);
    CHECK(client.read_to_end() == stream_end::closed);

    raw_client kept{server.port()};
    kept.send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    CHECK(kept.read_answer().status == 200);

    auto request = upgrade_request("/echo");
    request.replace(request.find("HTTP/1.1"), 8, "HTTP/1.0");
    const auto status = ask(server, request).status;
    CHECK((status == 426 || status == 400));
  }

  TEST_CASE("a request with content does not become two requests") {
    test_server server{quiet_options(), {}, with_standard_endpoints};
    const auto hidden = get("/nowhere");
    raw_client client{server.port()};
    client.send(get("/healthz", "Content-Length: " + std::to_string(hidden.size()) + "\r\n") + hidden);
    CHECK(client.read_answer().status == 200);
    CHECK(client.read_answer().status == 0);  // the content was not taken for a request

    raw_client chunked{server.port()};
    chunked.send(get("/healthz", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n" + hidden);
    CHECK(chunked.read_answer().status == 200);
    CHECK(chunked.read_to_end() == stream_end::closed);
    // A coding that does not say where the content ends: nothing behind it is a request either.
    raw_client endless{server.port()};
    endless.send(get("/healthz", "Transfer-Encoding: identity\r\n") + hidden);
    CHECK(endless.read_answer().status == 400);
    CHECK(endless.read_to_end() == stream_end::closed);
    CHECK(server.serves());
  }

  TEST_CASE("headers may be larger than Beast keeps a field; the limit is what counts") {
    skein::server_options large;
    large.max_header_bytes = 200 * 1024;
    test_server server{quiet_options(), large, with_standard_endpoints};
    const auto status = [&](std::size_t bytes) {
      return ask(server, get("/healthz", "X: " + std::string(bytes, 'x') + "\r\n")).status;
    };
    CHECK(status(65'000) == 200);
    CHECK(status(65'535) == 431);
    CHECK(status(65'536) == 431);
    CHECK(status(100'000) == 431);
    CHECK(ask(server, get("/healthz",
                          "X: " + std::string(60'000, 'x') + "\r\nY: " + std::string(60'000, 'y') + "\r\n"))
              .status == 200);
    CHECK(server.problems() == 0);
  }

  TEST_CASE("a path may have both a route and an endpoint") {
    test_server server{quiet_options(), {}, [](skein::server& one) {
                         one.get("/echo", [](const skein::request&) -> asio::awaitable<skein::response> {
                           skein::response page;
                           page.body = "a page";
                           co_return page;
                         });
                       }};
    const auto page = ask(server, get("/echo"));
    CHECK(page.status == 200);
    CHECK(page.body == "a page");
    CHECK(server.serves());
  }

  TEST_CASE("an endpoint that throws is an error of the server, and the next request is served") {
    test_server server{quiet_options(), {}, [](skein::server& one) {
                         one.add_standard_endpoints();
                         one.get("/broken", [](const skein::request&) -> asio::awaitable<skein::response> {
                           throw std::runtime_error{"broken"};
                           co_return skein::response{};
                         });
                       }};
    CHECK(ask(server, get("/broken")).status == 500);
    CHECK(server.problems() >= 1);
    CHECK(ask(server, get("/healthz")).status == 200);
  }

  TEST_CASE("frames behind the upgrade request are not lost, however many and however divided") {
    test_server server;
    raw_client client{server.port()};
    std::string frames;
    for (int i = 0; i < 500; ++i) frames += text_frame(std::to_string(i));
    const auto half = frames.size() / 2;
    client.send(upgrade_request("/echo") + frames.substr(0, half));
    client.send(std::string_view{frames}.substr(half));
    REQUIRE(client.read_answer().status == 101);
    for (int i = 0; i < 500; ++i) {
      const auto next = client.read_message();
      REQUIRE(next);
      CHECK(next->payload == std::to_string(i));
    }
    // A whole conversation in one segment.
    raw_client hasty{server.port()};
    hasty.send(upgrade_request("/echo") + text_frame("in a hurry") + close_frame(1001));
    REQUIRE(hasty.read_answer().status == 101);
    const auto rest = hasty.read_conclusion();
    CHECK(rest.code() == 1001);
    CHECK(rest.end == stream_end::closed);
  }

  TEST_CASE("a request that has begun is answered though the server stops") {
    auto one_shard = quiet_options();
    one_shard.shards = 1;
    auto manager = skein::make_manager(one_shard);
    skein::server_options options;
    options.port = 0;
    skein::server server{manager, options};
    server.add_standard_endpoints();
    server.start();
    raw_client begun{server.port()}, silent{server.port()};
    begun.send("GET /healthz HTTP/1.1\r\nHost: ");
    REQUIRE(eventually([&] { return manager->stats().handshaking == 2; }));
    // Read by now: what a later connection says has been answered.
    raw_client later{server.port()};
    later.send(get("/healthz"));
    CHECK(later.read_answer().status == 200);
    server.stop();
    silent.read_answer();
    CHECK(silent.read_to_end() != stream_end::open);
    begun.send("localhost\r\n\r\n");
    CHECK(begun.read_answer().status == 200);
    CHECK(begun.read_to_end() == stream_end::closed);
  }

  TEST_CASE("stopping ends idle connections and accepting, and leaves WebSocket connections alone") {
    skein::server_options options;
    options.handshake_timeout = 60s;
    auto manager = skein::make_manager(quiet_options());
    options.port = 0;
    auto server = std::make_unique<skein::server>(manager, options);
    server->route("/echo", echo);
    server->add_standard_endpoints();
    server->start();
    raw_client idle{server->port()}, silent{server->port()}, client{server->port()};
    idle.send(get("/healthz"));
    CHECK(idle.read_answer().status == 200);
    REQUIRE(client.open().status == 101);
    const auto port = server->port();
    server->stop();
    server->stop();
    CHECK(idle.read_to_end() == stream_end::closed);
    silent.read_answer();
    CHECK(silent.read_to_end() != stream_end::open);
    CHECK(is_open(client));
    CHECK(eventually([&] {
      try {
        raw_client late{port};
        return late.read_to_end() != stream_end::open;
      } catch (const std::system_error&) {
        return true;
      }
    }));
    server.reset();
    CHECK(is_open(client));
  }
}
