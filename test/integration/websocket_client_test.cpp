// The client's websocket against real servers, and against some that are none.

#include "tls_server.hpp"
#include "tokens.hpp"

#include <skein/websocket_client.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <doctest/doctest.h>

namespace asio = boost::asio;
using namespace skein::test;
using asio::ip::tcp;
using skein::close_code;
using skein::closed_by;
using skein::connect_options;
using skein::message;

namespace {

using socket_ptr = std::unique_ptr<skein::websocket_client>;

/// Runs one coroutine to its end on a thread of its own making: this one.
template <class T>
T run(asio::awaitable<T> task) {
  asio::io_context context{1};
  std::optional<T> result;
  std::exception_ptr error;
  asio::co_spawn(context, std::move(task), [&](const std::exception_ptr& e, T value) {
    error = e;
    if (!e) result.emplace(std::move(value));
  });
  context.run_for(patience);
  if (error) std::rethrow_exception(error);
  if (!result) throw timed_out{"a coroutine does not end"};
  return std::move(*result);
}

std::string url(const test_server& server, std::string_view path = "/echo", std::string_view scheme = "ws") {
  return std::string{scheme} + "://localhost:" + std::to_string(server.port()) + std::string{path};
}

asio::awaitable<std::string> echoed(std::string to, connect_options options, std::string text) {
  auto socket = co_await skein::connect_websocket(std::move(to), std::move(options));
  auto what = message::text(std::move(text));
  co_await socket->write(std::move(what));
  auto got = co_await socket->read();
  co_await socket->close();
  co_return got ? got->release() : "nothing";
}

/// What connecting fails with.
std::string failure(const std::string& to, connect_options options = {}) {
  try {
    run(echoed(to, std::move(options), "x"));
    return "none";
  } catch (const skein::upgrade_refused& e) {
    return std::to_string(e.status()) + " " + e.body() + (e.retry_after() > 0s ? " later" : "");
  } catch (const boost::system::system_error& e) {
    if (e.code() == skein::errc::handshake_timeout) return "timeout";
    return e.code() == asio::error::connection_refused ? "refused" : e.what();
  } catch (const std::invalid_argument&) {
    return "invalid";
  }
}

/// Listens, and says what it is told to.
class impostor {
 public:
  explicit impostor(std::string says) : says_(std::move(says)), acceptor_(context_, {tcp::v4(), 0}) {
    thread_ = std::thread{[this] { context_.run(); }};
    asio::co_spawn(context_, serve(), asio::detached);
  }
  ~impostor() {
    asio::post(context_, [this] {
      acceptor_.close();
      if (open_) open_->close();
    });
    work_.reset();
    thread_.join();
  }
  [[nodiscard]] std::string url() const {
    return "ws://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()) + "/";
  }

 private:
  asio::awaitable<void> serve() {
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    tcp::socket socket{context_};
    const auto [ec] = co_await acceptor_.async_accept(socket, token);
    if (ec) co_return;
    open_ = &socket;
    std::string got(4096, '\0');
    if (!says_.empty()) {
      co_await socket.async_read_some(asio::buffer(got), token);
      co_await asio::async_write(socket, asio::buffer(says_), token);
    }
    for (;;) {
      const auto [error, n] = co_await socket.async_read_some(asio::buffer(got), token);
      if (error) break;
    }
    open_ = nullptr;
  }

  std::string says_;
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  tcp::acceptor acceptor_;
  tcp::socket* open_ = nullptr;
  std::thread thread_;
};

asio::awaitable<void> close_at_once(skein::connection& client) {
  co_await client.write(message::text("last words"));
  co_await client.close(static_cast<close_code>(4321), "enough");
}

}  // namespace

TEST_SUITE("websocket client") {
  TEST_CASE("messages of all sizes come back as they were") {
    skein::manager_options options = quiet_options();
    options.limits.max_message_bytes = 4 << 20;
    test_server server{options};
    for (const std::size_t size : {0U, 1U, 125U, 126U, 65'535U, 65'536U, 1'048'576U}) {
      const std::string text(size, 'x');
      CHECK(run(echoed(url(server), {}, text)) == text);
    }
  }

  TEST_CASE("subprotocol, headers and token arrive") {
    token_server one{{}, [](skein::server& to) {
                       skein::route_options how;
                       how.subprotocols = {"b", "a"};
                       to.route("/sub", say_subprotocol, how);
                       to.route("/request", say_request);
                     }};
    connect_options options;
    options.token = token_for("ada");
    CHECK(run(echoed(url(one.server, "/who"), options, "x")) == "you are ada");
    options.subprotocols = {"a", "b"};
    CHECK(run(echoed(url(one.server, "/sub"), options, "x")) == "b");
    options.headers = {{"X-Twice", "1"}, {"X-Twice", "2"}};
    CHECK(run(echoed(url(one.server, "/request?name=ada"), options, "x")) ==
          "GET /request?name=ada /request 1 2 ada /request");
  }

  TEST_CASE("a server that refuses is quoted") {
    skein::client_limits limits;
    limits.handshakes = skein::rate{1, 1};
    skein::server_options where;
    where.clients = limits;
    test_server server{quiet_options(), where};
    CHECK(failure(url(server, "/nowhere")) == "404 not found\n");
    CHECK(failure(url(server)) == "none");
    CHECK(failure(url(server)).starts_with("429 "));
    CHECK(failure(url(server)).ends_with(" later"));
    token_server strict;
    CHECK(failure(url(strict.server, "/who")).starts_with("401 "));
  }

  TEST_CASE("addresses and options that are not allowed") {
    for (const std::string bad :
         {"", "http://x/", "ws://", "ws://a b/", "wss://user@x/", "ws://x:99999/", "ws:x"})
      CHECK(failure(bad) == "invalid");
    const auto refuses = [&](const std::function<void(connect_options&)>& change) {
      connect_options options;
      change(options);
      CHECK(failure("ws://127.0.0.1:1/", options) == "invalid");
    };
    refuses([](auto& o) { o.handshake_timeout = 0s; });
    refuses([](auto& o) { o.close_timeout = 0s; });
    refuses([](auto& o) { o.idle_timeout = -1s; });
    refuses([](auto& o) { o.max_queued_messages = 0; });
    refuses([](auto& o) { o.tls.certificate_file = "x"; });
  }

  TEST_CASE("nobody there, nobody answering, and answers that are none") {
    std::string nobody;
    {
      test_server gone{quiet_options()};
      nobody = url(gone);
    }
    CHECK(failure(nobody) == "refused");
    connect_options options;
    options.handshake_timeout = 50ms;
    const impostor silent{""};
    CHECK(failure(silent.url(), options) == "timeout");
    const impostor mail{"220 mail.example.org ESMTP\r\n"};
    CHECK(failure(mail.url()) != "none");
    const impostor wrong{
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"};
    CHECK(failure(wrong.url()) != "none");
  }

  TEST_CASE("a close frame is reported with its code and text, after what came before it") {
    test_server server{quiet_options(), {}, [](skein::server& to) { to.route("/close", close_at_once); }};
    const auto story = [](std::string to) -> asio::awaitable<std::string> {
      auto socket = co_await skein::connect_websocket(std::move(to));
      std::string told;
      while (auto got = co_await socket->read()) told += got->release() + ", ";
      const auto& why = socket->close_reason();
      told += std::to_string(static_cast<unsigned>(why.code)) + " " + why.text +
              (why.by == closed_by::peer ? " by the peer" : "");
      const auto late = co_await socket->write(message::text("late"));
      co_await socket->close();
      co_return told + (late == skein::outcome::closed && !socket->is_open() ? ", closed" : ", open");
    };
    CHECK(run(story(url(server, "/close"))) == "last words, 4321 enough by the peer, closed");
  }

  TEST_CASE("close says goodbye after what is queued") {
    test_server server{quiet_options()};
    const auto story = [](std::string to) -> asio::awaitable<unsigned> {
      auto socket = co_await skein::connect_websocket(std::move(to));
      for (int i = 0; i < 100; ++i) co_await socket->write(message::text(std::string(1000, 'x')));
      co_await socket->close(close_code::going_away, "bye");
      co_return static_cast<unsigned>(socket->close_reason().by);
    };
    CHECK(run(story(url(server))) == static_cast<unsigned>(closed_by::local));
    REQUIRE(server.wait_for_closed(1));
    const auto ended = server.closed().front();
    CHECK(ended.reason.by == closed_by::peer);
    CHECK(ended.reason.code == close_code::going_away);
    CHECK(ended.reason.text == "bye");
    CHECK(server.stats().messages_in == 100);
  }

  TEST_CASE("a message past the limit ends the connection, one at the limit does not") {
    test_server server{quiet_options()};
    connect_options options;
    options.max_message_bytes = 1000;
    CHECK(run(echoed(url(server), options, std::string(1000, 'x'))).size() == 1000);
    CHECK(run(echoed(url(server), options, std::string(1001, 'x'))) == "nothing");
  }

  TEST_CASE("writing waits for room") {
    test_server server{quiet_options()};
    connect_options options;
    options.max_queued_messages = 2;
    const auto story = [](std::string to, connect_options how) -> asio::awaitable<int> {
      auto socket = co_await skein::connect_websocket(std::move(to), std::move(how));
      int echoes = 0;
      for (int i = 0; i < 50; ++i) {
        for (int k = 0; k < 20; ++k) co_await socket->write(message::text("x"));
        for (int k = 0; k < 20; ++k) {
          const auto got = co_await socket->read();
          if (got) ++echoes;
        }
      }
      co_return echoes;
    };
    CHECK(run(story(url(server), options)) == 1000);
  }

  TEST_CASE("reading can be cancelled, and the connection with it") {
    test_server server{quiet_options()};
    asio::io_context context{1};
    asio::cancellation_signal enough;
    bool cancelled = false;
    const auto story = [&](std::string to) -> asio::awaitable<void> {
      auto socket = co_await skein::connect_websocket(std::move(to));
      asio::post(context, [&] { enough.emit(asio::cancellation_type::terminal); });
      try {
        const auto got = co_await socket->read();
        CHECK_FALSE(got);
      } catch (const boost::system::system_error& e) {
        cancelled = e.code() == asio::error::operation_aborted;
      }
    };
    asio::co_spawn(context, story(url(server)), asio::bind_cancellation_slot(enough.slot(), asio::detached));
    context.run_for(patience);
    CHECK(cancelled);
    REQUIRE(server.wait_for_closed(1));
  }

  TEST_CASE("a socket that is dropped cuts its connection") {
    test_server server{quiet_options()};
    const auto story = [](std::string to) -> asio::awaitable<int> {
      auto socket = co_await skein::connect_websocket(std::move(to));
      co_return 1;
    };
    CHECK(run(story(url(server))) == 1);
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.by == closed_by::transport);
  }

  TEST_CASE("TLS: the certificate must be good, and the host's") {
    tls_fixture made;
    const authority strangers{"strangers"};
    test_server server{quiet_options(), made.server_options()};
    connect_options options;
    options.tls.ca_file = made.folder.write("root.crt", made.root.certificate());
    CHECK(run(echoed(url(server, "/echo", "wss"), options, "secret")) == "secret");
    const auto by_address = "wss://127.0.0.1:" + std::to_string(server.port()) + "/echo";
    CHECK(failure(by_address, options) != "none");
    CHECK(failure(url(server, "/echo", "ws"), options).starts_with("400 this port speaks HTTPS"));
    options.tls.ca_file = made.folder.write("strangers.crt", strangers.certificate());
    CHECK(failure(url(server, "/echo", "wss"), options) != "none");
    options.tls.ca_file = "/nowhere";
    CHECK(failure(url(server, "/echo", "wss"), options) != "none");
  }

  TEST_CASE("TLS: a client shows its own certificate") {
    tls_fixture made;
    const authority clients{"clients"};
    auto where = made.server_options();
    where.tls.client_ca_file = made.folder.write("clients.crt", clients.certificate());
    test_server server{quiet_options(), where, [](skein::server& to) { to.route("/who", say_who); }};
    connect_options options;
    options.tls.ca_file = made.folder.write("root.crt", made.root.certificate());
    const auto own = clients.issue({.common_name = "ada", .for_client = true});
    options.tls.certificate_file = made.folder.write("ada.crt", own.certificate);
    options.tls.key_file = made.folder.write("ada.key", own.key);
    CHECK(run(echoed(url(server, "/who", "wss"), options, "x")) == "ada");
  }
}
