#pragma once

// Requests, authenticators and small handlers for the tests of the HTTP side, with raw sockets.

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

namespace skein::test {

using namespace std::chrono_literals;
using namespace std::string_literals;

inline std::string get(std::string_view path, std::string_view more = {}, std::string_view version = "1.1",
                       std::string_view method = "GET") {
  std::string out{method};
  out.append(" ").append(path).append(" HTTP/").append(version).append("\r\nHost: localhost\r\n");
  return out.append(more).append("\r\n");
}

inline http_answer ask(const test_server& server, std::string_view request) {
  raw_client client{server.port()};
  client.send(request);
  return client.read_answer(request.starts_with("HEAD"));
}

inline unsigned status_of(const test_server& server, std::string_view more_headers,
                          std::string_view path = "/echo") {
  return ask(server, upgrade_request(path, more_headers)).status;
}

// An opening handshake with one header line replaced; an empty replacement leaves it out.
inline std::string upgrade_with(std::string_view name, std::string_view line) {
  auto request = upgrade_request("/echo");
  const auto begin = request.find(std::string{name} + ":");
  const auto end = request.find("\r\n", begin) + 2;
  request.replace(begin, end - begin, line.empty() ? ""s : std::string{line} + "\r\n");
  return request;
}

inline std::uint64_t refused(const test_server& server, skein::refusal_reason why) {
  return server.stats().refused[static_cast<std::size_t>(why)];
}

// Tokens of HTTP have no case.
inline bool same(std::string text, std::string_view lower_case) {
  for (auto& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return text == lower_case;
}

inline bool is_open(raw_client& client) {
  client.send(text_frame("x"));
  const auto echo = client.read_message();
  return echo && echo->payload == "x";
}

inline const std::function<void(skein::server&)> with_standard_endpoints = [](skein::server& server) {
  server.add_standard_endpoints();
};

inline asio::awaitable<skein::admission> by_token(const skein::request& what) {
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

inline asio::awaitable<skein::admission> in_an_hour(const skein::request&) {
  asio::steady_timer timer{co_await asio::this_coro::executor, 1h};
  co_await timer.async_wait(asio::use_awaitable);
  co_return skein::identity{};
}

inline asio::awaitable<skein::admission> after_a_while(const skein::request&) {
  asio::steady_timer timer{co_await asio::this_coro::executor, 10ms};
  co_await timer.async_wait(asio::use_awaitable);
  co_return skein::identity{};
}

inline asio::awaitable<skein::admission> teapot(const skein::request&) {
  skein::refusal why;
  why.status = 200;  // not an error: not allowed
  co_return why;
}

inline asio::awaitable<void> say_who(skein::connection& client) {
  co_await client.write(skein::message::text(client.user().user));
}

inline asio::awaitable<void> say_subprotocol(skein::connection& client) {
  co_await client.write(skein::message::text(std::string{client.subprotocol()}));
}

// Method, target, first value of X-Twice, how many there were, and a parameter of the query.
inline asio::awaitable<void> say_request(skein::connection& client) {
  const auto& what = client.request();
  auto text = std::string{what.method()} + ' ' + std::string{what.target()} + ' ' + std::string{what.path()} +
              ' ' + std::string{what.header("x-twice")} + ' ' + std::to_string(what.count("X-TWICE")) + ' ' +
              what.query("name").value_or("none") + ' ' + std::string{client.route()};
  co_await client.write(skein::message::text(std::move(text)));
}

}  // namespace skein::test
