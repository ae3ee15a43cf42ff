#include "http/arrival.hpp"

#include "http/answer.hpp"
#include "security/proxy_protocol.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <array>
#include <string>

namespace skein::detail {
namespace {

constexpr auto token = asio::as_tuple(asio::use_awaitable);

void count(std::atomic<std::uint64_t>& what) noexcept {
  what.fetch_add(1, std::memory_order_relaxed);
}

/// Reads what a trusted proxy puts in front of everything else, and not a byte more. False: it is not there.
asio::awaitable<bool> read_proxy_header(http_stream& stream, session_deadline& deadline, arrival& result) {
  std::string got;
  for (;;) {
    const auto old = got.size();
    got.resize(old + proxy_header_needs(got));
    const auto mark = deadline.waits(got.empty() ? handshake::wait::first : handshake::wait::rest);
    const auto [ec, n] =
        co_await stream.socket().async_read_some(asio::buffer(got.data() + old, got.size() - old), token);
    got.resize(old + n);
    if (ec || deadline.passed()) co_return false;
    const auto header = parse_proxy_header(got);
    if (header.state == proxy_header::status::failed) co_return false;
    if (header.state == proxy_header::status::need_more) continue;
    if (header.endpoints) result.peer = header.endpoints->source;
    co_return true;
  }
}

/// To those who speak plain HTTP on a port that speaks TLS.
std::string this_is_https() {
  response reply;
  reply.status = 400;
  reply.body = "this port speaks HTTPS\n";
  answer_form form;
  form.keep_alive = false;
  return serialize(reply, form);
}

asio::awaitable<bool> agree_on_tls(server_core& server, http_stream& stream, session_deadline& deadline,
                                   arrival& result) {
  auto& counters = server.hub->tls;
  error_code error;
  {
    const auto mark = deadline.waits(handshake::wait::first);
    error = co_await stream.handshake();
  }
  const auto& tls = *stream.tls();
  if (deadline.passed()) {
    count(counters.timed_out);
    co_return false;
  }
  if (!error) {
    result.certificate = peer_certificate(tls);
    // OpenSSL looks at the dates of what it is shown, not at those behind a ticket.
    if (result.certificate && result.certificate->not_after <= deadline.wall()) {
      count(counters.failed);
      co_await linger(stream, deadline);
      co_return false;
    }
    count(counters.handshakes);
    if (tls.resumed()) count(counters.resumed);
    co_return true;
  }
  if (error == asio::error::operation_aborted) co_return false;  // the server stops, or others need the place
  count(counters.failed);
  if (tls.met_http()) {
    const auto text = this_is_https();
    co_await stream.write_plain(text);
  }
  co_await linger(stream, deadline);  // for the alert, or the answer, to arrive
  co_return false;
}

/// Whether the peer's address may have one more connection in its handshake; a trusted proxy's always may.
bool may_arrive(server_core& server, session_deadline& deadline, const asio::ip::address& from) {
  if (contains(server.gate.proxies().networks, from)) return true;
  const bool may = deadline.whose().comes_from(from, deadline.now());
  if (!may) server.hub->count_refusal(refusal_reason::address_limit);
  return may;
}

}  // namespace

asio::awaitable<std::optional<arrival>> arrive(server_core& server, http_stream& stream,
                                               session_deadline& deadline) {
  std::optional<arrival> result{std::in_place};
  error_code ec;
  result->peer = stream.socket().remote_endpoint(ec);
  if (!may_arrive(server, deadline, result->peer.address())) co_return std::nullopt;
  if (server.options.proxies.proxy_protocol) {
    bool known = contains(server.gate.proxies().networks, result->peer.address());
    if (known) known = co_await read_proxy_header(stream, deadline, *result);
    if (!known) {
      server.hub->count_refusal(refusal_reason::proxy);
      co_return std::nullopt;
    }
    if (!server.gate.listens_to(result->peer.address(), deadline.now())) {
      server.hub->count_refusal(refusal_reason::rate);
      co_return std::nullopt;
    }
    // Now for the client that the proxy reports.
    if (!may_arrive(server, deadline, result->peer.address())) co_return std::nullopt;
  }
  result->how = server.gate.enter(result->peer.address(), deadline.now());
  if (stream.tls() != nullptr) {
    const bool agreed = co_await agree_on_tls(server, stream, deadline, *result);
    if (!agreed) co_return std::nullopt;
  }
  co_return result;
}

asio::awaitable<void> linger(http_stream& stream, session_deadline& deadline) {
  stream.shutdown_send();
  deadline.start(std::chrono::seconds{1});
  const auto mark = deadline.waits(handshake::wait::farewell);
  std::string ignored(4096, '\0');
  for (std::size_t total = 0; total < 256 * 1024 && !deadline.passed() && !deadline.whose().must_go();) {
    const auto [ec, n] = co_await stream.socket().async_read_some(asio::buffer(ignored), token);
    if (ec) break;
    total += n;
  }
}

}  // namespace skein::detail
