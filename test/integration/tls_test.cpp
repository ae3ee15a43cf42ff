// What goes through TLS: messages of every size, broadcasts, backpressure, and the ends of a connection.

#include "tls_server.hpp"

#include <doctest/doctest.h>
#include <openssl/ssl.h>

using namespace skein::test;

namespace {

skein::manager_options roomy() {
  auto options = quiet_options();
  options.limits.max_message_bytes = 2U << 20U;
  options.limits.send_queue_bytes = 8U << 20U;
  options.limits.send_queue_messages = 100'000;
  return options;
}

std::string numbered(std::size_t number, std::size_t size) {
  auto text = std::to_string(number) + ' ';
  return text.append(size - text.size(), static_cast<char>('a' + number % 26));
}

skein::prepared_message prepared(std::string text) {
  return skein::prepared_message{skein::message::text(std::move(text))};
}

}  // namespace

TEST_SUITE("TLS") {
  TEST_CASE("messages from one byte to a mebibyte are echoed, with either version") {
    tls_fixture made;
    test_server server{roomy(), made.server_options()};
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      CAPTURE(version);
      auto wishes = made.trusting();
      wishes.min_version = wishes.max_version = version;
      tls_client client{server.port(), wishes};
      REQUIRE(client.established());
      CHECK(client.version() == version);
      REQUIRE(client.open().status == 101);
      // Around the sizes of a record and of the server's read buffer.
      for (const std::size_t size :
           {1, 125, 126, 16'370, 16'383, 16'384, 16'385, 65'535, 65'536, 65'537, 1 << 20}) {
        CAPTURE(size);
        const auto text = std::string(size, 'x');
        client.send(binary_frame(text));
        const auto echo = client.read_message();
        REQUIRE(echo);
        CHECK(echo->payload == text);
      }
      client.send(close_frame());
      const auto end = client.read_conclusion();
      CHECK(end.code() == 1000);
      CHECK(end.end == stream_end::closed);  // behind a close_notify
    }
  }

  TEST_CASE("messages that come in one burst, with the request before them, are all echoed in order") {
    tls_fixture made;
    test_server server{roomy(), made.server_options()};
    tls_client client{server.port(), made.trusting()};
    auto burst = upgrade_request("/echo");
    constexpr std::size_t count = 3'000;
    for (std::size_t i = 0; i < count; ++i) burst += text_frame(numbered(i, 100));
    client.send(burst);
    CHECK(client.read_answer().status == 101);
    for (std::size_t i = 0; i < count; ++i) {
      const auto echo = client.read_message();
      REQUIRE(echo);
      REQUIRE(echo->payload == numbered(i, 100));
    }
  }

  TEST_CASE("one byte in a record, for a whole conversation") {
    tls_fixture made;
    test_server server{roomy(), made.server_options()};
    tls_client client{server.port(), made.trusting()};
    client.send_bytewise(upgrade_request("/echo") + text_frame("slow") + text_frame("and slower"));
    CHECK(client.read_answer().status == 101);
    CHECK(client.read_message()->payload == "slow");
    CHECK(client.read_message()->payload == "and slower");
  }

  TEST_CASE("new keys in the middle of it are agreed on") {
    tls_fixture made;
    test_server server{roomy(), made.server_options()};
    tls_client client{server.port(), made.trusting()};
    REQUIRE(client.open().status == 101);
    for (int i = 0; i < 5; ++i) {
      REQUIRE(client.update_keys());
      CHECK(is_open(client));
    }
  }

  TEST_CASE("a broadcast reaches clients with and without TLS, and the report counts both") {
    tls_fixture made;
    test_server plain{roomy()};
    auto where = made.server_options();
    where.port = 0;
    skein::server secure{plain.manager_pointer(), where};
    secure.route("/echo", echo);
    secure.start();
    std::vector<std::unique_ptr<raw_client>> clients;
    for (int i = 0; i < 10; ++i) {
      clients.push_back(std::make_unique<raw_client>(plain.port()));
      clients.push_back(std::make_unique<tls_client>(secure.port(), made.trusting()));
    }
    for (auto& client : clients) REQUIRE(client->open().status == 101);
    for (const std::size_t size : {10U, 1'000U, 100'000U}) {
      const auto report = await(plain.manager().broadcast(prepared(numbered(7, size))));
      CHECK(report.matched == 20);
      CHECK(report.written == 20);
      for (auto& client : clients) {
        const auto got = client->read_message();
        REQUIRE(got);
        CHECK(got->payload == numbered(7, size));
      }
    }
    secure.stop();
  }

  TEST_CASE(
      "a peer that stops reading gets everything once it reads again, and nothing counts as written "
      "before it is") {
    tls_fixture made;
    auto where = made.server_options();
    where.socket_write_buffer = 16 * 1024;
    test_server server{roomy(), where};
    auto wishes = made.trusting();
    wishes.receive_buffer = 16 * 1024;
    tls_client client{server.port(), wishes};
    REQUIRE(client.open().status == 101);
    constexpr std::size_t count = 4'000;
    for (std::size_t i = 0; i < count; ++i) server.manager().post_broadcast(prepared(numbered(i, 1'000)));
    const auto unread =
        await(server.manager().broadcast(prepared("the last"), skein::delivery().deadline(50ms)));
    CHECK(unread.matched == 1);
    CHECK(unread.pending == 1);
    const auto before = server.stats();
    CHECK(before.messages_out < count);
    // Pings go in front of what waits, and must not come between what TLS has taken already.
    client.send(ping_frame("here"));
    std::size_t pongs = 0;
    for (std::size_t i = 0; i < count;) {
      const auto got = client.read_frame();
      REQUIRE(got);
      if (got->opcode == op::pong) {
        ++pongs;
      } else {
        REQUIRE(got->payload == numbered(i++, 1'000));
      }
    }
    CHECK(pongs == 1);
    CHECK(client.read_message()->payload == "the last");
    CHECK(eventually([&] { return server.stats().messages_out == count + 1; }));
    CHECK(server.stats().bytes_out == count * 1'000 + 8);
    CHECK(server.stats().queued_messages == 0);
    CHECK(is_open(client));
  }

  TEST_CASE("a peer that does not read is evicted, and everything is accounted for") {
    tls_fixture made;
    auto where = made.server_options();
    where.socket_write_buffer = 16 * 1024;
    auto options = quiet_options();
    options.limits.send_queue_messages = 100;
    options.limits.close_timeout = 300ms;
    test_server server{options, where};
    auto wishes = made.trusting();
    wishes.receive_buffer = 16 * 1024;
    tls_client client{server.port(), wishes};
    REQUIRE(client.open().status == 101);
    std::size_t sent = 0;
    while (server.stats().evictions == 0) {
      const auto report =
          await(server.manager().broadcast(prepared(numbered(sent, 4'000)), skein::delivery().deadline(1ms)));
      CHECK(report.matched == report.written + report.dropped + report.closed + report.pending);
      ++sent;
      REQUIRE(sent < 10'000);
    }
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.code == skein::close_code::slow_consumer);
    const auto after = server.stats();
    CHECK(after.queued_messages == 0);
    CHECK(after.queued_bytes == 0);
    // The one that found no room was never queued.
    CHECK(after.messages_out + after.discarded + 1 == sent);
  }

  TEST_CASE("close_notify behind a close frame: the answer still comes") {
    tls_fixture made;
    test_server server{quiet_options(), made.server_options()};
    tls_client client{server.port(), made.trusting()};
    REQUIRE(client.open().status == 101);
    client.send(close_frame(1001));
    client.finish_sending();
    const auto end = client.read_conclusion();
    CHECK(end.code() == 1001);
    CHECK(end.end == stream_end::closed);
  }

  TEST_CASE("the end of the stream, with or without close_notify, is not a close frame") {
    tls_fixture made;
    test_server server{quiet_options(), made.server_options()};
    for (const bool politely : {true, false}) {
      CAPTURE(politely);
      tls_client client{server.port(), made.trusting()};
      REQUIRE(client.open().status == 101);
      const auto closed = server.closed().size();
      if (politely) {
        client.finish_sending();
      } else {
        client.truncate();
      }
      REQUIRE(server.wait_for_closed(closed + 1));
      CHECK(server.closed().back().reason.by == skein::closed_by::transport);
      CHECK(server.closed().back().reason.code == skein::close_code::abnormal);
    }
    CHECK(serves(server, made));
  }

  TEST_CASE("a record that is not one ends its connection and no other") {
    tls_fixture made;
    test_server server{quiet_options(), made.server_options()};
    tls_client other{server.port(), made.trusting()};
    REQUIRE(other.open().status == 101);
    for (int i = 0; i < 8; ++i) {  // on either shard
      tls_client client{server.port(), made.trusting()};
      REQUIRE(client.open().status == 101);
      client.send_raw("\x17\x03\x03\x00\x20"s + std::string(32, 'x'));
      CHECK(client.read_to_end() == stream_end::reset);
      CHECK(client.failure() == SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
      CHECK(is_open(other));
    }
  }

  TEST_CASE("plain endpoints answer over TLS, one request after another") {
    tls_fixture made;
    test_server server{quiet_options(), made.server_options(), with_standard_endpoints};
    tls_client client{server.port(), made.trusting()};
    for (std::uint64_t i = 0; i < 3; ++i) {
      client.send(get("/ws/stats"));
      const auto answer = client.read_answer();
      CHECK(answer.status == 200);
      const auto stats = boost::json::parse(answer.body);
      CHECK(stats.at("tls").at("handshakes").to_number<std::uint64_t>() == 1);
    }
    client.send(get("/healthz", "Connection: close\r\n"));
    CHECK(client.read_answer().status == 200);
    CHECK(client.read_to_end() == stream_end::closed);
  }
}
