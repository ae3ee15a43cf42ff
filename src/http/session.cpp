// One of the two translation units that include Beast: it parses HTTP.

#include "http/session.hpp"

#include "http/answer.hpp"
#include "http/arrival.hpp"
#include "http/first_message.hpp"
#include "http/request_form.hpp"
#include "http/sign_in.hpp"
#include "http/upgrade.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <optional>
#include <stdexcept>

namespace skein::detail {

namespace http = boost::beast::http;

namespace {

class handshake_count {
 public:
  explicit handshake_count(std::atomic<std::size_t>& count) noexcept : count_(count) { count_.fetch_add(1); }
  ~handshake_count() { count_.fetch_sub(1); }
  handshake_count(const handshake_count&) = delete;
  handshake_count& operator=(const handshake_count&) = delete;

 private:
  std::atomic<std::size_t>& count_;
};

std::string describe(const asio::ip::address& address) {
  return address.is_v6() ? '[' + address.to_string() + ']' : address.to_string();
}

std::string describe(const asio::ip::tcp::endpoint& peer) {
  return describe(peer.address()) + ':' + std::to_string(peer.port());
}

/// What reading a request came to.
struct read_result {
  enum class kind : std::uint8_t { request, gone, refused };
  kind what = kind::gone;
  skein::request request;
  unsigned version = 11;
  bool keep_alive = false;
  refusal why;
  refusal_reason reason = refusal_reason::malformed;
};

class session {
 public:
  session(std::shared_ptr<server_core> server, std::shared_ptr<shard> where, asio::ip::tcp::socket socket,
          handshake_place place)
      : server_(std::move(server)),
        shard_(std::move(where)),
        certificates_(server_->certificates()),
        stream_(std::move(socket), certificates_ ? certificates_->make_session(shard_->wall()) : nullptr),
        handshake_(std::move(place), stream_, shard_->now()),
        deadline_(*shard_, stream_, handshake_),
        counted_(server_->hub->handshaking) {}

  asio::awaitable<void> run() {
    // For what comes before HTTP and the first request together.
    deadline_.start(server_->options.handshake_timeout);
    const auto arrived = co_await arrive(*server_, stream_, deadline_);
    if (arrived) {
      peer_ = arrived->peer.address();
      remote_ = describe(arrived->peer);
      client_ = peer_;
      certificate_ = arrived->certificate;
      entrance_ = arrived->how;
      noted_ = entrance_ == entrance::unpaid;
      co_await serve();
    }
    deadline_.stop();
  }

 private:
  asio::awaitable<void> serve() {
    for (bool first = true;; first = false) {
      if (!first) {
        deadline_.start(server_->options.handshake_timeout);
        handshake_.has_an_answer();
      }
      auto got = co_await read_request(first);
      if (got.what == read_result::kind::gone) break;
      if (got.what == read_result::kind::refused) {
        server_->hub->count_refusal(got.reason);
        note_refusal();
        answer_form form;
        form.keep_alive = false;
        co_await send(to_response(std::move(got.why)), form);
        break;
      }
      const bool again = co_await answer(std::move(got));
      if (!again || server_->stopping.load(std::memory_order_relaxed)) break;
    }
    if (stream_.socket().is_open() && !gone_) co_await linger(stream_, deadline_);
  }

  asio::awaitable<read_result> read_request(bool first) {
    read_result result;
    http::request_parser<http::empty_body> parser;
    parser.header_limit(std::numeric_limits<std::uint32_t>::max());  // counted here, exactly
    const auto limit = server_->options.max_header_bytes;
    std::size_t parsed = 0;
    for (;;) {
      error_code ec;
      bool too_long = false;
      if (parsed < input_.size()) {
        try {
          parsed += parser.put(asio::buffer(input_.data() + parsed, input_.size() - parsed), ec);
        } catch (const std::length_error&) {
          too_long = true;  // Beast keeps no field of 64 KiB
        }
        if (ec == http::error::need_more) ec = {};
      }
      const auto header_bytes = parser.is_header_done() ? parsed : input_.size();
      if (header_bytes > limit || too_long) {
        refuse(result, 431, "request header too large\n", refusal_reason::too_large);
        co_return result;
      }
      if (ec) {
        refuse(result, 400, "malformed request\n", refusal_reason::malformed);
        co_return result;
      }
      if (parser.is_header_done()) break;

      const auto old = input_.size();
      error_code error;
      if (!deadline_.passed()) error = co_await read_more(first);
      if (handshake_.must_go()) {
        gone_ = true;
        co_return result;
      }
      // Also with bytes in hand: they may have come in the very turn in which the time was over.
      if (deadline_.passed()) {
        if (first || !input_.empty()) {
          refuse(result, 408, "the request took too long\n", refusal_reason::timeout);
        }
        co_return result;
      }
      if (error) {
        gone_ = true;
        co_return result;
      }
      if (server_->stopping.load(std::memory_order_relaxed) && old == 0 && !first) co_return result;
    }
    // A field that goes on in a second line is read in more than one way (RFC 9112 section 5.2).
    const std::string_view header{input_.data(), parsed};
    const bool folded =
        header.find("\n ") != std::string_view::npos || header.find("\n\t") != std::string_view::npos;
    input_.erase(0, parsed);
    if (folded) {
      refuse(result, 400, "malformed request\n", refusal_reason::malformed);
    } else {
      fill(result, parser);
    }
    co_return result;
  }

  asio::awaitable<error_code> read_more(bool first) {
    const auto old = input_.size();
    input_.resize(old + 1024);
    const auto mark = deadline_.waits(old != 0 ? handshake::wait::rest
                                      : first  ? handshake::wait::first
                                               : handshake::wait::next_request);
    const auto room = std::span{input_}.subspan(old);
    const auto [error, n] = co_await stream_.read_some(room);
    input_.resize(old + n);
    co_return n == 0 ? error : error_code{};
  }

  void fill(read_result& result, http::request_parser<http::empty_body>& parser) {
    const auto& message = parser.get();
    request::header_list headers;
    for (const auto& field : message) {
      headers.emplace_back(std::string_view{field.name_string().data(), field.name_string().size()},
                           std::string_view{field.value().data(), field.value().size()});
    }
    if (headers.size() > server_->options.max_header_fields) {
      refuse(result, 431, "too many header fields\n", refusal_reason::too_large);
      return;
    }
    const auto method = message.method_string();
    const auto target = message.target();
    auto path = origin_form({target.data(), target.size()});
    if (!path && method == "OPTIONS" && target == "*") path = "*";  // RFC 9110 section 9.3.7
    result.request =
        request{{method.data(), method.size()}, path ? std::string_view{*path} : "", headers, remote_};
    result.request.set_client_certificate(certificate_);
    result.version = message.version();
    const auto hosts = result.request.count("Host");
    const bool encoded = result.request.has_header("Transfer-Encoding");
    if (hosts > 1 || (hosts == 0 && result.version >= 11) || !path ||
        !is_host(result.request.header("Host")) || (encoded && !ends_chunked(result.request))) {
      refuse(result, 400, "malformed request\n", refusal_reason::malformed);
      return;
    }
    if (!find_the_client(result.request)) {
      refuse(result, 400, "a proxy reported a client that cannot be read\n", refusal_reason::proxy);
      return;
    }
    // A request with content is answered, but what it carries is not read, so the connection cannot go on.
    const bool content = has_content(result.request);
    const auto most = server_->options.max_requests;
    const bool last = entrance_ == entrance::unpaid || (most != 0 && ++requests_ >= most);
    result.keep_alive = message.keep_alive() && !content && !last;
    result.what = read_result::kind::request;
  }

  /// Whom the proxies in front report; false if what they report cannot be read.
  bool find_the_client(request& what) {
    if (server_->gate.proxies().networks.empty()) return true;
    const auto found = find_client(peer_, what, server_->gate.proxies());
    client_ = found.address;
    if (found.source == client_source::malformed) return false;
    if (found.address != peer_) {
      what = request{what.method(), what.target(), what.headers(), describe(found.address), what.body()};
      what.set_client_certificate(certificate_);
    }
    return true;
  }

  static void refuse(read_result& result, unsigned status, std::string text, refusal_reason reason) {
    result.what = read_result::kind::refused;
    result.why.status = status;
    result.why.text = std::move(text);
    result.reason = reason;
  }

  /// Answers one request; whether another may follow.
  asio::awaitable<bool> answer(read_result got) {
    const auto path = got.request.path();
    const auto route = server_->routes.find(path);
    const auto plain = server_->endpoints.find(path);
    answer_form form;
    form.keep_alive = got.keep_alive;
    form.head_only = got.request.method() == "HEAD";
    if (route != server_->routes.end() &&
        (plain == server_->endpoints.end() || asks_for_upgrade(got.request, got.version))) {
      co_return co_await upgrade_to(route->first, route->second, std::move(got), form);
    }
    response reply;
    if (plain == server_->endpoints.end() && path != "*") {
      form.keep_alive = note_refusal() && form.keep_alive;
      reply.status = 404;
      reply.body = "not found\n";
    } else if (plain == server_->endpoints.end() || (got.request.method() != "GET" && !form.head_only)) {
      form.keep_alive = note_refusal() && form.keep_alive;
      reply.status = 405;
      reply.body = "method not allowed\n";
      reply.headers.emplace_back("Allow", "GET, HEAD");
    } else {
      auto made = co_await call(plain->second, path, got.request);
      if (handshake_.must_go()) {
        gone_ = true;
        co_return false;
      }
      reply = std::move(made);
    }
    co_return co_await send(std::move(reply), form);
  }

  asio::awaitable<response> call(const endpoint& what, std::string_view path, const request& asked) {
    deadline_.start(server_->options.handshake_timeout);
    response reply;
    try {
      auto made = co_await within_time(what(asked));
      if (!deadline_.passed()) co_return made;
    } catch (...) {
      reply.status = 500;
      reply.body = "internal error\n";
    }
    if (handshake_.must_go()) co_return reply;
    if (deadline_.passed()) {
      server_->hub->count_refusal(refusal_reason::timeout);
      reply.status = 503;
      reply.body = "the answer took too long\n";
    }
    shard_->problem("endpoint " + std::string{path} + (deadline_.passed() ? " took too long" : " threw"));
    co_return reply;
  }

  /// Cancelled when the deadline passes, or when others need the place.
  template <class T>
  asio::awaitable<T> within_time(asio::awaitable<T> what) {
    return asio::co_spawn(shard_->executor(), std::move(what),
                          asio::bind_cancellation_slot(handshake_.slot(), asio::use_awaitable));
  }

  asio::awaitable<bool> upgrade_to(std::string_view path, const route_entry& route, read_result got,
                                   answer_form form) {
    auto& hub = *server_->hub;
    // The address first: one that is refused for its own rate takes nothing from the others, and what is
    // refused for another reason counts as well.
    auto checked = check_rate();
    if (!checked) checked = check_upgrade(got.request, got.version, route.options, server_->options, hub);
    if (!checked) checked = server_->gate.check_all(shard_->now());
    std::optional<identity> who;
    bool first_message = false;
    if (!checked) {
      auto admitted = co_await authenticate(route, got.request);
      if (handshake_.must_go()) {
        gone_ = true;
        co_return false;
      }
      if (auto* const found = std::get_if<identity>(&admitted)) {
        who = std::move(*found);
        first_message = who->user.empty() && !route.anonymous;
      } else {
        const auto reason = deadline_.passed() ? refusal_reason::timeout : refusal_reason::authentication;
        const bool broken = std::get<refusal>(admitted).status == 500;
        checked.emplace(std::move(std::get<refusal>(admitted)), broken ? refusal_reason::internal : reason);
      }
    }
    // Asked again: who a request is from may have taken a while.
    if (!checked && hub.draining.load(std::memory_order_relaxed)) {
      checked.emplace(unavailable("shutting down"), refusal_reason::draining);
    }
    // The place is taken last, so that nobody holds one who does not get in.
    admission_ticket ticket;
    if (!checked) {
      ticket = hub.admit();
      if (!ticket) checked.emplace(unavailable("too many connections"), refusal_reason::connection_limit);
    }
    std::shared_ptr<void> unadmitted;
    if (!checked && first_message) {
      unadmitted = server_->take_unadmitted();
      if (!unadmitted)
        checked.emplace(unavailable("too many connections without a token"),
                        refusal_reason::connection_limit);
    }
    auto [place, has_place] =
        checked ? std::pair{std::shared_ptr<void>{}, false} : server_->gate.take_place(client_);
    if (!checked && !has_place) checked = client_gate::no_place();
    connection_parts parts;
    if (!checked) {
      parts.subprotocol = choose_subprotocol(got.request, route.options);
      auto upgraded =
          accept_upgrade(got.request, parts.subprotocol, shard_->engine(), shard_->engine_scratch());
      parts.engine = std::move(upgraded.engine);
      parts.response = std::move(upgraded.response);
      if (!parts.engine) checked.emplace(bad_handshake(), refusal_reason::malformed);
    }
    if (checked) {
      hub.count_refusal(checked->second);
      const auto status = checked->first.status;
      log_refusal(path, got.request, *checked);
      const bool counts = status < 500 || checked->second == refusal_reason::rate;
      const bool goes_on = !counts || note_refusal();
      form.keep_alive = form.keep_alive && goes_on && (status == 405 || status == 426);
      co_return co_await send(to_response(std::move(checked->first)), form);
    }
    deadline_.stop();
    handshake_.got_in();
    parts.ticket = std::move(ticket);
    parts.runs = route.runs;
    if (first_message) {
      parts.runs = std::make_shared<const handler>(
          after_token(server_->options.tokens, server_->refusals, route.runs, std::move(unadmitted)));
    }
    parts.admitted = !first_message;
    if (place || route.rules) parts.guard = std::make_unique<inbound_guard>(route.rules, std::move(place));
    parts.request = std::move(got.request);
    if (server_->options.tokens && !route.options.authenticator)
      parts.request = server_->options.tokens->without_token(parts.request);
    parts.user = std::move(*who);
    parts.early = std::move(input_);
    parts.transport = stream_.release(shard_->poller());
    shard_->open(path, std::move(parts));
    co_return false;
  }

  /// A request to upgrade counts as a handshake, but for the first one, which the connection itself stood
  /// for.
  std::optional<std::pair<refusal, refusal_reason>> check_rate() {
    if (std::exchange(entrance_, entrance::open) == entrance::paid) return std::nullopt;
    return server_->gate.check_address(client_, shard_->now());
  }

  /// Counts a refusal against the peer; whether the next one would be worth an answer.
  bool note_refusal() { return std::exchange(noted_, false) || server_->gate.remember(peer_, shard_->now()); }

  void log_refusal(std::string_view route, const request& asked,
                   const std::pair<refusal, refusal_reason>& why) {
    std::string text;
    if (why.second == refusal_reason::origin) {
      text = "the origin '" + std::string{asked.header("Origin").substr(0, 100)} + "' may not connect";
    } else if (why.second == refusal_reason::authentication) {
      text = !why_.empty() ? why_ : why.first.text.substr(0, why.first.text.find('\n'));
    } else {
      return;
    }
    server_->refusals->tell(asked.remote_address(), route, std::to_string(why.first.status), text,
                            shard_->now());
  }

  asio::awaitable<admission> authenticate(const route_entry& route, const request& asked) {
    why_.clear();
    if (nobody_to_ask(route, server_->options)) co_return without_token(route, asked);
    std::exception_ptr error;
    try {
      auto result = co_await within_time(sign_in(route, server_->options, asked, why_));
      if (!deadline_.passed()) co_return result;
    } catch (...) {
      error = std::current_exception();
    }
    refusal why;
    why.status = 408;
    why.text = "the request took too long\n";
    if (error && !deadline_.passed() && !handshake_.must_go()) {
      shard_->problem("the authenticator threw");
      why.status = 500;
      why.text = "internal error\n";
    }
    co_return why;
  }

  asio::awaitable<bool> send(response reply, answer_form form) {
    const auto text = serialize(reply, form);
    deadline_.start(server_->options.handshake_timeout);
    error_code ec;
    {
      const auto mark = deadline_.waits(handshake::wait::rest);  // for the peer to take it
      ec = co_await stream_.write(text);
    }
    gone_ = static_cast<bool>(ec);
    co_return !ec && form.keep_alive;
  }

  std::shared_ptr<server_core> server_;
  std::shared_ptr<shard> shard_;
  std::shared_ptr<const tls_context> certificates_;  // null: no TLS
  http_stream stream_;
  handshake handshake_;
  session_deadline deadline_;
  handshake_count counted_;
  asio::ip::address peer_;    // as the PROXY protocol has it, if that is spoken
  std::string remote_;        // the same, with its port
  asio::ip::address client_;  // of the last request, as the proxies report it
  std::shared_ptr<const client_certificate> certificate_;
  entrance entrance_ = entrance::open;
  std::string why_;     // what is wrong with the token of the last request, for the log
  bool noted_ = false;  // one refusal has been counted against the peer in advance
  std::size_t requests_ = 0;
  std::string input_;  // read, not yet parsed
  bool gone_ = false;  // there is nobody to answer
};

}  // namespace

asio::awaitable<void> serve_http(std::shared_ptr<server_core> server, std::shared_ptr<shard> where,
                                 asio::ip::tcp::socket socket, handshake_place place) {
  session one{std::move(server), std::move(where), std::move(socket), std::move(place)};
  co_await one.run();
}

}  // namespace skein::detail
