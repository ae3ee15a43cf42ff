// The client's websocket against real servers, and against some that are none.

#include "tls_server.hpp"
#include "tokens.hpp"

#include <skein/testing.hpp>
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
#include <openssl/evp.h>

#include <array>
#include <functional>

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

/// What a server answers this key with (RFC 6455 section 4.2.2).
std::string accept_of(const std::string& key) {
  const auto text = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), hash.data(), &size, EVP_sha1(), nullptr);
  std::array<unsigned char, 64> encoded{};
  const auto length = EVP_EncodeBlock(encoded.data(), hash.data(), static_cast<int>(size));
  return {encoded.begin(), encoded.begin() + length};
}

constexpr auto upgraded =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {accept}\r\n\r\n";

/// Listens, and says what it is told to. `{accept}` is what the client wants to see.
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
      auto says = says_;
      if (const auto place = says.find("{accept}"); place != says.npos) {
        const auto key = got.find("Sec-WebSocket-Key: ") + 19;
        says.replace(place, 8, accept_of(got.substr(key, 24)));
      }
      co_await asio::async_write(socket, asio::buffer(says), token);
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

/// A client's socket on a context that the test runs.
struct afloat {
  explicit afloat(std::string to, const std::function<void(connect_options&)>& change = {}) {
    connect_options options;
    options.time = time;
    if (change) change(options);
    asio::co_spawn(context, open(std::move(to), std::move(options)), asio::detached);
    REQUIRE(until([&] { return socket != nullptr; }));
  }
  asio::awaitable<void> open(std::string to, connect_options options) {
    socket = co_await skein::connect_websocket(std::move(to), std::move(options));
  }
  /// Runs the context until it is so.
  bool until(const std::function<bool()>& so) {
    const auto limit = std::chrono::steady_clock::now() + patience;
    while (!so()) {
      if (std::chrono::steady_clock::now() > limit) return false;
      context.run_one_for(5ms);
    }
    return true;
  }
  template <class Task>
  void start(Task task) {
    asio::co_spawn(context, std::move(task), asio::detached);
  }

  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(context);
  std::shared_ptr<skein::testing::virtual_clock> time = std::make_shared<skein::testing::virtual_clock>();
  socket_ptr socket;
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
    limits.handshakes = skein::rate{1, 2};
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

  TEST_CASE("a wait for a message can be given up, and nothing is lost by it") {
    test_server server{quiet_options()};
    afloat client{url(server)};
    asio::cancellation_signal enough;
    std::string told;
    const auto give_up = [&]() -> asio::awaitable<void> {
      try {
        const auto got = co_await client.socket->read();
        told = got ? "a message" : "the end";
      } catch (const boost::system::system_error& e) {
        told = e.code() == asio::error::operation_aborted ? "given up" : e.what();
      }
    };
    for (int i = 0; i < 3; ++i) {
      told.clear();
      asio::co_spawn(client.context, give_up(), asio::bind_cancellation_slot(enough.slot(), asio::detached));
      asio::post(client.context, [&] { enough.emit(asio::cancellation_type::terminal); });
      CHECK(client.until([&] { return !told.empty(); }));
      CHECK(told == "given up");
    }
    int echoes = 0;
    const auto echo_ten = [&]() -> asio::awaitable<void> {
      for (int i = 0; i < 10; ++i) co_await client.socket->write(message::text(std::to_string(i)));
      for (int i = 0; i < 10; ++i) {
        const auto got = co_await client.socket->read();
        if (got && got->payload() == std::to_string(i)) ++echoes;
      }
    };
    client.start(echo_ten());
    CHECK(client.until([&] { return echoes == 10; }));
  }

  TEST_CASE("closing goes on, even if nobody waits for it any more") {
    test_server server{quiet_options()};
    afloat client{url(server)};
    asio::cancellation_signal enough;
    bool given_up = false;
    const auto close = [&]() -> asio::awaitable<void> {
      try {
        co_await client.socket->close(close_code::going_away, "bye");
      } catch (const boost::system::system_error&) {
        given_up = true;
      }
    };
    asio::co_spawn(client.context, close(), asio::bind_cancellation_slot(enough.slot(), asio::detached));
    asio::post(client.context, [&] { enough.emit(asio::cancellation_type::terminal); });
    CHECK(client.until([&] { return given_up; }));
    CHECK(client.until([&] { return server.stats().open == 0; }));
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.code == close_code::going_away);
    CHECK(client.socket->close_reason().code == close_code::going_away);
    CHECK(client.socket->close_reason().by == closed_by::local);
  }

  TEST_CASE("who only writes is not taken for dead, and answers pings") {
    auto options = quiet_options();
    const auto time = std::make_shared<skein::testing::virtual_clock>();
    options.time = time;
    options.limits.ping_interval = 25s;
    test_server server{options};
    afloat client{url(server)};
    for (unsigned i = 1; i <= 4; ++i) {
      client.time->advance(29'999ms);
      client.context.poll();
      CHECK(server.stats().pings_received == i - 1);
      client.time->advance(1ms);
      CHECK(client.until([&] { return server.stats().pings_received == i; }));
      // The server asks as well, and is answered.
      time->advance(25s);
      CHECK(client.until([&] { return server.stats().pongs_received >= i; }));
      CHECK(client.socket->is_open());
    }
  }

  TEST_CASE("a server that says nothing any more is taken for dead") {
    for (const auto last : {59'999ms, 60'000ms}) {
      impostor silent{upgraded};
      afloat client{silent.url()};
      client.time->advance(30s);
      client.context.poll();
      CHECK(client.socket->is_open());
      client.time->advance(last - 30s);
      client.context.poll();
      const bool dead = last == 60'000ms;
      CHECK(client.socket->is_open() != dead);
      CHECK(client.socket->close_reason().by == (dead ? closed_by::transport : closed_by::nobody));
      if (dead) CHECK(client.socket->close_reason().code == close_code::abnormal);
    }
  }

  TEST_CASE("a server that does not answer a close frame is left after a while") {
    impostor silent{upgraded};
    afloat client{silent.url()};
    bool closed = false;
    const auto close = [&]() -> asio::awaitable<void> {
      co_await client.socket->close();
      closed = true;
    };
    client.start(close());
    client.context.poll();
    client.time->advance(4'999ms);
    client.context.poll();
    CHECK_FALSE(closed);
    client.time->advance(1ms);
    CHECK(client.until([&] { return closed; }));
    CHECK(client.socket->close_reason().by == closed_by::local);
  }

  TEST_CASE("what nobody takes holds the server up, and comes when somebody does") {
    constexpr int count = 600;  // of 60 KB: more than the kernel keeps for both sides
    test_server server{quiet_options()};
    afloat client{url(server)};
    int taken = 0;
    const auto write_all = [&]() -> asio::awaitable<void> {
      for (int i = 0; i < count; ++i)
        co_await client.socket->write(message::text(std::to_string(i) + std::string(60'000, ' ')));
    };
    client.start(write_all());
    REQUIRE(client.until([&] { return server.stats().queued_messages > 0; }));
    const auto read_all = [&]() -> asio::awaitable<void> {
      while (const auto got = co_await client.socket->read()) {
        const auto number = std::to_string(taken) + " ";
        if (got->payload().starts_with(number)) ++taken;
      }
    };
    client.start(read_all());
    CHECK(client.until([&] { return taken == count; }));
    CHECK(eventually([&] { return server.stats().queued_messages == 0; }));
  }

  TEST_CASE("a server is not missed while nobody takes what it says") {
    for (const int sent : {63, 64}) {
      std::string all = upgraded;
      for (int i = 0; i < sent; ++i) all += "\x81\x01x";
      impostor wordy{all};
      afloat client{wordy.url()};
      for (int i = 0; i < 10; ++i) {
        client.context.poll();
        client.time->advance(30s);
      }
      client.context.poll();
      CHECK(client.socket->is_open() == (sent == 64));
    }
  }

  TEST_CASE("a context that ends takes with it whoever waits") {
    test_server server{quiet_options()};
    auto kept = std::make_shared<int>(1);
    {
      afloat client{url(server)};
      client.start([](socket_ptr socket, std::shared_ptr<int>) -> asio::awaitable<void> {
        const auto got = co_await socket->read();
      }(std::move(client.socket), kept));
      client.context.poll();
      CHECK(kept.use_count() == 2);
    }
    CHECK(kept.use_count() == 1);
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

  TEST_CASE("a socket that is dropped with messages that nobody took leaves nothing behind") {
    std::string all = upgraded;
    for (int i = 0; i < 64; ++i) all += "\x81\x01x";
    impostor wordy{all};
    afloat client{wordy.url()};
    client.context.poll();
    const std::weak_ptr<skein::testing::virtual_clock> time = client.time;
    client.socket.reset();
    CHECK(client.until([&] { return !client.time->next(); }));
  }

  TEST_CASE("the handshake's time passes while the name is looked up") {
    const impostor silent{""};
    asio::io_context context{1};
    connect_options options;
    const auto time = std::make_shared<skein::testing::virtual_clock>();
    options.time = time;
    std::string what;
    const auto story = [&]() -> asio::awaitable<void> {
      try {
        co_await skein::connect_websocket(silent.url(), options);
      } catch (const boost::system::system_error& e) {
        what = e.code() == skein::errc::handshake_timeout ? "timeout" : e.what();
      }
    };
    asio::co_spawn(context, story(), asio::detached);
    context.run_one();  // as far as the lookup
    REQUIRE(time->next());
    time->advance(options.handshake_timeout);
    const auto limit = std::chrono::steady_clock::now() + patience;
    while (what.empty() && std::chrono::steady_clock::now() < limit) context.run_one_for(5ms);
    CHECK(what == "timeout");
  }

  TEST_CASE("connecting can be given up while the name is looked up") {
    const impostor silent{""};
    asio::io_context context{1};
    asio::cancellation_signal give_up;
    bool done = false;
    const auto story = [&]() -> asio::awaitable<void> { co_await skein::connect_websocket(silent.url()); };
    asio::co_spawn(context, story(),
                   asio::bind_cancellation_slot(give_up.slot(), [&](const std::exception_ptr& error) {
                     CHECK(error);
                     done = true;
                   }));
    context.run_one();
    give_up.emit(asio::cancellation_type::terminal);
    const auto limit = std::chrono::steady_clock::now() + patience;
    while (!done && std::chrono::steady_clock::now() < limit) context.run_one_for(5ms);
    CHECK(done);
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
