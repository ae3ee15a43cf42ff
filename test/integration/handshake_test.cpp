// The HTTP side, with raw sockets: who is let in, and what everybody else is answered.

#include "test_server.hpp"

#include <skein/testing.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

namespace {

using namespace skein::test;
using namespace std::chrono_literals;
using namespace std::string_literals;

namespace asio = boost::asio;

std::string get(std::string_view path, std::string_view more = {}, std::string_view version = "1.1",
                std::string_view method = "GET") {
  std::string out{method};
  out.append(" ").append(path).append(" HTTP/").append(version).append("\r\nHost: localhost\r\n");
  return out.append(more).append("\r\n");
}

http_answer ask(const test_server& server, std::string_view request) {
  raw_client client{server.port()};
  client.send(request);
  return client.read_answer(request.starts_with("HEAD"));
}

unsigned status_of(const test_server& server, std::string_view more_headers,
                   std::string_view path = "/echo") {
  return ask(server, upgrade_request(path, more_headers)).status;
}

// An opening handshake with one header line replaced; an empty replacement leaves it out.
std::string upgrade_with(std::string_view name, std::string_view line) {
  auto request = upgrade_request("/echo");
  const auto begin = request.find(std::string{name} + ":");
  const auto end = request.find("\r\n", begin) + 2;
  request.replace(begin, end - begin, line.empty() ? ""s : std::string{line} + "\r\n");
  return request;
}

std::uint64_t refused(const test_server& server, skein::refusal_reason why) {
  return server.stats().refused[static_cast<std::size_t>(why)];
}

// Tokens of HTTP have no case.
bool same(std::string text, std::string_view lower_case) {
  for (auto& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return text == lower_case;
}

bool is_open(raw_client& client) {
  client.send(text_frame("x"));
  const auto echo = client.read_message();
  return echo && echo->payload == "x";
}

const std::function<void(skein::server&)> with_standard_endpoints = [](skein::server& server) {
  server.add_standard_endpoints();
};

asio::awaitable<skein::admission> by_token(const skein::request& what) {
  const auto token = what.query("token");
  if (token == "boom") throw std::runtime_error{"the directory is down"};
  if (token == "ada") {
    skein::identity who;
    who.user = "ada";
    co_return who;
  }
  skein::refusal why;
  why.status = token ? 403 : 401;
  why.text = "who are you?\n";
  why.headers.emplace_back("WWW-Authenticate", "Bearer");
  co_return why;
}

asio::awaitable<skein::admission> in_an_hour(const skein::request&) {
  asio::steady_timer timer{co_await asio::this_coro::executor, 1h};
  co_await timer.async_wait(asio::use_awaitable);
  co_return skein::identity{};
}

asio::awaitable<skein::admission> after_a_while(const skein::request&) {
  asio::steady_timer timer{co_await asio::this_coro::executor, 10ms};
  co_await timer.async_wait(asio::use_awaitable);
  co_return skein::identity{};
}

asio::awaitable<skein::admission> teapot(const skein::request&) {
  skein::refusal why;
  why.status = 200;  // not an error: not allowed
  co_return why;
}

asio::awaitable<void> say_who(skein::connection& client) {
  co_await client.write(skein::message::text(client.user().user));
}

asio::awaitable<void> say_subprotocol(skein::connection& client) {
  co_await client.write(skein::message::text(std::string{client.subprotocol()}));
}

// Method, target, first value of X-Twice, how many there were, and a parameter of the query.
asio::awaitable<void> say_request(skein::connection& client) {
  const auto& what = client.request();
  auto text = std::string{what.method()} + ' ' + std::string{what.target()} + ' ' + std::string{what.path()} +
              ' ' + std::string{what.header("x-twice")} + ' ' + std::to_string(what.count("X-TWICE")) + ' ' +
              what.query("name").value_or("none") + ' ' + std::string{client.route()};
  co_await client.write(skein::message::text(std::move(text)));
}

}  // namespace

TEST_SUITE("handshake") {
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
    test_server server{options};
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
}

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
    const auto first = chunked.read_answer().status;
    CHECK((first == 200 || first == 400));
    CHECK(server.serves());
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
