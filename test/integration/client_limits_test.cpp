// How many clients of one address, how often, and who is behind a proxy.

#include "timed_server.hpp"
#include "tls_server.hpp"
#include "tokens.hpp"

#include <boost/json/parse.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <system_error>
#include <vector>

namespace asio = boost::asio;
using namespace skein::test;
using namespace std::chrono_literals;
using namespace std::string_literals;
using skein::rate;
using skein::refusal_reason;

namespace {

skein::server_options with_clients(skein::client_limits limits) {
  skein::server_options where;
  where.clients = limits;
  return where;
}

skein::server_options behind_proxies(std::vector<std::string> trusted) {
  skein::server_options where;
  where.proxies.trusted = std::move(trusted);
  return where;
}

asio::awaitable<void> say_address(skein::connection& client) {
  co_await client.write(skein::message::text(std::string{client.remote_address()}));
}

const auto with_address = [](skein::server& server) { server.route("/address", say_address); };

std::string address_of(const test_server& server, std::string_view headers, std::string_view before = {}) {
  raw_client client{server.port()};
  client.send(before);
  const auto answer = client.open("/address", headers);
  if (answer.status != 101) return std::to_string(answer.status);
  const auto got = client.read_message();
  return got ? got->payload : "nothing";
}

std::string forwarded_for(std::string_view list) {
  return "X-Forwarded-For: " + std::string{list} + "\r\n";
}

// How many requests in a row are answered with this status: it asks no more than 30 times.
int refusals_answered(const test_server& server, unsigned status, std::string_view headers = {}) {
  int count = 0;
  while (count < 30 && status_or_reset(server, headers) == status) ++count;
  return count;
}

std::string v2_header(std::string_view command_and_family, std::string_view rest) {
  std::string header{"\r\n\r\n\0\r\nQUIT\n", 12};
  header += command_and_family;
  header += static_cast<char>(rest.size() >> 8U);
  header += static_cast<char>(rest.size());
  return header.append(rest);
}

}  // namespace

TEST_SUITE("client limits") {
  TEST_CASE("an address may make so many requests to upgrade, and is then told when to come back") {
    skein::client_limits limits;
    limits.handshakes = rate{1, 3};
    timed_server one{with_clients(limits)};
    for (int i = 0; i < 3; ++i) CHECK(status_of(one.server, "") == 101);
    const auto answer = ask(one.server, upgrade_request("/echo"));
    CHECK(answer.status == 429);
    CHECK(answer.header("Retry-After") == "1");
    CHECK(refused(one.server, refusal_reason::rate) == 1);
    // Not yet, and then.
    one.time->advance(999ms);
    CHECK(status_of(one.server, "") == 429);
    one.time->advance(1ms);
    CHECK(status_of(one.server, "") == 101);
    // Plain requests are not counted.
    CHECK(ask(one.server, get("/nothing")).status == 404);
  }

  TEST_CASE("an address that goes on is told so twenty times a second, and then reset when it connects") {
    skein::client_limits limits;
    limits.handshakes = rate{1, 3};
    timed_server one{with_clients(limits)};
    for (int i = 0; i < 3; ++i) CHECK(status_or_reset(one.server) == 101);
    CHECK(refusals_answered(one.server, 429) == 20);
    CHECK(refused(one.server, refusal_reason::rate) == 21);
    // Others are served, with the next who are accepted: 5 ms later than without the flood.
    one.time->advance(5ms);
    CHECK(status_or_reset(one.server, {}, 0x7f000002) == 101);
    // A twentieth of a second is one more answer, to whatever it asks; what it may do it still may.
    one.time->advance(40ms);
    CHECK(status_or_reset(one.server) == 0);
    one.time->advance(5ms);
    CHECK(status_or_reset(one.server) == 429);
    CHECK(status_or_reset(one.server) == 0);
    one.time->advance(950ms);
    CHECK(status_or_reset(one.server) == 101);
    CHECK(refused(one.server, refusal_reason::rate) == 24);
  }

  TEST_CASE("those who are reset are taken together, and whoever comes among them is served") {
    skein::client_limits limits;
    limits.handshakes = rate{1};
    timed_server one{with_clients(limits), {}, 1};
    CHECK(status_or_reset(one.server) == 101);
    CHECK(refusals_answered(one.server, 429) == 20);
    const auto before = refused(one.server, refusal_reason::rate);
    // More than are accepted at once, during the pause behind the first reset.
    std::vector<std::unique_ptr<raw_client>> crowd;
    for (int i = 0; i < 70; ++i) crowd.push_back(std::make_unique<raw_client>(one.server.port()));
    raw_client other{one.server.port(), 0, 0x7f000002};
    other.send(upgrade_request("/echo"));
    one.time->advance(4ms);
    CHECK(refused(one.server, refusal_reason::rate) == before);
    one.time->advance(1ms);
    CHECK(other.read_answer().status == 101);
    CHECK(refused(one.server, refusal_reason::rate) == before + 70);
  }

  TEST_CASE("a request to upgrade that is refused for another reason counts all the same") {
    skein::client_limits limits;
    limits.handshakes = rate{1, 3};
    timed_server one{with_clients(limits)};
    raw_client client{one.server.port()};
    const auto plain = get("/echo");
    for (int i = 0; i < 3; ++i) {
      client.send(plain);
      CHECK(client.read_answer().status == 426);
    }
    client.send(plain);
    CHECK(client.read_answer().status == 429);
    CHECK(client.read_to_end() == stream_end::closed);
  }

  TEST_CASE("what is refused on one connection is told as often, and then it ends") {
    skein::client_limits limits;
    limits.handshakes = rate{100};
    timed_server one{with_clients(limits)};
    for (const auto& [request, status] : {std::pair{get("/nothing"), 404U}, std::pair{get("/echo"), 426U},
                                          std::pair{get("/nothing"), 404U}}) {
      raw_client client{one.server.port()};
      for (int i = 1; i <= 20; ++i) {
        client.send(request);
        CHECK(client.read_answer().status == status);
      }
      CHECK(client.read_to_end() == stream_end::closed);
      CHECK(status_or_reset(one.server) == 0);
      one.time->advance(1s);
    }
    // Of those that end with their answer, too.
    const auto foreign = "Origin: http://elsewhere.example\r\n"s;
    CHECK(refusals_answered(one.server, 403, foreign) == 20);
  }

  TEST_CASE("connections count, whatever they are for, and past the rate each has one answer") {
    skein::client_limits limits;
    limits.handshakes = rate{1, 2};
    timed_server one{with_clients(limits), with_standard_endpoints};
    raw_client a{one.server.port()}, b{one.server.port()};
    for (auto* const each : {&a, &b}) {
      for (int i = 0; i < 3; ++i) {
        each->send(get("/healthz"));
        const auto answer = each->read_answer();
        CHECK(answer.status == 200);
        CHECK(answer.header("Connection") == "keep-alive");
      }
    }
    raw_client c{one.server.port()};
    c.send(get("/healthz"));
    const auto answer = c.read_answer();
    CHECK(answer.status == 200);
    CHECK(answer.header("Connection") == "close");
    CHECK(c.read_to_end() == stream_end::closed);
    // The first request to upgrade is what the connection was counted for.
    CHECK(a.open("/echo").status == 101);
    CHECK(status_of(one.server, "") == 429);
  }

  TEST_CASE("handshakes of TLS count before they cost anything") {
    tls_fixture made;
    auto where = made.server_options();
    where.clients.handshakes = rate{2};
    timed_server one{where};
    const auto shakes_hands = [&] {
      try {
        return tls_client{one.server.port(), made.trusting()}.established();
      } catch (const std::system_error&) {
        return false;  // reset while it was connecting
      }
    };
    int done = 0;
    while (done < 40 && shakes_hands()) ++done;
    CHECK(done == 22);
    CHECK(eventually([&] { return one.server.stats().tls.handshakes == 22; }));
    CHECK(refused(one.server, refusal_reason::rate) == 1);
  }

  TEST_CASE("whom the PROXY protocol reports is not listened to either, once it was refused too often") {
    skein::client_limits limits;
    limits.handshakes = rate{1};
    auto where = with_clients(limits);
    where.proxies.trusted = {"127.0.0.1"};
    where.proxies.proxy_protocol = true;
    timed_server one{where};
    const auto status_from = [&](const std::string& client) {
      raw_client made{one.server.port()};
      made.send("PROXY TCP4 " + client + " 192.0.2.200 56324 443\r\n" + upgrade_request("/echo"));
      return made.read_answer().status;
    };
    CHECK(status_from("192.0.2.1") == 101);
    for (int i = 0; i < 20; ++i) CHECK(status_from("192.0.2.1") == 429);
    CHECK(status_from("192.0.2.1") == 0);
    CHECK(status_from("192.0.2.2") == 101);
  }

  TEST_CASE("a connection makes so many requests") {
    skein::server_options where;
    where.max_requests = 3;
    test_server one{quiet_options(), where};
    raw_client client{one.port()};
    for (int i = 1; i <= 3; ++i) {
      client.send(get("/nothing"));
      CHECK(client.read_answer().header("Connection") == (i == 3 ? "close" : "keep-alive"));
    }
    CHECK(client.read_to_end() == stream_end::closed);
    raw_client other{one.port()};
    for (int i = 1; i <= 2; ++i) {
      other.send(get("/nothing"));
      CHECK(other.read_answer().status == 404);
    }
    CHECK(other.open("/echo").status == 101);
    where.max_requests = 0;
    test_server patient{quiet_options(), where};
    raw_client third{patient.port()};
    for (int i = 0; i < 250; ++i) {
      third.send(get("/nothing"));
      CHECK(third.read_answer().header("Connection") == "keep-alive");
    }
  }

  TEST_CASE("a trusted proxy is answered however many of its clients are refused") {
    skein::client_limits limits;
    limits.handshakes = rate{1};
    auto where = with_clients(limits);
    where.proxies.trusted = {"127.0.0.1"};
    timed_server one{where};
    CHECK(status_or_reset(one.server, forwarded_for("192.0.2.1")) == 101);
    CHECK(refusals_answered(one.server, 429, forwarded_for("192.0.2.1")) == 30);
    CHECK(status_or_reset(one.server, forwarded_for("192.0.2.2")) == 101);
  }

  TEST_CASE("whoever is refused for a limit of all, or for want of a place, is told as often") {
    skein::client_limits all;
    all.accepts = rate{1};
    timed_server busy{with_clients(all)};
    CHECK(status_or_reset(busy.server) == 101);
    CHECK(refusals_answered(busy.server, 503) == 20);

    skein::client_limits each;
    each.connections_per_address = 1;
    timed_server full{with_clients(each)};
    raw_client holder{full.server.port()};
    REQUIRE(holder.open("/echo").status == 101);
    CHECK(refusals_answered(full.server, 429) == 20);
    CHECK(is_open(holder));
    CHECK(refused(full.server, refusal_reason::address_limit) == 20);
    CHECK(refused(full.server, refusal_reason::rate) == 1);
  }

  TEST_CASE("all addresses together may make so many requests to upgrade") {
    skein::client_limits limits;
    limits.accepts = rate{2};
    auto where = with_clients(limits);
    where.proxies.trusted = {"127.0.0.1"};
    timed_server one{where};
    CHECK(status_of(one.server, forwarded_for("192.0.2.1")) == 101);
    CHECK(status_of(one.server, forwarded_for("192.0.2.2")) == 101);
    const auto answer = ask(one.server, upgrade_request("/echo", forwarded_for("192.0.2.3")));
    CHECK(answer.status == 503);
    CHECK(answer.header("Retry-After") == "1");
    one.time->advance(500ms);
    CHECK(status_of(one.server, forwarded_for("192.0.2.3")) == 101);
    CHECK(refused(one.server, refusal_reason::rate) == 1);
  }

  TEST_CASE("an address may have so many connections at once") {
    skein::client_limits limits;
    limits.connections_per_address = 2;
    auto where = with_clients(limits);
    where.proxies.trusted = {"127.0.0.1"};
    test_server one{quiet_options(), where};
    const auto from = [&](raw_client& client, std::string_view address) {
      return client.open("/echo", forwarded_for(address));
    };
    raw_client a{one.port()}, b{one.port()}, c{one.port()}, other{one.port()};
    CHECK(from(a, "192.0.2.1").status == 101);
    CHECK(from(b, "192.0.2.1").status == 101);
    const auto answer = from(c, "::ffff:192.0.2.1");  // the same
    CHECK(answer.status == 429);
    CHECK(answer.has("Retry-After"));
    CHECK(from(other, "192.0.2.2").status == 101);
    CHECK(refused(one, refusal_reason::address_limit) == 1);
    // A place comes back with the end of the connection, however that ends.
    a.send(close_frame());
    CHECK(a.read_to_end() == stream_end::closed);
    REQUIRE(one.wait_for_closed(1));
    raw_client d{one.port()}, e{one.port()};
    CHECK(from(d, "192.0.2.1").status == 101);
    CHECK(from(e, "192.0.2.1").status == 429);
    b.reset();
    REQUIRE(one.wait_for_closed(2));
    raw_client f{one.port()};
    CHECK(from(f, "192.0.2.1").status == 101);
  }

  TEST_CASE("of IPv6 a whole /64 counts as one address") {
    skein::client_limits limits;
    limits.connections_per_address = 1;
    auto where = with_clients(limits);
    where.proxies.trusted = {"127.0.0.1"};
    test_server one{quiet_options(), where};
    raw_client a{one.port()};
    REQUIRE(a.open("/echo", forwarded_for("2001:db8:0:1::1")).status == 101);
    CHECK(status_of(one, forwarded_for("2001:db8:0:1:ffff::2")) == 429);
    CHECK(status_of(one, forwarded_for("2001:db8:0:2::1")) == 101);
  }

  TEST_CASE("a user has one rate over all connections, and anonymous ones have none") {
    token_server one{[](skein::token_options&, skein::server_options& where) {
      where.clients.user_messages = rate{1, 2};
      where.require_authentication = false;
    }};
    const auto enter = [&](raw_client& client, const std::string& headers) {
      REQUIRE(client.open("/who", headers).status == 101);
      client.read_message();
    };
    raw_client phone{one.server.port()}, desk{one.server.port()}, bob{one.server.port()},
        nobody{one.server.port()};
    enter(phone, bearer(token_for("ada")));
    enter(desk, bearer(token_for("ada")));
    enter(bob, bearer(token_for("bob")));
    enter(nobody, "");
    CHECK(is_open(phone));
    CHECK(is_open(desk));
    phone.send(text_frame("x"));
    const auto error = phone.read_message();
    REQUIRE(error);
    CHECK(error->payload.find(R"("limit":"user")") != std::string::npos);
    CHECK(error->payload.find(R"("retry_after_ms":1000)") != std::string::npos);
    CHECK(is_open(bob));
    for (int i = 0; i < 5; ++i) CHECK(is_open(nobody));
  }

  TEST_CASE("a route may have another rate, and a burst of bytes must hold the largest message") {
    skein::client_limits limits;
    limits.messages = rate{1};
    timed_server one{with_clients(limits), [](skein::server& server) {
                       skein::route_options how;
                       how.messages = rate{1, 3};
                       server.route("/three", echo, how);
                       how.messages = rate{};
                       server.route("/any", echo, how);
                       how.bytes = rate{1, 64 * 1024};
                       CHECK_NOTHROW(server.route("/bytes", echo, how));
                       how.bytes = rate{1, 64 * 1024 - 1};
                       CHECK_THROWS_AS(server.route("/fewer", echo, how), std::invalid_argument);
                     }};
    const auto passes = [&](std::string_view path, int count) {
      raw_client client{one.server.port()};
      REQUIRE(client.open(path).status == 101);
      for (int i = 0; i < count; ++i) client.send(text_frame("x"));
      int passed = 0;
      for (int i = 0; i < count; ++i) {
        const auto got = client.read_message();
        if (got && got->payload == "x") ++passed;
      }
      return passed;
    };
    CHECK(passes("/echo", 2) == 1);
    CHECK(passes("/three", 4) == 3);
    CHECK(passes("/any", 50) == 50);
    CHECK(one.server.stats().rate_limited == 2);
  }
}

TEST_SUITE("clients behind proxies") {
  TEST_CASE("nobody is believed who is not trusted") {
    test_server none{quiet_options(), {}, with_address};
    CHECK(address_of(none, forwarded_for("192.0.2.1")).starts_with("127.0.0.1:"));
    test_server other{quiet_options(), behind_proxies({"10.0.0.0/8"}), with_address};
    CHECK(address_of(other, forwarded_for("192.0.2.1")).starts_with("127.0.0.1:"));
  }

  TEST_CASE("the client is the last hop that is not trusted") {
    test_server one{quiet_options(), behind_proxies({"127.0.0.0/8", "10.0.0.0/8"}), with_address};
    CHECK(address_of(one, "").starts_with("127.0.0.1:"));
    CHECK(address_of(one, forwarded_for("192.0.2.1")) == "192.0.2.1");
    CHECK(address_of(one, forwarded_for("6.6.6.6, 192.0.2.1, 10.1.2.3")) == "192.0.2.1");
    CHECK(address_of(one, forwarded_for("2001:db8::1")) == "[2001:db8::1]");
    CHECK(address_of(one, forwarded_for("192.0.2.1, nonsense")) == "400");
    CHECK(refused(one, refusal_reason::proxy) == 1);
    CHECK(address_of(one, "Forwarded: for=192.0.2.9\r\n").starts_with("127.0.0.1:"));
  }

  TEST_CASE("the header that proxies write is the one that is read") {
    auto where = behind_proxies({"127.0.0.1"});
    where.proxies.header = skein::forwarded_header::forwarded;
    test_server one{quiet_options(), where, with_address};
    CHECK(address_of(one, "Forwarded: for=192.0.2.9;proto=https\r\n" + forwarded_for("6.6.6.6")) ==
          "192.0.2.9");
    CHECK(address_of(one, "Forwarded: for=\"[2001:db8::1]:99\"\r\n") == "[2001:db8::1]");
    CHECK(address_of(one, "Forwarded: for=\"oops\r\n") == "400");
  }

  TEST_CASE("each request of a connection has its own client") {
    auto where = behind_proxies({"127.0.0.1"});
    where.clients.handshakes = rate{1};
    timed_server one{where, with_address};
    raw_client proxy{one.server.port()};
    proxy.send(get("/nothing", forwarded_for("192.0.2.1")));
    CHECK(proxy.read_answer().status == 404);
    CHECK(proxy.open("/address", forwarded_for("192.0.2.2")).status == 101);
    CHECK(proxy.read_message()->payload == "192.0.2.2");
    CHECK(status_of(one.server, forwarded_for("192.0.2.2")) == 429);
    CHECK(status_of(one.server, forwarded_for("192.0.2.1")) == 101);
  }

  TEST_CASE("the PROXY protocol says who the client is, in either version") {
    auto where = behind_proxies({"127.0.0.1"});
    where.proxies.proxy_protocol = true;
    test_server one{quiet_options(), where, with_address};
    CHECK(address_of(one, "", "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n") == "192.0.2.1:56324");
    CHECK(address_of(one, "", "PROXY TCP6 2001:db8::1 2001:db8::2 1 443\r\n") == "[2001:db8::1]:1");
    CHECK(address_of(one, "", "PROXY UNKNOWN\r\n").starts_with("127.0.0.1:"));
    const auto addresses = "\xc0\x00\x02\x07\xc0\x00\x02\x02\x12\x34\x01\xbb"s;
    CHECK(address_of(one, "", v2_header("\x21\x11", addresses)) == "192.0.2.7:4660");
    CHECK(address_of(one, "", v2_header("\x20\x00"s, "")).starts_with("127.0.0.1:"));
    // The proxy's own client may be a proxy too.
    CHECK(address_of(one, forwarded_for("192.0.2.9"), "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n") ==
          "192.0.2.9");
    CHECK(address_of(one, forwarded_for("192.0.2.9"), "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n") ==
          "192.0.2.1:1");
  }

  TEST_CASE("a header of the PROXY protocol may come a byte at a time") {
    auto where = behind_proxies({"127.0.0.1"});
    where.proxies.proxy_protocol = true;
    test_server one{quiet_options(), where, with_address};
    raw_client client{one.port()};
    client.send_bytewise("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n" + upgrade_request("/address"));
    CHECK(client.read_answer().status == 101);
    CHECK(client.read_message()->payload == "192.0.2.1:56324");
  }

  TEST_CASE("without its header, or from elsewhere, a connection is not answered") {
    auto where = behind_proxies({"127.0.0.1"});
    where.proxies.proxy_protocol = true;
    test_server one{quiet_options(), where, with_address};
    for (const auto& bytes :
         {upgrade_request("/address"), "PROXY TCP4 1.2.3.4\r\n"s + get("/"),
          "PROXY TCP4 192.0.2.1 192.0.2.2 99999 443\r\n"s, v2_header("\x31\x11", std::string(12, 'x')),
          "PROXY "s + std::string(200, 'x'), "\r\n\r\n\0\r\nQUIT\n!!!!!!!!!!"s}) {
      raw_client client{one.port()};
      client.send(bytes);
      CHECK(client.read_to_end() != stream_end::open);
    }
    CHECK(eventually([&] { return refused(one, refusal_reason::proxy) == 6; }));
    auto strict = behind_proxies({"10.0.0.1"});
    strict.proxies.proxy_protocol = true;
    test_server other{quiet_options(), strict, with_address};
    raw_client client{other.port()};
    client.send("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n" + get("/"));
    CHECK(client.read_to_end() != stream_end::open);
    CHECK(eventually([&] { return refused(other, refusal_reason::proxy) == 1; }));
  }

  TEST_CASE("what cannot be is refused before the server starts") {
    const auto hub = skein::make_manager(quiet_options());
    CHECK_THROWS_AS(skein::server(hub, behind_proxies({"10.1.0.0/8"})), std::invalid_argument);
    skein::server_options untrusting;
    untrusting.proxies.proxy_protocol = true;
    CHECK_THROWS_AS(skein::server(hub, untrusting), std::invalid_argument);
  }
}
