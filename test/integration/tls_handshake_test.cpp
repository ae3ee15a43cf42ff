// How TLS begins: versions, names, certificates of both sides, sessions taken up again, and those who do it
// wrong.

#include "tls_server.hpp"
#include "tokens.hpp"

#include <doctest/doctest.h>
#include <openssl/ssl.h>

using namespace skein::test;
namespace asio = boost::asio;

namespace {

skein::tls_stats tls_of(const test_server& server) {
  return server.stats().tls;
}

std::string describe(const skein::connection& client) {
  const auto* const certificate = client.request().client_certificate();
  return (certificate != nullptr ? certificate->subject : "none") + " as '" + client.user().user + "'";
}

asio::awaitable<void> say_certificate(skein::connection& client) {
  auto text = describe(client);
  co_await client.write(skein::message::text(std::move(text)));
}

asio::awaitable<skein::admission> only_clerks(const skein::request& what) {
  skein::identity who;
  const auto* const certificate = what.client_certificate();
  if (certificate != nullptr && certificate->subject.ends_with("clerk")) {
    who.user = "a clerk";
    co_return who;
  }
  co_return skein::refusal{};
}

void add_certificate_routes(skein::server& server) {
  server.route("/who", say_certificate);
  skein::route_options options;
  options.authenticator = only_clerks;
  server.route("/clerks", say_certificate, std::move(options));
}

std::string said(const test_server& server, const tls_wishes& wishes, std::string_view path = "/who") {
  tls_client client{server.port(), wishes};
  const auto status = client.open(path).status;
  if (status != 101) return std::to_string(status);
  return client.read_message()->payload;
}

/// Why a client is not served: of TLS 1.3 clients that shows in what they read first.
int refusal_of(const test_server& server, const tls_wishes& wishes) {
  tls_client client{server.port(), wishes};
  if (client.established()) client.read_to_end();
  return client.failure();
}

}  // namespace

TEST_SUITE("TLS handshake") {
  TEST_CASE("TLS 1.2 and 1.3 are spoken, and nothing older") {
    tls_fixture made;
    test_server server{quiet_options(), made.server_options()};
    for (const int version : {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION}) {
      CAPTURE(version);
      auto wishes = made.trusting();
      wishes.min_version = wishes.max_version = version;
      wishes.ciphers = "ALL:@SECLEVEL=0";
      const tls_client client{server.port(), wishes};
      CHECK(client.established() == (version >= TLS1_2_VERSION));
      if (!client.established()) CHECK(client.failure() == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
    }
    CHECK(eventually([&] { return tls_of(server).failed == 2; }));
    CHECK(eventually([&] { return tls_of(server).handshakes == 2; }));
  }

  TEST_CASE("of TLS 1.2 only ciphers with forward secrecy and authenticated encryption") {
    tls_fixture made;
    skein::server_options options;
    options.tls =
        made.with({}, {.common_name = "localhost", .alternative_names = {"DNS:localhost"}, .rsa = true});
    test_server server{quiet_options(), options};
    auto wishes = made.trusting();
    wishes.max_version = TLS1_2_VERSION;
    for (const auto* const refused : {"AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA",
                                      "DHE-RSA-AES128-GCM-SHA256"}) {
      CAPTURE(refused);
      wishes.ciphers = refused;
      const tls_client client{server.port(), wishes};
      CHECK_FALSE(client.established());
      CHECK(client.failure() == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE);
    }
    for (const auto* const taken :
         {"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"}) {
      CAPTURE(taken);
      wishes.ciphers = taken;
      const tls_client client{server.port(), wishes};
      REQUIRE(client.established());
      CHECK(client.cipher() == taken);
    }
  }

  TEST_CASE("a client is shown the certificate for the name it asks for") {
    tls_fixture made;
    skein::server_options options;
    options.tls = made.with({}, {.common_name = "first", .alternative_names = {"DNS:a.example"}});
    options.tls = made.with(
        options.tls, {.common_name = "second", .alternative_names = {"DNS:b.example", "DNS:c.example"}});
    options.tls = made.with(options.tls,
                            {.common_name = "third", .alternative_names = {"DNS:*.d.example"}, .rsa = true});
    test_server server{quiet_options(), options};
    const std::vector<std::pair<std::string, std::string>> expected{
        {"a.example", "first"}, {"b.example", "second"},    {"C.Example", "second"}, {"x.d.example", "third"},
        {"d.example", "first"}, {"x.y.d.example", "first"}, {"z.example", "first"},  {"", "first"}};
    for (const auto& [name, shown] : expected) {
      for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        CAPTURE(name);
        tls_wishes wishes;
        wishes.server_name = name;
        wishes.max_version = version;
        const tls_client client{server.port(), wishes};
        REQUIRE(client.established());
        CHECK(client.server_common_name() == shown);
      }
    }
  }

  TEST_CASE("the chain between the certificate and the root is sent") {
    tls_fixture made;
    const auto middle = made.root.vouch_for("in between");
    skein::server_options options;
    options.tls =
        made.with({}, {.common_name = "localhost", .alternative_names = {"DNS:localhost"}}, &middle);
    test_server server{quiet_options(), options};
    const tls_client client{server.port(), made.trusting()};
    CHECK(client.established());
    CHECK(client.server_chain_length() == 2);
  }

  TEST_CASE("ALPN: http/1.1 is agreed on, other protocols alone are refused") {
    tls_fixture made;
    test_server server{quiet_options(), made.server_options()};
    auto wishes = made.trusting();
    wishes.protocols = "\x02h2\x08http/1.1";
    const tls_client both{server.port(), wishes};
    CHECK(both.established());
    CHECK(both.protocol() == "http/1.1");
    wishes.protocols = "\x02h2";
    const tls_client neither{server.port(), wishes};
    CHECK_FALSE(neither.established());
    CHECK(neither.failure() == SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
  }

  TEST_CASE("mutual TLS: only who has a certificate of the authority gets in, as whom it names") {
    tls_fixture made;
    const authority clients{"clients"};
    const authority strangers{"strangers"};
    const authority pretenders{"clients"};
    auto options = made.server_options();
    options.tls.client_ca_file = made.folder.write("clients.crt", clients.certificate());
    test_server server{quiet_options(), options, add_certificate_routes};
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      CAPTURE(version);
      auto wishes = made.trusting();
      wishes.max_version = version;
      const auto none = refusal_of(server, wishes);
      CHECK((none == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED || none == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE));
      wishes.own = strangers.issue({.common_name = "ada", .for_client = true});
      CHECK(refusal_of(server, wishes) == SSL_R_TLSV1_ALERT_UNKNOWN_CA);
      wishes.own = pretenders.issue({.common_name = "ada", .for_client = true});
      CHECK(refusal_of(server, wishes) == SSL_R_TLSV1_ALERT_DECRYPT_ERROR);
      wishes.own = clients.issue({.common_name = "ada", .for_client = true, .expired = true});
      CHECK(refusal_of(server, wishes) == SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED);
      wishes.own = clients.issue({.common_name = "ada"});  // a server's
      CHECK(refusal_of(server, wishes) != 0);

      wishes.own = clients.issue({.common_name = "ada", .for_client = true});
      CHECK(said(server, wishes) == "CN=ada as 'ada'");
      wishes.own = clients.vouch_for("a department").issue({.common_name = "ada", .for_client = true});
      CHECK(said(server, wishes) == "CN=ada as 'ada'");
      wishes.own = clients.issue({.common_name = "ada",
                                  .alternative_names = {"email:ada@example.org", "URI:spiffe://example/ada"},
                                  .for_client = true});
      CHECK(said(server, wishes) == "CN=ada as 'spiffe://example/ada'");
      CHECK(said(server, wishes, "/clerks") == "403");
      wishes.own = clients.issue({.common_name = "clerk", .for_client = true});
      CHECK(said(server, wishes, "/clerks") == "CN=clerk as 'a clerk'");
    }
  }

  TEST_CASE("a certificate may be optional, but not wrong") {
    tls_fixture made;
    const authority clients{"clients"};
    auto options = made.server_options();
    options.tls.client_ca_file = made.folder.write("clients.crt", clients.certificate());
    options.tls.client_certificate_required = false;
    test_server server{quiet_options(), options, add_certificate_routes};
    auto wishes = made.trusting();
    CHECK(said(server, wishes) == "none as ''");
    CHECK(said(server, wishes, "/clerks") == "403");
    wishes.own = clients.issue({.common_name = "ada", .for_client = true});
    CHECK(said(server, wishes) == "CN=ada as 'ada'");
    wishes.own = authority{"others"}.issue({.common_name = "ada", .for_client = true});
    CHECK(refusal_of(server, wishes) == SSL_R_TLSV1_ALERT_UNKNOWN_CA);
  }

  TEST_CASE("a token says more than a certificate, and a certificate more than nothing") {
    tls_fixture made;
    const authority clients{"clients"};
    token_server one{[&](skein::token_options&, skein::server_options& where) {
      where.tls = made.server_options().tls;
      where.tls.client_ca_file = made.folder.write("clients.crt", clients.certificate());
      where.tls.client_certificate_required = false;
    }};
    const auto who = [&](const tls_wishes& wishes, const std::string& headers) {
      tls_client client{one.server.port(), wishes};
      const auto answer = client.open("/who", headers);
      if (answer.status != 101) return std::to_string(answer.status);
      const auto got = client.read_message();
      return got ? got->payload : "nothing"s;
    };
    auto wishes = made.trusting();
    CHECK(who(wishes, "") == "401");
    CHECK(who(wishes, bearer(token_for("bob"))) == "you are bob");
    wishes.own = clients.issue({.common_name = "ada", .for_client = true});
    CHECK(who(wishes, "") == "you are ada");
    CHECK(who(wishes, bearer(token_for("bob"))) == "you are bob");
    CHECK(who(wishes, bearer(forged_token())) == "401");
  }

  TEST_CASE("what a certificate says of its user no token renews") {
    tls_fixture made;
    const authority clients{"clients"};
    const token_server one{[&](skein::token_options&, skein::server_options& where) {
      where.tls = made.server_options().tls;
      where.tls.client_ca_file = made.folder.write("clients.crt", clients.certificate());
    }};
    auto wishes = made.trusting();
    wishes.own = clients.issue({.common_name = "ada", .for_client = true});
    const auto renewed = [&](const std::string& headers) {
      tls_client client{one.server.port(), wishes};
      REQUIRE(client.open("/renew", headers).status == 101);
      client.send(text_frame(token_for("ada", 600)));
      const auto got = client.read_message();
      return got ? got->payload : "nothing"s;
    };
    const auto number = [](skein::token_status what) { return std::to_string(static_cast<int>(what)); };
    CHECK(renewed("") == number(skein::token_status::other_user));
    CHECK(renewed(bearer(token_for("ada"))) == number(skein::token_status::good));
  }

  TEST_CASE("a handler sees the certificate beside a token, and beside what a proxy reports") {
    tls_fixture made;
    const authority clients{"clients"};
    token_server one{[&](skein::token_options&, skein::server_options& where) {
                       where.tls = made.server_options().tls;
                       where.tls.client_ca_file = made.folder.write("clients.crt", clients.certificate());
                       where.proxies.trusted = {"127.0.0.1"};
                     },
                     [](skein::server& to) {
                       to.route("/certificate", say_certificate);
                       skein::route_options options;
                       options.authenticator = only_clerks;
                       to.route("/clerks", say_certificate, std::move(options));
                     }};
    auto wishes = made.trusting();
    wishes.own = clients.issue({.common_name = "clerk", .for_client = true});
    const auto told = [&](const std::string& headers, std::string_view path) {
      tls_client client{one.server.port(), wishes};
      REQUIRE(client.open(path, headers).status == 101);
      return client.read_message()->payload;
    };
    const auto forwarded = "X-Forwarded-For: 192.0.2.1\r\n"s;
    CHECK(told(bearer(token_for("bob")), "/certificate") == "CN=clerk as 'bob'");
    CHECK(told(bearer(token_for("bob")) + forwarded, "/certificate") == "CN=clerk as 'bob'");
    CHECK(told(forwarded, "/certificate") == "CN=clerk as 'clerk'");
    CHECK(told(forwarded, "/clerks") == "CN=clerk as 'a clerk'");
  }

  TEST_CASE("where nobody may be anonymous, certificates are enough to know them by") {
    tls_fixture made;
    const authority clients{"clients"};
    auto options = made.server_options();
    options.require_authentication = true;
    options.tls.client_ca_file = made.folder.write("clients.crt", clients.certificate());
    options.tls.client_certificate_required = false;
    test_server server{quiet_options(), options,
                       [](skein::server& to) { to.route("/who", say_certificate); }};
    auto wishes = made.trusting();
    CHECK(said(server, wishes) == "401");
    wishes.own = clients.issue({.common_name = "ada", .for_client = true});
    CHECK(said(server, wishes) == "CN=ada as 'ada'");
  }

  TEST_CASE("a session is taken up again, with who the client is") {
    tls_fixture made;
    const authority clients{"clients"};
    auto options = made.server_options();
    options.tls =
        made.with(options.tls, {.common_name = "other", .alternative_names = {"DNS:other.example"}});
    options.tls.client_ca_file = made.folder.write("clients.crt", clients.certificate());
    test_server server{quiet_options(), options, add_certificate_routes};
    std::uint64_t resumed = 0;
    for (const std::string name : {"localhost", "other.example"}) {
      for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        CAPTURE(version);
        auto wishes = made.trusting();
        wishes.server_name = name;
        wishes.max_version = version;
        wishes.own = clients.issue({.common_name = "ada", .for_client = true});
        tls_client first{server.port(), wishes};
        REQUIRE(first.open("/who").status == 101);
        CHECK_FALSE(first.resumed());
        wishes.ticket = first.ticket();
        REQUIRE(wishes.ticket);
        wishes.own = {};
        tls_client second{server.port(), wishes};
        REQUIRE(second.open("/who").status == 101);
        CHECK(second.resumed());
        CHECK(second.read_message()->payload == "CN=ada as 'ada'");
        CHECK(tls_of(server).resumed == ++resumed);
      }
    }
  }

  TEST_CASE("a certificate gets nobody in once it has expired, shown or behind a ticket") {
    tls_fixture made;
    const authority clients{"clients"};
    const std::chrono::sys_seconds begin{std::chrono::seconds{long_ago}};
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      CAPTURE(version);
      const auto time = std::make_shared<skein::testing::virtual_clock>();
      auto manager = quiet_options();
      manager.time = time;
      auto options = made.server_options();
      options.tls.client_ca_file = made.folder.write("clients.crt", clients.certificate());
      test_server server{manager, options, add_certificate_routes};
      auto wishes = made.trusting();
      wishes.max_version = version;
      wishes.own = clients.issue({.common_name = "ada", .for_client = true, .not_after = begin + 100s});
      auto shown = wishes;
      tls_client first{server.port(), wishes};
      REQUIRE(first.open().status == 101);
      wishes.ticket = first.ticket();
      wishes.own = {};
      time->advance(100s - 1ns);
      tls_client second{server.port(), wishes};
      REQUIRE(second.open().status == 101);
      CHECK(second.resumed());
      CHECK(is_open(second));
      time->advance(1ns);
      for (auto* const each : {&first, &second}) {
        const auto last = each->read_frame();
        REQUIRE(last);
        CHECK(close_code_of(last->payload) == 4001);
      }
      CHECK(server.stats().token_expiries == 2);
      CHECK(refusal_of(server, wishes) != 0);
      const tls_client third{server.port(), shown};  // what OpenSSL has found good
      CHECK(eventually([&] { return tls_of(server).failed == 2; }));
      CHECK(tls_of(server).handshakes == 2);
    }
  }

  TEST_CASE("a ticket stands for a certificate for five minutes, however often it is renewed") {
    tls_fixture made;
    const authority clients{"clients"};
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      CAPTURE(version);
      const auto time = std::make_shared<skein::testing::virtual_clock>();
      auto manager = quiet_options();
      manager.time = time;
      auto options = made.server_options();
      options.tls.client_ca_file = made.folder.write("clients.crt", clients.certificate());
      test_server server{manager, options, add_certificate_routes};
      auto wishes = made.trusting();
      wishes.max_version = version;
      const auto own = clients.issue({.common_name = "ada", .for_client = true});
      wishes.own = own;
      // OpenSSL's clients of TLS 1.2 forget a session that ended without a word.
      std::vector<std::unique_ptr<tls_client>> kept;
      const auto comes = [&](bool with_ticket) {
        auto& client = *kept.emplace_back(std::make_unique<tls_client>(server.port(), wishes));
        if (!client.established() || client.open().status != 101) return false;
        CHECK(client.resumed() == with_ticket);
        CHECK(is_open(client));
        if (client.ticket()) wishes.ticket = client.ticket();
        return true;
      };
      REQUIRE(comes(false));
      wishes.own = {};
      for (int i = 0; i < 2; ++i) {
        time->advance(150s - 1ns);
        REQUIRE(comes(true));
      }
      time->advance(2ns);
      CHECK(refusal_of(server, wishes) != 0);
      wishes.own = own;
      CHECK(comes(false));
      wishes.own = {};
      CHECK(comes(true));
    }
  }

  TEST_CASE("there is no renegotiation") {
    tls_fixture made;
    test_server server{quiet_options(), made.server_options()};
    auto wishes = made.trusting();
    wishes.max_version = TLS1_2_VERSION;
    tls_client client{server.port(), wishes};
    REQUIRE(client.open().status == 101);
    CHECK_FALSE(client.renegotiates());
    CHECK(client.failure() == SSL_R_NO_RENEGOTIATION);
    CHECK(serves(server, made));
  }

  TEST_CASE("a handshake of one byte now and then ends at the deadline") {
    tls_fixture made;
    auto options = made.server_options();
    options.handshake_timeout = 400ms;
    test_server server{quiet_options(), options};
    raw_client client{server.port()};
    const auto begun = std::chrono::steady_clock::now();
    // The beginning of a ClientHello of 512 bytes that never comes.
    std::string hello{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11};
    hello.append(500, 'r');
    for (std::size_t i = 0; i < hello.size() && !client.readable_within(20ms); ++i)
      client.send(hello.substr(i, 1));
    CHECK(client.read_to_end() != stream_end::open);
    const auto took = std::chrono::steady_clock::now() - begun;
    CHECK(took >= 390ms);
    CHECK(took < 10s);
    CHECK(tls_of(server).timed_out == 1);
    CHECK(serves(server, made));
  }

  TEST_CASE("a byte of TLS that comes in the very turn of the deadline gains no time") {
    tls_fixture made;
    asio::io_context context{2};
    const auto time = std::make_shared<skein::testing::virtual_clock>();
    auto options = quiet_options();
    options.shards = 1;
    options.time = time;
    const auto hub = skein::make_manager(context.get_executor(), options);
    auto where = made.server_options();
    where.port = 0;
    skein::server serving{hub, where};
    serving.start();
    raw_client peer{serving.port()};
    while (hub->stats().handshaking == 0) context.run_one();
    context.poll();
    const auto other = skein::testing::connect(*hub, echo);
    asio::post(other->other_end()->executor(), [&] {
      time->advance(5s);      // the deadline waits for the end of this function,
      peer.send("\x16\x03");  // and this stands behind it
      std::thread{[&context] { context.poll(); }}.join();
    });
    CHECK(eventually([&] {
      context.poll();
      return hub->stats().handshaking == 0;
    }));
    CHECK(hub->stats().tls.timed_out == 1);
  }

  TEST_CASE("TLS and the first request share one deadline, to the nanosecond") {
    tls_fixture made;
    const auto time = std::make_shared<skein::testing::virtual_clock>();
    auto manager = quiet_options();
    manager.time = time;
    auto options = made.server_options();
    test_server server{manager, options};
    raw_client silent{server.port()};
    REQUIRE(eventually([&] { return server.stats().handshaking == 1; }));
    time->advance(3s);
    tls_client slow{server.port(), made.trusting()};  // begins now
    REQUIRE(slow.established());
    REQUIRE(eventually([&] { return tls_of(server).handshakes == 1; }));  // the server's side of it too
    time->advance(2s - 1ns);
    CHECK(tls_of(server).timed_out == 0);
    time->advance(1ns);
    CHECK(silent.read_to_end() == stream_end::closed);
    CHECK(tls_of(server).timed_out == 1);
    slow.send("GET /echo HTTP/1.1\r\n");
    time->advance(3s - 1ns);
    CHECK(server.stats().handshaking >= 1);
    CHECK(refused(server, skein::refusal_reason::timeout) == 0);
    time->advance(1ns);
    CHECK(slow.read_answer().status == 408);
    CHECK(refused(server, skein::refusal_reason::timeout) == 1);
  }

  TEST_CASE("plain HTTP on the port of TLS is told so") {
    tls_fixture made;
    test_server server{quiet_options(), made.server_options()};
    raw_client client{server.port()};
    CHECK(client.open().status == 400);
    CHECK(client.read_to_end() == stream_end::closed);
    CHECK(tls_of(server).failed == 1);
    CHECK(serves(server, made));
  }

  TEST_CASE("garbage, and peers that go away, are counted and harm nobody") {
    tls_fixture made;
    test_server server{quiet_options(), made.server_options()};
    std::uint64_t failed = 0;
    for (const auto& garbage :
         {"\x16\x03\x01\x40\x01"s, std::string(100, '\xff'), std::string(100, '\0'),
          "\x15\x03\x03\x00\x02\x02\x28"s, "\x16\x03\x01\x00\x04\x01\xff\xff\xff"s, ""s}) {
      raw_client client{server.port()};
      client.send(garbage);
      client.finish_sending();
      CHECK(client.read_to_end() == stream_end::closed);
      CHECK(eventually([&] { return tls_of(server).failed == failed + 1; }));
      ++failed;
    }
    raw_client gone{server.port()};
    gone.send("\x16\x03");
    gone.reset();
    CHECK(eventually([&] { return tls_of(server).failed == failed + 1; }));
    CHECK(serves(server, made));
  }

  TEST_CASE("a server that stops does not wait for handshakes, and counts none of them as failed") {
    tls_fixture made;
    auto where = made.server_options();
    where.port = 0;
    const auto hub = skein::make_manager(quiet_options());
    skein::server server{hub, where};
    server.start();
    raw_client silent{server.port()};
    REQUIRE(eventually([&] { return hub->stats().handshaking == 1; }));
    server.stop();
    CHECK(silent.read_to_end() == stream_end::closed);
    CHECK(eventually([&] { return hub->stats().handshaking == 0; }));
    CHECK(hub->stats().tls.failed == 0);
    CHECK(hub->stats().tls.timed_out == 0);
  }

  TEST_CASE("handshakes in flight are bounded; who comes later waits for the others' deadline") {
    tls_fixture made;
    auto manager = quiet_options();
    manager.shards = 1;
    auto options = made.server_options();
    options.max_handshakes = 2;
    options.clients.handshakes_per_address = 0;
    options.handshake_timeout = 400ms;
    test_server server{manager, options};
    const raw_client first{server.port()};
    const raw_client second{server.port()};
    REQUIRE(eventually([&] { return server.stats().handshaking == 2; }));
    CHECK(serves(server, made));
    CHECK(tls_of(server).timed_out >= 1);
  }
}
