// Who is let in, and what everybody else is answered.

#include "http.hpp"

#include <doctest/doctest.h>

using namespace skein::test;
using namespace std::chrono_literals;
using namespace std::string_literals;
using skein::close_code;
using skein::closed_by;
namespace asio = boost::asio;

TEST_SUITE("handshake") {
  TEST_CASE("a request to upgrade that has content is refused, and the content is not taken for frames") {
    test_server server{quiet_options()};
    const auto frames = text_frame("smuggled");
    const auto length = "Content-Length: " + std::to_string(frames.size()) + "\r\n";
    for (const auto& [headers, body] : {std::pair{length, frames}, std::pair{"Content-Length: 1\r\n"s, ""s},
                                        std::pair{"Transfer-Encoding: chunked\r\n"s, "0\r\n\r\n"s}}) {
      CAPTURE(headers);
      raw_client client{server.port()};
      client.send(upgrade_request("/echo", headers) + body);
      CHECK(client.read_answer().status == 400);
      CHECK(client.read_to_end() != stream_end::open);
    }
    CHECK(refused(server, skein::refusal_reason::malformed) == 3);
    CHECK(status_of(server, "Content-Length: 0\r\n") == 101);
  }

  TEST_CASE("the key of RFC 6455 is answered as in RFC 6455") {
    test_server server;
    raw_client client{server.port()};
    const auto answer = client.open();
    CHECK(answer.status == 101);
    CHECK(answer.header("Sec-WebSocket-Accept") == sample_accept);
    CHECK(same(answer.header("Upgrade"), "websocket"));
    CHECK(same(answer.header("Connection"), "upgrade"));
    CHECK_FALSE(answer.has("Sec-WebSocket-Extensions"));
    CHECK_FALSE(answer.has("Sec-WebSocket-Protocol"));
    CHECK(is_open(client));
  }

  TEST_CASE("header names and tokens may be written in any case and any company") {
    test_server server;
    for (const auto& request :
         {upgrade_with("Upgrade", "uPGRADE: WebSocket"), upgrade_with("Upgrade", "Upgrade: h2c, websocket"),
          upgrade_with("Connection", "CONNECTION: upgrade"),
          upgrade_with("Connection", "Connection: keep-alive, Upgrade"),
          upgrade_with("Connection", "Connection: keep-alive\r\nConnection: Upgrade"),
          upgrade_with("Sec-WebSocket-Key", "sec-websocket-key:" + std::string{sample_key}),
          upgrade_with("Sec-WebSocket-Version", "Sec-WebSocket-Version:   13  "),
          upgrade_with("Host", "host: other:1")}) {
      CAPTURE(request);
      raw_client client{server.port()};
      client.send(request);
      CHECK(client.read_answer().status == 101);
      CHECK(is_open(client));
    }
  }

  TEST_CASE("a handshake that comes byte by byte") {
    test_server server;
    raw_client client{server.port()};
    client.send_bytewise(upgrade_request("/echo"));
    CHECK(client.read_answer().status == 101);
    CHECK(is_open(client));
  }

  TEST_CASE("the first of the route's subprotocols that the client offers is chosen") {
    test_server server{quiet_options(), {}, [](skein::server& one) {
                         skein::route_options options;
                         options.subprotocols = {"orders.v2", "orders.v1"};
                         one.route("/orders", say_subprotocol, options);
                       }};
    struct offer {
      const char* headers;
      const char* chosen;
    };
    for (const auto& [headers, chosen] :
         {offer{"Sec-WebSocket-Protocol: orders.v1\r\n", "orders.v1"},
          offer{"Sec-WebSocket-Protocol: orders.v1, orders.v2\r\n", "orders.v2"},
          offer{"Sec-WebSocket-Protocol: chat, orders.v1 ,x\r\n", "orders.v1"},
          offer{"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: orders.v1\r\n", "orders.v1"},
          offer{"Sec-WebSocket-Protocol: chat\r\n", ""}, offer{"Sec-WebSocket-Protocol: orders\r\n", ""},
          offer{"Sec-WebSocket-Protocol: ORDERS.V1\r\n", ""}, offer{"", ""}}) {
      CAPTURE(headers);
      raw_client client{server.port()};
      const auto answer = client.open("/orders", headers);
      CHECK(answer.status == 101);
      CHECK(answer.header("Sec-WebSocket-Protocol") == chosen);
      CHECK(answer.has("Sec-WebSocket-Protocol") == (chosen != ""s));  // section 4.2.2: absent, not empty
      const auto said = client.read_message();
      REQUIRE(said);
      CHECK(said->payload == chosen);
    }
  }

  TEST_CASE("the handler sees the request") {
    test_server server{quiet_options(), {}, [](skein::server& one) { one.route("/request", say_request); }};
    raw_client client{server.port()};
    REQUIRE(client.open("/request?x=1&name=Ada%20L+", "X-Twice: first\r\nx-twice: second\r\n").status == 101);
    const auto said = client.read_message();
    REQUIRE(said);
    CHECK(said->payload == "GET /request?x=1&name=Ada%20L+ /request first 2 Ada L  /request");
  }

  TEST_CASE("a path that nobody registered is not found") {
    test_server server{quiet_options(), {}, with_standard_endpoints};
    CHECK(status_of(server, "", "/nowhere") == 404);
    CHECK(status_of(server, "", "/echo/") == 404);
    CHECK(status_of(server, "", "/ECHO") == 404);
    CHECK(ask(server, get("/nowhere")).status == 404);
    CHECK(ask(server, get("/nowhere", "", "1.1", "POST")).status == 404);
    CHECK(server.serves());
  }

  TEST_CASE("another method than GET is not allowed, and the answer says what is") {
    test_server server{quiet_options(), {}, with_standard_endpoints};
    for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"}) {
      CAPTURE(method);
      const auto at_endpoint = ask(server, get("/healthz", "", "1.1", method));
      CHECK(at_endpoint.status == 405);
      CHECK(at_endpoint.header("Allow").find("GET") != std::string::npos);
      const auto at_route = ask(server, get("/echo", "", "1.1", method));
      CHECK(at_route.status == 405);
      CHECK(at_route.header("Allow").find("GET") != std::string::npos);
    }
    // Of the server as a whole (RFC 9110 section 9.3.7).
    CHECK(ask(server, get("*", "", "1.1", "OPTIONS")).status == 405);
    CHECK(ask(server, get("*", "", "1.1", "GET")).status == 400);
    auto request = upgrade_request("/echo");
    request.replace(0, 3, "POST");
    CHECK(ask(server, request).status == 405);
  }

  TEST_CASE("a plain GET of a WebSocket route must upgrade") {
    test_server server;
    for (const auto& request :
         {get("/echo"), get("/echo", "Connection: Upgrade\r\n"), get("/echo", "Upgrade: websocket\r\n"),
          get("/echo", "Upgrade: h2c\r\nConnection: Upgrade\r\n"), upgrade_with("Upgrade", ""),
          upgrade_with("Connection", ""), upgrade_with("Connection", "Connection: keep-alive")}) {
      CAPTURE(request);
      const auto answer = ask(server, request);
      CHECK(answer.status == 426);
      CHECK(same(answer.header("Upgrade"), "websocket"));
      CHECK(same(answer.header("Connection"), "upgrade"));
    }
    CHECK(refused(server, skein::refusal_reason::malformed) == 7);
    CHECK(server.serves());
  }

  TEST_CASE("a version other than 13 is refused with the one that is spoken") {
    test_server server;
    for (const char* version : {"0", "8", "12", "14", "013", "13, 8", "x", "-13", "130"}) {
      CAPTURE(version);
      const auto answer =
          ask(server, upgrade_with("Sec-WebSocket-Version", "Sec-WebSocket-Version: "s + version));
      CHECK(answer.status == 426);
      CHECK(answer.header("Sec-WebSocket-Version") == "13");
    }
    const auto without = ask(server, upgrade_with("Sec-WebSocket-Version", "")).status;
    CHECK((without == 426 || without == 400));
  }

  TEST_CASE("a key that is missing or is not 16 bytes is malformed") {
    test_server server;
    const auto key = [](const char* value) {
      return upgrade_with("Sec-WebSocket-Key", "Sec-WebSocket-Key: "s + value);
    };
    for (const auto& request :
         {upgrade_with("Sec-WebSocket-Key", ""), key(""), key("short"), key("dGhlIHNhbXBsZSBub25jZQ"),
          key("dGhlIHNhbXBsZSBub25jZQ="), key("dGhlIHNhbXBsZSBub25jZQ=== "), key("dGhlIHNhbXBsZSBub25jZTE="),
          key("dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ=="), key("dGhlIHNhbXBsZSBub2!jZQ=="),
          key("========================"),
          key("dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")}) {
      CAPTURE(request);
      CHECK(ask(server, request).status == 400);
    }
    CHECK(server.serves());
  }

  TEST_CASE("what is not HTTP is malformed") {
    test_server server{quiet_options(), {}, with_standard_endpoints};
    for (const auto& bytes :
         {"nonsense\r\n\r\n"s, "\r\n\r\nGET\r\n\r\n"s, "GET\r\n\r\n"s, "GET /echo\r\n\r\n"s,
          "GET /echo HTTP/x.y\r\n\r\n"s, "GET  /echo HTTP/1.1\r\nHost: a\r\n\r\n"s,
          "GET /echo HTTP/1.1\r\nno colon\r\n\r\n"s, "GET /echo HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n"s,
          "GET /echo HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"s,
          "GET /echo HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n"s, "GET /ec\x01ho HTTP/1.1\r\nHost: a\r\n\r\n"s,
          std::string(64, '\0'), "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s + std::string(64, 'x'),
          get("/healthz", "Content-Length: 1\r\nContent-Length: 2\r\n"),
          get("/healthz", "Content-Length: -1\r\n"), "GET /healthz HTTP/1.1\r\n\r\n"s,
          "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"s,
          "GET healthz HTTP/1.1\r\nHost: a\r\n\r\n"s}) {
      CAPTURE(bytes);
      raw_client client{server.port()};
      client.send(bytes);
      CHECK(client.read_answer().status == 400);
      CHECK(client.read_to_end() == stream_end::closed);
    }
    CHECK(server.serves());
  }

  TEST_CASE("HTTP/2 without an agreement is malformed") {
    test_server server;
    const auto status = ask(server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status;
    CHECK((status == 400 || status == 505));
  }
}

TEST_SUITE("origin") {
  TEST_CASE("by default an origin must have the host and port of the request") {
    test_server server;
    const auto status = [&](const char* host, const char* origin) {
      auto request = upgrade_with("Host", "Host: "s + host);
      request.insert(request.size() - 2, "Origin: "s + origin + "\r\n");
      return ask(server, request).status;
    };
    CHECK(status_of(server, "") == 101);
    CHECK(status("localhost", "http://localhost") == 101);
    CHECK(status("localhost:8080", "http://localhost:8080") == 101);
    CHECK(status("LOCALHOST:8080", "http://localhost:8080") == 101);
    CHECK(status("example.com", "https://example.com") == 101);
    CHECK(status("example.com", "https://example.com:443") == 101);
    CHECK(status("[::1]:9000", "http://[::1]:9000") == 101);
    CHECK(status("localhost:8080", "http://localhost") == 403);
    CHECK(status("localhost:8080", "http://localhost:8081") == 403);
    CHECK(status("localhost", "http://localhost.evil.example") == 403);
    CHECK(status("localhost", "http://evil.example") == 403);
    CHECK(status("localhost", "http://evil.example/localhost") == 403);
    CHECK(status("localhost", "http://localhost@evil.example") == 403);
    CHECK(status("localhost", "null") == 403);
    CHECK(status("localhost", "localhost") == 403);
    CHECK(status("localhost", "http://localhost\r\nOrigin: http://localhost") == 403);
    CHECK(refused(server, skein::refusal_reason::origin) == 9);
    CHECK(server.serves());
  }

  TEST_CASE("a list of origins is exact in scheme, host and port") {
    skein::server_options options;
    options.origin.allowed = {"https://app.example.com", "http://localhost:3000"};
    test_server server{quiet_options(), options};
    const auto status = [&](const char* origin) { return status_of(server, "Origin: "s + origin + "\r\n"); };
    CHECK(status_of(server, "") == 101);  // no browser
    CHECK(status("https://app.example.com") == 101);
    CHECK(status("https://APP.example.com") == 101);
    CHECK(status("https://app.example.com:443") == 101);
    CHECK(status("http://localhost:3000") == 101);
    CHECK(status("http://app.example.com") == 403);
    CHECK(status("https://app.example.com:8443") == 403);
    CHECK(status("https://app.example.com.evil.example") == 403);
    CHECK(status("https://evil.app.example.com") == 403);
    CHECK(status("http://localhost") == 403);
    CHECK(status("https://localhost:3000") == 403);
    CHECK(status("null") == 403);
    CHECK(status("") == 403);
    CHECK(status("https://app.example.com, https://evil.example") == 403);
  }

  TEST_CASE("a star allows every origin") {
    skein::server_options options;
    options.origin.allowed = {"*"};
    test_server server{quiet_options(), options};
    CHECK(status_of(server, "Origin: https://anywhere.example\r\n") == 101);
    CHECK(status_of(server, "Origin: null\r\n") == 101);
  }

  TEST_CASE("a callback decides alone, and a route may have a policy of its own") {
    skein::server_options options;
    options.origin.allowed = {"https://never.example"};
    options.origin.accept = [](std::string_view origin, const skein::request& what) {
      return origin.ends_with(".example.com") || what.header("X-Trust") == "yes";
    };
    test_server server{quiet_options(), options, [](skein::server& one) {
                         skein::route_options own;
                         own.origin.emplace().allowed = {"https://only.example"};
                         one.route("/own", echo, own);
                       }};
    CHECK(status_of(server, "Origin: https://a.example.com\r\n") == 101);
    CHECK(status_of(server, "Origin: https://never.example\r\n") == 403);
    CHECK(status_of(server, "Origin: https://never.example\r\nX-Trust: yes\r\n") == 101);
    CHECK(status_of(server, "Origin: https://only.example\r\n", "/own") == 101);
    CHECK(status_of(server, "Origin: https://a.example.com\r\n", "/own") == 403);
  }
}

TEST_SUITE("authentication") {
  const std::function<void(skein::server&)> routes = [](skein::server& server) {
    const auto add = [&](const char* path, skein::authenticator who) {
      skein::route_options options;
      options.authenticator = std::move(who);
      server.route(path, say_who, options);
    };
    add("/private", by_token);
    add("/slow", in_an_hour);
    add("/later", after_a_while);
    add("/teapot", teapot);
  };

  TEST_CASE("an identity is let in and known to the handler") {
    test_server server{quiet_options(), {}, routes};
    raw_client client{server.port()};
    REQUIRE(client.open("/private?token=ada").status == 101);
    const auto said = client.read_message();
    REQUIRE(said);
    CHECK(said->payload == "ada");
  }

  TEST_CASE("a refusal is answered with its status, text and headers, and the connection ends") {
    test_server server{quiet_options(), {}, routes};
    raw_client client{server.port()};
    const auto answer = client.open("/private");
    CHECK(answer.status == 401);
    CHECK(answer.header("WWW-Authenticate") == "Bearer");
    CHECK(answer.body == "who are you?\n");
    CHECK(status_of(server, "", "/private?token=eve") == 403);
    CHECK(refused(server, skein::refusal_reason::authentication) == 2);
    CHECK(server.opened().empty());
    // What the peer has sent meanwhile must not destroy the answer, as it would if it were left unread.
    raw_client hasty{server.port()};
    hasty.send(upgrade_request("/private") + std::string(100'000, 'x'));
    CHECK(hasty.read_answer().status == 401);
    CHECK(hasty.read_to_end() == stream_end::closed);
    CHECK(server.serves());
  }

  TEST_CASE("an authenticator that throws is an error of the server, and is reported") {
    test_server server{quiet_options(), {}, routes};
    CHECK(status_of(server, "", "/private?token=boom") == 500);
    CHECK(refused(server, skein::refusal_reason::internal) == 1);
    CHECK(server.problems() >= 1);
    CHECK(server.serves());
  }

  TEST_CASE("a refusal with a status that is no error is an error of the server") {
    test_server server{quiet_options(), {}, routes};
    CHECK(status_of(server, "", "/teapot") == 500);
  }

  TEST_CASE("an authenticator has as long as the handshake") {
    skein::server_options options;
    options.handshake_timeout = 200ms;
    test_server server{quiet_options(), options, routes};
    CHECK(status_of(server, "", "/slow") == 408);
    CHECK(refused(server, skein::refusal_reason::timeout) == 1);
    CHECK(eventually([&] { return server.stats().handshaking == 0; }));
    CHECK(server.serves());
  }

  TEST_CASE("frames that arrive while the authenticator thinks are not lost") {
    test_server server{quiet_options(), {}, [](skein::server& one) {
                         skein::route_options options;
                         options.authenticator = after_a_while;
                         one.route("/later", echo, options);
                       }};
    raw_client client{server.port()};
    client.send(upgrade_request("/later") + text_frame("1"));
    client.send(text_frame("2"));
    REQUIRE(client.read_answer().status == 101);
    for (const char* expected : {"1", "2"}) {
      const auto next = client.read_message();
      REQUIRE(next);
      CHECK(next->payload == expected);
    }
  }

  TEST_CASE("a shutdown that begins while the authenticator thinks lets nobody in") {
    std::atomic<bool> asked{false};
    std::atomic<bool> decide{false};
    const auto when_told = [&](const skein::request&) -> asio::awaitable<skein::admission> {
      asked = true;
      asio::steady_timer timer{co_await asio::this_coro::executor};
      while (!decide) {
        timer.expires_after(1ms);
        co_await timer.async_wait(asio::use_awaitable);
      }
      co_return skein::identity{};
    };
    test_server server{quiet_options(), {}, [&](skein::server& one) {
                         skein::route_options options;
                         options.authenticator = when_told;
                         one.route("/later", echo, options);
                       }};
    raw_client client{server.port()};
    client.send(upgrade_request("/later"));
    REQUIRE(eventually([&] { return asked.load(); }));
    await(server.manager().drain(1s));
    decide = true;
    const auto answer = client.read_answer();
    CHECK(answer.status == 503);
    CHECK(answer.has("Retry-After"));
    CHECK(refused(server, skein::refusal_reason::draining) == 1);
    CHECK(server.opened().empty());
  }

  TEST_CASE("a peer that leaves while the authenticator thinks is forgotten") {
    skein::server_options options;
    options.handshake_timeout = 200ms;
    test_server server{quiet_options(), options, routes};
    for (int i = 0; i < 10; ++i) {
      raw_client client{server.port()};
      client.send(upgrade_request("/slow"));
      if (i % 2 == 0) client.reset();
    }
    CHECK(eventually([&] { return server.stats().handshaking == 0 && server.stats().active == 0; }));
    CHECK(server.opened().empty());
    CHECK(server.serves());
  }
}
