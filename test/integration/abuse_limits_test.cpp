// Limits of rates, places and memory, one below, at, and one above, while 100 clients who do nothing wrong
// must not notice; in clear and over TLS. The test turns the clock.

#include "crowd.hpp"
#include "deflate_peer.hpp"
#include "tls_server.hpp"

#include <skein/testing.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

using namespace skein::test;
using namespace std::chrono_literals;
using namespace std::string_literals;
using skein::rate;
using skein::refusal_reason;

namespace {

constexpr std::uint32_t elsewhere = 0x7f000002;  // 127.0.0.2: not the crowd's address

/// A server whose clock stands still unless it is turned. The crowd has a route without rates.
struct target {
  explicit target(const std::function<void(skein::manager_options&, skein::server_options&)>& with)
      : target(made(with)) {}

  [[nodiscard]] std::uint16_t port() const { return server.port(); }
  [[nodiscard]] std::uint64_t refused(refusal_reason why) const {
    return server.stats().refused[static_cast<std::size_t>(why)];
  }
  [[nodiscard]] std::unique_ptr<raw_client> stranger() const {
    return std::make_unique<raw_client>(port(), 0, elsewhere);
  }

  std::shared_ptr<skein::testing::virtual_clock> time;
  test_server server;

 private:
  struct parts {
    std::shared_ptr<skein::testing::virtual_clock> time = std::make_shared<skein::testing::virtual_clock>();
    skein::manager_options manager = quiet_options();
    skein::server_options server{};
  };
  static parts made(const std::function<void(skein::manager_options&, skein::server_options&)>& with) {
    parts all;
    all.manager.time = all.time;
    with(all.manager, all.server);
    return all;
  }
  explicit target(parts all) : time(all.time), server(all.manager, all.server, add_crowd) {}
  static void add_crowd(skein::server& to) {
    skein::route_options free;
    free.messages = free.bytes = rate{};
    to.route("/crowd", echo, free);
  }
};

constexpr std::string_view deflate_offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

std::string compressed(std::size_t bytes) {
  frame_form form;
  form.rsv = rsv1;
  return make_frame(op::binary, deflate_payload(std::string(bytes, 'x')), form);
}

}  // namespace

TEST_SUITE("abuse") {
  TEST_CASE("bytes a second: one below, at, and one above") {
    const target one{[](auto&, skein::server_options& where) { where.clients.bytes = rate{1'000, 100'000}; }};
    crowd others{one.port()};
    const auto first = binary_frame(std::string(60'000, 'x'));
    for (const auto& [more, refusals] : {std::pair{39'999U, 0}, {40'000U, 0}, {40'001U, 1}}) {
      CAPTURE(more);
      raw_client client{one.port()};
      REQUIRE(client.open().status == 101);
      client.send(first + binary_frame(std::string(more, 'x')));
      REQUIRE(client.read_message());
      const auto answer = client.read_message();
      REQUIRE(answer);
      CHECK(answer->payload.starts_with(R"({"type":"error","code":"rate_limited")") == (refusals != 0));
      CHECK((answer->payload.find("retry_after_ms") != std::string::npos) == (refusals != 0));
      // The third time is the last.
      if (refusals == 0) continue;
      client.send(binary_frame(std::string(60'000, 'x')) + binary_frame(std::string(60'000, 'x')));
      CHECK(client.read_conclusion().code() == 1008);
    }
    CHECK(others.is_well());
    CHECK(one.server.problems() == 0);
  }

  TEST_CASE("a deflate bomb: one below the limit, at it, one above, and far above") {
    const target one{[](skein::manager_options& how, auto&) { how.compression.enabled = true; }};
    crowd others{one.port()};
    constexpr std::size_t most = 64 * 1024;
    for (const auto& [bytes, code] :
         {std::pair{most - 1, 1000}, {most, 1000}, {most + 1, 1009}, {std::size_t{20'000'000}, 1009}}) {
      CAPTURE(bytes);
      raw_client client{one.port()};
      REQUIRE(client.open("/echo", deflate_offer).status == 101);
      client.send(compressed(bytes) + close_frame(1000));
      CHECK(client.read_conclusion().code() == code);
    }
    CHECK(others.is_well());
    CHECK(one.server.problems() == 0);
  }

  TEST_CASE("connections of one address: one below, at, and one above") {
    const target one{
        [](auto&, skein::server_options& where) { where.clients.connections_per_address = crowd::size; }};
    crowd others{one.port()};
    std::vector<std::unique_ptr<raw_client>> held;
    for (std::size_t i = 1; i <= crowd::size + 1; ++i) {
      CAPTURE(i);
      held.push_back(one.stranger());
      const auto answer = held.back()->open();
      CHECK(answer.status == (i <= crowd::size ? 101 : 429));
      CHECK(answer.has("Retry-After") == (i > crowd::size));
    }
    CHECK(one.refused(refusal_reason::address_limit) == 1);
    CHECK(others.is_well());
  }

  TEST_CASE("handshakes of one address that stay, while others wait") {
    const target one{[](skein::manager_options& how, skein::server_options& where) {
      how.shards = 1;
      where.max_handshakes = 60;
      where.clients.handshakes_per_address = 20;
    }};
    crowd others{one.port()};
    std::vector<std::unique_ptr<raw_client>> held;
    for (int i = 0; i < 60; ++i) {
      held.push_back(one.stranger());
      held.back()->send("GET");
    }
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 60; }));
    CHECK(one.refused(refusal_reason::address_limit) == 0);
    raw_client waits{one.port()};
    waits.send(upgrade_request("/echo"));
    one.time->advance(2s);
    CHECK(waits.read_answer().status == 101);
    CHECK(one.refused(refusal_reason::address_limit) == 40);
    // From half of the places on it is held to its number.
    std::vector<std::unique_ptr<raw_client>> rush;
    while (one.server.stats().handshaking < 30) {
      const auto before = one.server.stats().handshaking;
      rush.push_back(std::make_unique<raw_client>(one.port()));
      REQUIRE(eventually([&] { return one.server.stats().handshaking > before; }));
    }
    CHECK(one.stranger()->read_to_end() != stream_end::open);
    CHECK(one.refused(refusal_reason::address_limit) == 41);
    CHECK(others.is_well());
    // Those within the bound may still finish.
    held.back()->send(upgrade_request("/echo").substr(3));
    CHECK(held.back()->read_answer().status == 101);
  }

  TEST_CASE("handshakes a second of one address: one below, at, and one above") {
    const target one{[](auto&, skein::server_options& where) {
      where.clients.handshakes = rate{1, crowd::size};
    }};
    crowd others{one.port()};
    for (std::size_t i = 1; i <= crowd::size + 1; ++i) {
      CAPTURE(i);
      const auto answer = one.stranger()->open();
      CHECK(answer.status == (i <= crowd::size ? 101 : 429));
      CHECK(answer.has("Retry-After") == (i > crowd::size));
    }
    CHECK(one.refused(refusal_reason::rate) == 1);
    one.time->advance(1s);
    CHECK(one.stranger()->open().status == 101);
    CHECK(others.is_well());
  }

  TEST_CASE("connections of all together: one below, at, and one above") {
    constexpr std::size_t most = crowd::size + 10;
    const target one{[](skein::manager_options& how, auto&) { how.max_connections = most; }};
    crowd others{one.port()};
    std::vector<std::unique_ptr<raw_client>> held;
    for (auto i = crowd::size + 1; i <= most + 1; ++i) {
      CAPTURE(i);
      held.push_back(one.stranger());
      const auto answer = held.back()->open();
      CHECK(answer.status == (i <= most ? 101 : 503));
      CHECK(answer.has("Retry-After") == (i > most));
    }
    CHECK(others.is_well());
  }

  TEST_CASE("a slow handshake: a moment before its time is over, and then") {
    const target one{[](auto&, auto&) {}};
    crowd others{one.port()};
    const auto slow = one.stranger(), quick = one.stranger();
    for (auto* each : {slow.get(), quick.get()}) each->send("GET /echo HTTP/1.1\r\n");
    REQUIRE(eventually([&] { return one.server.stats().handshaking == 2; }));
    one.time->advance(5s - 1ms);
    quick->send(upgrade_request("/echo").substr("GET /echo HTTP/1.1\r\n"s.size()));
    CHECK(quick->read_answer().status == 101);
    one.time->advance(1ms);
    CHECK(slow->read_answer().status == 408);
    CHECK(one.refused(refusal_reason::timeout) == 1);
    CHECK(others.is_well());
  }

  TEST_CASE("a peer that never closes: a moment before its time is over, and then") {
    const target one{[](auto&, auto&) {}};
    crowd others{one.port()};
    const auto stays = one.stranger(), goes = one.stranger();
    for (auto* each : {stays.get(), goes.get()}) {
      REQUIRE(each->open().status == 101);
      each->send("\xf2\x80\x01\x02\x03\x04");
      const auto close = each->read_message();
      REQUIRE(close);
      CHECK(close_code_of(close->payload) == 1002);
    }
    one.time->advance(5s - 1ms);
    CHECK(eventually([&] { return one.server.stats().active >= crowd::size; }));
    goes->close();
    one.time->advance(1ms);
    CHECK(stays->read_to_end() != stream_end::open);
    CHECK(one.server.wait_for_closed(2));
    CHECK(eventually([&] { return one.server.stats().active == crowd::size; }));
    CHECK(others.is_well());
  }

  TEST_CASE("over TLS: bad frames, bombs, garbage, halves and resets, and 100 who do not notice") {
    tls_fixture made;
    const auto tls = made.server_options().tls;
    const target one{[&](skein::manager_options& how, skein::server_options& where) {
      where.tls = tls;
      how.compression.enabled = true;
    }};
    crowd others{[&] { return std::make_unique<tls_client>(one.port(), made.trusting()); }};
    struct row {
      const char* what;
      std::string bytes;
      int code;
    };
    constexpr std::size_t most = 64 * 1024;
    const std::vector<row> rows{
        {"a reserved bit", "\xa2\x80\x01\x02\x03\x04"s, 1002},
        {"no mask", "\x82\x01x"s, 1002},
        {"not UTF-8", text_frame("\xff"), 1007},
        {"bytes at the limit", binary_frame(std::string(most, 'x')) + close_frame(1000), 1000},
        {"bytes above", binary_frame(std::string(most + 1, 'x')), 1009},
        {"a bomb at the limit", compressed(most) + close_frame(1000), 1000},
        {"a bomb above", compressed(most + 1), 1009},
        {"a bomb far above", compressed(5'000'000), 1009},
    };
    for (const auto& [what, bytes, code] : rows) {
      CAPTURE(what);
      tls_client client{one.port(), made.trusting()};
      REQUIRE(client.established());
      REQUIRE(client.open("/echo", deflate_offer).status == 101);
      client.send(bytes);
      CHECK(client.read_conclusion().code() == code);
    }
    // Below TLS: what is no record, or stops.
    for (const auto& bytes : {"GET / HTTP/1.1\r\n\r\n"s, std::string(300, '\xff'), "\x16\x03\x01\xff\xff"s,
                              "\x16\x03\x01\x00\x05hello"s}) {
      raw_client client{one.port()};
      client.send(bytes);
      client.finish_sending();
      CHECK(client.read_to_end() != stream_end::open);
    }
    for (int i = 0; i < 20; ++i) {
      tls_client client{one.port(), made.trusting()};
      REQUIRE(client.established());
      if (i % 4 != 0) REQUIRE(client.open().status == 101);
      if (i % 4 == 1) client.send_raw("\x17\x03\x03\x00\x10no record at all");
      if (i % 4 == 2) client.truncate();
      client.reset();
    }
    CHECK(others.is_well());
    CHECK(eventually([&] {
      const auto now = one.server.stats();
      return now.active == crowd::size && now.handshaking == 0;
    }));
    CHECK(one.server.problems() == 0);
  }
}
