// One of the translation units that include Beast: it speaks HTTP as a client.

#include "security/jwks_client.hpp"

#include "connection/deadline_queue.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <stdexcept>
#include <utility>
#include <vector>

namespace skein::detail {
namespace {

namespace http = boost::beast::http;
namespace ssl = asio::ssl;
using asio::ip::tcp;

constexpr std::size_t max_header_bytes = 16 * 1024;

bool is_loopback_name(const std::string& host) {
  if (host == "localhost") return true;
  boost::system::error_code ec;
  const auto address = asio::ip::make_address(host, ec);
  return !ec && address.is_loopback();
}

template <class Stream>
asio::awaitable<std::string> get(Stream& stream, const web_address& from, std::size_t max_bytes) {
  http::request<http::empty_body> request{http::verb::get, from.target, 11};
  request.set(http::field::host, from.authority());
  request.set(http::field::accept, "application/jwk-set+json, application/json");
  request.set(http::field::user_agent, "skein");
  request.set(http::field::connection, "close");
  co_await http::async_write(stream, request, asio::use_awaitable);

  http::response_parser<http::string_body> parser;
  parser.header_limit(max_header_bytes);
  parser.body_limit(max_bytes);
  boost::beast::flat_buffer buffer{max_header_bytes + max_bytes};
  co_await http::async_read(stream, buffer, parser, asio::use_awaitable);
  auto response = parser.release();
  if (response.result() != http::status::ok)
    throw std::runtime_error{"the answer is " + std::to_string(response.result_int())};
  co_return std::move(response.body());
}

asio::awaitable<void> shake_hands(ssl::stream<tcp::socket&>& stream, const web_address& to) {
  // The name goes out in clear, and only names do (RFC 6066 section 3).
  if (!to.literal && SSL_set_tlsext_host_name(stream.native_handle(), to.host.c_str()) != 1)
    throw std::runtime_error{"the host's name cannot be sent"};
  stream.set_verify_mode(ssl::verify_peer);
  stream.set_verify_callback(ssl::host_name_verification{to.host});
  co_await stream.async_handshake(ssl::stream_base::client, asio::use_awaitable);
}

}  // namespace

std::optional<web_address> parse_jwks_address(std::string_view url) {
  auto result = parse_web_address(url, "http", "https");
  if (result && !result->tls && !is_loopback_name(result->host)) return std::nullopt;
  return result;
}

asio::awaitable<std::string> fetch_jwks(const web_address& from, const jwks_endpoint& how, clock& time) {
  const auto executor = co_await asio::this_coro::executor;
  tcp::socket socket{executor};
  tcp::resolver resolver{executor};
  bool late = false;
  const auto limit = time.make_alarm(executor, [&] {
    late = true;
    boost::system::error_code ignored;
    resolver.cancel();
    socket.close(ignored);
  });
  limit->set(deadline_after(time.now(), how.timeout));

  std::string problem;
  try {
    std::vector<tcp::endpoint> endpoints;
    const auto found = co_await resolver.async_resolve(from.host, from.port, asio::use_awaitable);
    for (const auto& one : found) {
      // A name that is not what it says would take the request out of this machine in clear.
      if (from.tls || one.endpoint().address().is_loopback()) endpoints.push_back(one.endpoint());
    }
    if (endpoints.empty()) throw std::runtime_error{"the host has no address that may be asked"};
    if (!late) co_await asio::async_connect(socket, endpoints, asio::use_awaitable);
    if (late) throw std::runtime_error{""};
    if (!from.tls) {
      auto document = co_await get(socket, from, how.format.max_bytes);
      co_return document;
    }
    ssl::context context{ssl::context::tls_client};
    context.set_options(ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1);
    if (how.ca_file.empty()) {
      context.set_default_verify_paths();
    } else {
      context.load_verify_file(how.ca_file);
    }
    ssl::stream<tcp::socket&> stream{socket, context};
    co_await shake_hands(stream, from);
    auto document = co_await get(stream, from, how.format.max_bytes);
    co_return document;
  } catch (const std::exception& error) {
    problem = error.what();
  }
  throw std::runtime_error{late ? "no answer in time" : problem};
}

}  // namespace skein::detail
