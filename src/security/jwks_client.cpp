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

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

namespace skein::detail {
namespace {

namespace http = boost::beast::http;
namespace ssl = asio::ssl;
using asio::ip::tcp;

constexpr std::size_t max_header_bytes = 16 * 1024;

bool is_host_character(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_';
}

bool is_loopback_name(const std::string& host) {
  if (host == "localhost") return true;
  boost::system::error_code ec;
  const auto address = asio::ip::make_address(host, ec);
  return !ec && address.is_loopback();
}

template <class Stream>
asio::awaitable<std::string> get(Stream& stream, const http_address& from, std::size_t max_bytes) {
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

asio::awaitable<void> shake_hands(ssl::stream<tcp::socket&>& stream, const http_address& to) {
  // The name goes out in clear, and only names do (RFC 6066 section 3).
  if (!to.literal && SSL_set_tlsext_host_name(stream.native_handle(), to.host.c_str()) != 1)
    throw std::runtime_error{"the host's name cannot be sent"};
  stream.set_verify_mode(ssl::verify_peer);
  stream.set_verify_callback(ssl::host_name_verification{to.host});
  co_await stream.async_handshake(ssl::stream_base::client, asio::use_awaitable);
}

}  // namespace

std::string http_address::authority() const {
  const auto name = host.find(':') == std::string::npos ? host : '[' + host + ']';
  return port == (tls ? "443" : "80") ? name : name + ':' + port;
}

std::optional<http_address> parse_http_address(std::string_view url) {
  http_address result;
  if (url.starts_with("https://")) {
    url.remove_prefix(8);
  } else if (url.starts_with("http://")) {
    url.remove_prefix(7);
    result.tls = false;
  } else {
    return std::nullopt;
  }
  const auto slash = std::min(url.find_first_of("/?#"), url.size());
  auto host = url.substr(0, slash);
  const auto target = url.substr(slash);
  if (std::any_of(target.begin(), target.end(), [](char c) { return c <= ' ' || c > '~' || c == '#'; }) ||
      target.starts_with('?'))
    return std::nullopt;
  result.target = target.empty() ? "/" : std::string{target};

  std::string_view port = result.tls ? "443" : "80";
  const auto bracket = host.starts_with('[') ? host.find(']') : 0;
  if (bracket == std::string_view::npos) return std::nullopt;
  if (const auto colon = host.find(':', bracket); colon != std::string_view::npos) {
    port = host.substr(colon + 1);
    host = host.substr(0, colon);
  }
  const bool digits = std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || port.empty() || port.size() > 5 || std::stoul(std::string{port}) > 65'535)
    return std::nullopt;
  result.port = std::string{port};

  boost::system::error_code ec;
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return std::nullopt;
    result.host = std::string{host.substr(1, host.size() - 2)};
    asio::ip::make_address_v6(result.host, ec);
    if (ec) return std::nullopt;
    result.literal = true;
  } else {
    if (host.empty() || host.size() > 253 || !std::all_of(host.begin(), host.end(), is_host_character))
      return std::nullopt;
    result.host = std::string{host};
    asio::ip::make_address_v4(result.host, ec);
    result.literal = !ec;
  }
  if (!result.tls && !is_loopback_name(result.host)) return std::nullopt;
  return result;
}

asio::awaitable<std::string> fetch_jwks(const http_address& from, const jwks_endpoint& how, clock& time) {
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
