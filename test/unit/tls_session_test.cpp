// One TLS session over bytes in memory, against OpenSSL's own client.

#include "connection/tls_session.hpp"

#include "../tls_files.hpp"
#include "connection/loop.hpp"
#include "security/tls_context.hpp"
#include "testing/memory_transport.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <vector>

using namespace skein;
using namespace skein::detail;
using namespace skein::test;
using namespace std::string_literals;

namespace {

/// The server's end of a wire in memory.
class memory_wire final : public byte_stream {
 public:
  std::size_t read_some(std::span<char> into, error_code& ec) noexcept override {
    const auto n = std::min(into.size(), to_server.size());
    std::copy_n(to_server.data(), n, into.data());
    to_server.erase(0, n);
    ec = n > 0 ? error_code{} : ended ? error_code{asio::error::eof} : error_code{asio::error::would_block};
    return n;
  }
  std::size_t write_some(std::span<const iovec> buffers, error_code& ec) noexcept override {
    std::size_t written = 0;
    for (const auto& buffer : buffers) {
      const auto n = std::min(buffer.iov_len, room);
      to_client.append(static_cast<const char*>(buffer.iov_base), n);
      room -= n;
      written += n;
    }
    ++writes;
    ec = written == 0 ? error_code{asio::error::would_block} : error_code{};
    return written;
  }

  std::string to_server, to_client;
  std::size_t room = std::size_t{1} << 30U;
  int writes = 0;
  bool ended = false;
};

struct pair {
  explicit pair(int version = TLS1_3_VERSION) {
    const auto made = authority{"root"}.issue({.common_name = "localhost"});
    tls_options options;
    options.certificate_files = {folder.write("crt", made.certificate)};
    options.key_files = {folder.write("key", made.key)};
    context = std::make_unique<tls_context>(options);
    server = context->make_session({});
    server->attach(wire);
    client_context.reset(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
    SSL_CTX_set_max_proto_version(client_context.get(), version);
    client.reset(SSL_new(client_context.get()), &SSL_free);
    SSL_set_bio(client.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(client.get());
  }

  /// Carries what there is between the two.
  void carry() {
    wire.to_server += take(SSL_get_wbio(client.get()));
    give(std::exchange(wire.to_client, {}));
  }
  void give(const std::string& bytes) {
    if (!bytes.empty()) BIO_write(SSL_get_rbio(client.get()), bytes.data(), static_cast<int>(bytes.size()));
  }
  static std::string take(BIO* from) {
    std::string bytes(static_cast<std::size_t>(BIO_pending(from)), '\0');
    if (!bytes.empty()) BIO_read(from, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }
  void shake_hands() {
    for (int i = 0; i < 10 && !server->established(); ++i) {
      SSL_do_handshake(client.get());
      carry();
      server->handshake();
    }
    SSL_do_handshake(client.get());
    carry();
    ERR_clear_error();
    REQUIRE(server->established());
  }
  void say(const std::string& text) {
    std::size_t n = 0;
    REQUIRE(SSL_write_ex(client.get(), text.data(), text.size(), &n) == 1);
    REQUIRE(n == text.size());
  }
  /// What the client reads now.
  std::string heard() {
    carry();
    std::string all;
    std::array<char, 4096> part{};
    std::size_t n = 0;
    while (SSL_read_ex(client.get(), part.data(), part.size(), &n) == 1) all.append(part.data(), n);
    ERR_clear_error();
    return all;
  }

  temporary_folder folder;
  memory_wire wire;
  std::unique_ptr<tls_context> context;
  std::unique_ptr<tls_session> server;
  std::shared_ptr<SSL_CTX> client_context;
  std::shared_ptr<SSL> client;
};

struct result {
  error_code ec;
  std::string bytes;
};
result read(tls_session& from, std::size_t room = 64 * 1024) {
  std::string bytes(room, '\0');
  error_code ec;
  bytes.resize(from.read_some(bytes, ec));
  return {ec, bytes};
}

/// `co_await`: until there is something to read. `asking` is true within the call that asks for it.
struct readable {
  transport& where;
  bool& asking;
  bool ready = false;
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> frame) {
    auto& flag = asking;
    flag = true;
    where.wait_readable(transport::ready_handler{frame, &ready});
    flag = false;
  }
  [[nodiscard]] bool await_resume() const noexcept { return ready; }
};

loop read_a_byte_at_a_time(transport& from, int count, int& reads, bool& asking) {
  while (reads < count) {
    readable wait{from, asking};
    const bool ready = co_await wait;
    CHECK(!asking);
    char room = 0;
    error_code ec;
    if (!ready || from.read_some({&room, 1}, ec) != 1) co_return;
    ++reads;
  }
}

std::size_t write(tls_session& to, const std::vector<std::string>& parts, error_code& ec) {
  std::vector<iovec> buffers;
  for (const auto& part : parts) buffers.push_back({const_cast<char*>(part.data()), part.size()});
  return to.write_some(buffers, ec);
}

}  // namespace

TEST_SUITE("TLS session") {
  TEST_CASE("nothing to read would block; what was read ahead is known") {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      pair both{version};
      both.shake_hands();
      CHECK(read(*both.server).ec == asio::error::would_block);
      CHECK_FALSE(both.server->readable_at_once());
      both.say("one");
      both.say("two");
      both.carry();
      CHECK(read(*both.server, 2).bytes == "on");
      CHECK(both.server->readable_at_once());  // the rest of a record
      CHECK(read(*both.server, 1).bytes == "e");
      CHECK(both.server->readable_at_once());  // a whole record
      CHECK(read(*both.server, 3).bytes == "two");
      CHECK_FALSE(both.server->readable_at_once());
      both.say("three");
      auto record = pair::take(SSL_get_wbio(both.client.get()));
      both.wire.to_server = record.substr(0, record.size() - 1);
      CHECK(read(*both.server).ec == asio::error::would_block);
      CHECK_FALSE(both.server->readable_at_once());  // a record without its last byte
      both.wire.to_server = record.substr(record.size() - 1);
      CHECK(read(*both.server).bytes == "three");
    }
  }

  TEST_CASE("whoever reads on what was read ahead lets the others have their turn after each read") {
    pair both;
    both.shake_hands();
    boost::asio::io_context context{1};
    const boost::asio::any_io_executor executor = context.get_executor();
    const auto pipe = std::make_shared<testing::detail::memory_pipe>(executor);
    constexpr int records = 100;
    for (int i = 0; i < records; ++i) both.say("x");
    pipe->to_server = pair::take(SSL_get_wbio(both.client.get()));
    const auto over_tls =
        make_tls_transport(std::move(both.server), testing::detail::make_memory_transport(pipe), executor);

    int reads = 0, turns_of_others = 0;
    bool asking = false;
    read_a_byte_at_a_time(*over_tls, records, reads, asking);
    for (int turn = 1; reads < records && turn < 10 * records; ++turn) {
      boost::asio::post(executor, [&] { ++turns_of_others; });
      while (turns_of_others < turn) REQUIRE(context.poll_one() == 1);
      CHECK(reads <= turn + 1);
      context.restart();
    }
    CHECK(reads == records);
    CHECK(turns_of_others >= records - 1);
    over_tls->close(true);
    context.poll();
  }

  TEST_CASE("several buffers make one record, and one write beneath") {
    pair both;
    both.shake_hands();
    both.wire.writes = 0;
    error_code ec;
    CHECK(write(*both.server, {"a", "", "bc", "def"}, ec) == 6);
    CHECK_FALSE(ec);
    CHECK(both.wire.writes == 1);
    CHECK(both.heard() == "abcdef");
    const std::vector<std::string> large{std::string(10'000, 'x'), std::string(10'000, 'y'),
                                         std::string(40'000, 'z'), "end"};
    both.wire.writes = 0;
    CHECK(write(*both.server, large, ec) == 60'003);
    CHECK(both.wire.writes == 4);
    CHECK(both.heard() == large[0] + large[1] + large[2] + large[3]);
  }

  TEST_CASE("what was taken and not written goes first the next time, whatever comes with it") {
    pair both;
    both.shake_hands();
    error_code ec;
    both.wire.room = 10;
    const std::string first(30'000, 'x');
    CHECK(write(*both.server, {first}, ec) == 16'384);
    CHECK(ec == asio::error::would_block);
    CHECK(both.server->holds_unsent());
    CHECK(write(*both.server, {"other"}, ec) == 0);  // nothing more is taken
    CHECK(ec == asio::error::would_block);
    both.wire.room = 100;
    CHECK(write(*both.server, {}, ec) == 0);
    CHECK(ec == asio::error::would_block);
    both.wire.room = 1U << 30U;
    CHECK(write(*both.server, {}, ec) == 0);
    CHECK_FALSE(ec);
    CHECK_FALSE(both.server->holds_unsent());
    CHECK(write(*both.server, {"other"}, ec) == 5);
    CHECK(both.heard() == first.substr(0, 16'384) + "other");
  }

  TEST_CASE("a wire without room makes the handshake wait for writing") {
    pair both;
    both.wire.room = 10;
    SSL_do_handshake(both.client.get());
    both.carry();
    CHECK(both.server->handshake() == tls_session::progress::wants_write);
    CHECK(both.server->handshake() == tls_session::progress::wants_write);
    both.wire.room = 1U << 30U;
    CHECK(both.server->handshake() == tls_session::progress::wants_read);
    both.shake_hands();
  }

  TEST_CASE("the answer to a key update, for which there is no room, does not stop the reading") {
    pair both;
    both.shake_hands();
    both.wire.room = 3;
    // OpenSSL answers when it is called the next time.
    for (int i = 0; i < 2; ++i) {
      SSL_key_update(both.client.get(), SSL_KEY_UPDATE_REQUESTED);
      both.say("with new keys");
      both.carry();
      CHECK(read(*both.server).bytes == "with new keys");
    }
    CHECK(read(*both.server).ec == asio::error::would_block);
    error_code ec;
    CHECK(write(*both.server, {"answer"}, ec) == 0);
    CHECK(ec == asio::error::would_block);
    both.wire.room = 1U << 30U;
    CHECK(write(*both.server, {"answer"}, ec) == 6);
    CHECK_FALSE(ec);
    CHECK(both.heard() == "answer");
  }

  TEST_CASE("a peer that asks for new keys and reads nothing comes to an end") {
    pair both;
    both.shake_hands();
    both.wire.room = 0;
    error_code ec = asio::error::would_block;
    int rounds = 0;
    for (; rounds < 100'000 && ec == asio::error::would_block; ++rounds) {
      SSL_key_update(both.client.get(), SSL_KEY_UPDATE_REQUESTED);
      SSL_do_handshake(both.client.get());
      both.carry();
      ec = read(*both.server).ec;
    }
    CHECK(ec == asio::error::no_buffer_space);
    CHECK(rounds < 100'000);
  }

  TEST_CASE("close_notify is an end, its lack is not, and bytes before either come first") {
    for (const bool politely : {true, false}) {
      CAPTURE(politely);
      pair both;
      both.shake_hands();
      both.say("last");
      if (politely) SSL_shutdown(both.client.get());
      both.carry();
      both.wire.ended = true;
      CHECK(read(*both.server).bytes == "last");
      const auto end = politely ? asio::error::make_error_code(asio::error::eof)
                                : error_code{asio::error::connection_aborted};
      CHECK(read(*both.server).ec == end);
    }
  }

  TEST_CASE("after the peer's close_notify there may still be writing; ours is sent once") {
    pair both;
    both.shake_hands();
    SSL_shutdown(both.client.get());
    both.carry();
    CHECK(read(*both.server).ec == asio::error::eof);
    error_code ec;
    CHECK(write(*both.server, {"goodbye"}, ec) == 7);
    CHECK_FALSE(ec);
    both.server->send_close_notify();
    const auto size = both.wire.to_client.size();
    both.server->send_close_notify();
    CHECK(both.wire.to_client.size() == size);
    CHECK(both.heard() == "goodbye");
    CHECK((SSL_get_shutdown(both.client.get()) & SSL_RECEIVED_SHUTDOWN) != 0);
  }

  TEST_CASE("errors of others in OpenSSL's queue do no harm, and none are left there") {
    pair both;
    both.shake_hands();
    const auto leave_an_error = [] { ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH); };
    leave_an_error();
    CHECK(read(*both.server).ec == asio::error::would_block);
    CHECK(ERR_peek_error() == 0);
    leave_an_error();
    error_code ec;
    CHECK(write(*both.server, {"fine"}, ec) == 4);
    CHECK_FALSE(ec);
    CHECK(both.heard() == "fine");
    both.wire.to_server = "\x17\x03\x03"s + '\0' + '\x20' + std::string(32, 'x');
    CHECK(read(*both.server).ec == boost::system::errc::protocol_error);
    CHECK(ERR_peek_error() == 0);
    CHECK(write(*both.server, {"more"}, ec) == 0);
    CHECK(ec == asio::error::not_connected);
  }

  TEST_CASE("before the handshake nothing is written; what is not TLS fails") {
    pair both;
    error_code ec;
    CHECK(write(*both.server, {"early"}, ec) == 0);
    CHECK(ec == asio::error::not_connected);
    CHECK(both.server->handshake() == tls_session::progress::wants_read);
    both.wire.to_server = "GET / HTTP/1.1\r\n\r\n";
    CHECK(both.server->handshake() == tls_session::progress::failed);
    CHECK(both.server->met_http());
    CHECK(both.server->handshake() == tls_session::progress::failed);
    CHECK(ERR_peek_error() == 0);
  }
}
