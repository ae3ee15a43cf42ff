// Who may connect with which token, and for how long.

#include "tokens.hpp"

#include <boost/json/serialize.hpp>

#include <doctest/doctest.h>

#include <mutex>
#include <vector>

namespace asio = boost::asio;
using namespace skein::test;
using namespace std::string_literals;
using skein::close_code;
using skein::refusal_reason;

namespace {

std::string auth_message(const std::string& token) {
  return text_frame(R"({"type":"auth","token":")" + token + R"("})");
}

std::string first_text(raw_client& client) {
  const auto got = client.read_message();
  return got && got->opcode == op::text ? got->payload : "nothing";
}

asio::awaitable<void> echo_texts(skein::connection& client) {
  while (auto got = co_await client.read()) co_await client.write(std::move(*got));
}

const auto with_first_message = [](skein::token_options& tokens, skein::server_options&) {
  tokens.places.first_message = true;
};

}  // namespace

TEST_SUITE("tokens") {
  TEST_CASE("a token in the Authorization header says who a client is") {
    token_server one;
    raw_client client{one.server.port()};
    REQUIRE(client.open("/who", bearer(token_for("ada"))).status == 101);
    CHECK(first_text(client) == "you are ada");
    CHECK(one.tokens->stats().good == 1);
    CHECK(one.status("authorization: bEARER   " + token_for("ada") + "  \r\n") == 101);
  }

  TEST_CASE("without a token, or with a bad one, the answer is 401 and says nothing else") {
    token_server one;
    const auto nobody = ask(one.server, upgrade_request("/who"));
    CHECK(nobody.status == 401);
    CHECK(nobody.header("WWW-Authenticate") == "Bearer");
    for (const auto& bad : {forged_token(), token_for("ada", 0), "x"s, ""s, token_for("ada") + "x"}) {
      CAPTURE(bad);
      const auto answer = ask(one.server, upgrade_request("/who", bearer(bad)));
      CHECK(answer.status == 401);
      CHECK(answer.header("WWW-Authenticate") == R"(Bearer error="invalid_token")");
      CHECK(answer.body == "the token was refused\n");
    }
    CHECK(one.status("Authorization: Basic YWRhOmFkYQ==\r\n") == 401);
    CHECK(refused(one.server, refusal_reason::authentication) == 7);
    CHECK(one.tokens->stats().refused == 5);
  }

  TEST_CASE("a browser offers its token as a subprotocol, which is never the one that is chosen") {
    token_server one{{}, [](skein::server& server) {
                       skein::route_options how;
                       how.subprotocols = {"chat.v1"};
                       server.route("/chat", say_subprotocol, std::move(how));
                     }};
    const auto token = "skein.jwt." + token_for("ada");
    const auto chosen = [&](std::string_view path, const std::string& offered) {
      const auto answer =
          ask(one.server, upgrade_request(path, "Sec-WebSocket-Protocol: " + offered + "\r\n"));
      CHECK(answer.status == 101);
      return answer.header("Sec-WebSocket-Protocol");
    };
    CHECK(chosen("/chat", "chat.v1, " + token) == "chat.v1");
    CHECK(chosen("/chat", token + ",chat.v1,skein.auth") == "chat.v1");
    CHECK(chosen("/who", "skein.auth, " + token) == "skein.auth");
    CHECK(chosen("/who", token) == "");
    CHECK(one.status("Sec-WebSocket-Protocol: skein.auth, skein.jwt." + forged_token() + "\r\n") == 401);
    CHECK(one.status("Sec-WebSocket-Protocol: skein.auth\r\n") == 401);
  }

  TEST_CASE("a cookie counts only for pages of an origin that is listed") {
    token_server one{[](skein::token_options& tokens, skein::server_options& where) {
      tokens.places.cookie = "session";
      where.origin.allowed = {"https://a.example", "*"};
    }};
    const auto cookie = "Cookie: theme=dark; session=" + token_for("ada") + "; x=y\r\n";
    CHECK(one.status("Origin: https://a.example\r\n" + cookie) == 101);
    CHECK(one.status("Origin: https://b.example\r\n" + cookie) == 401);
    CHECK(one.status(cookie) == 401);
    CHECK(one.status("Origin: https://a.example\r\nCookie: session=" + forged_token() + "\r\n") == 401);
    CHECK(one.status("Origin: https://a.example\r\nCookie: SESSION=" + token_for("ada") + "\r\n") == 401);
    // A browser sends its cookies with every request: another token goes before, and is no second one.
    CHECK(one.status("Origin: https://a.example\r\n" + cookie + bearer(token_for("bob"))) == 101);
    token_server off{[](skein::token_options&, skein::server_options& where) {
      where.origin.allowed = {"https://a.example"};
    }};
    CHECK(off.status("Origin: https://a.example\r\n" + cookie) == 401);
  }

  TEST_CASE("a query parameter counts only where it is switched on") {
    const auto path = "/who?a=b&tok%65n=" + token_for("ada");
    token_server off;
    CHECK(off.status("", path) == 401);
    token_server on{
        [](skein::token_options& tokens, skein::server_options&) { tokens.places.query = "token"; }};
    CHECK(on.status("", path) == 101);
    CHECK(on.status("", "/who?token=" + forged_token()) == 401);
  }

  TEST_CASE("handlers, and what they log, never see a token") {
    const auto all = [](skein::token_options& tokens, skein::server_options& where) {
      tokens.places.query = "token";
      tokens.places.cookie = "session";
      where.origin.allowed = {"https://a.example"};
    };
    token_server one{all, [](skein::server& server) {
                       server.route("/request", [](skein::connection& client) -> asio::awaitable<void> {
                         std::string text{client.request().target()};
                         for (const auto& [name, value] : client.request().headers())
                           text.append("|").append(name).append("=").append(value);
                         co_await client.write(skein::message::text(std::move(text)));
                       });
                     }};
    const auto seen = [&](std::string_view path, const std::string& headers) {
      raw_client client{one.server.port()};
      CHECK(client.open(path, headers).status == 101);
      return first_text(client);
    };
    const auto token = token_for("ada");
    const auto query = seen("/request?a=b&token=" + token + "&c=d", "");
    CHECK(query.starts_with("/request?a=b&token=-&c=d|"));
    for (const auto& text :
         {query, seen("/request", bearer(token)),
          seen("/request", "Sec-WebSocket-Protocol: skein.auth, skein.jwt." + token + "\r\n"),
          seen("/request", "Origin: https://a.example\r\nCookie: a=b; session=" + token + "\r\n")})
      CHECK(text.find(token.substr(token.size() - 20)) == std::string::npos);
    CHECK(ask(one.server, get("/ws/stats")).body.find(token.substr(0, 20)) == std::string::npos);
  }

  TEST_CASE("two tokens are one too many") {
    token_server one;
    CHECK(one.status(bearer(token_for("ada")) + bearer(token_for("ada"))) == 400);
    CHECK(one.status(bearer(token_for("ada")) + "Sec-WebSocket-Protocol: skein.jwt." + token_for("ada") +
                     "\r\n") == 400);
  }

  TEST_CASE("anonymous clients are let in only where a route says so") {
    const auto routes = [](skein::server& server) {
      skein::route_options open;
      open.anonymous = true;
      server.route("/open", say_who_then_echo, open);
      skein::route_options own;
      own.authenticator = [](const skein::request&) -> asio::awaitable<skein::admission> {
        co_return skein::identity{};
      };
      server.route("/own", say_who_then_echo, own);
    };
    token_server one{{}, routes};
    CHECK(one.status("", "/open") == 101);
    CHECK(one.status("", "/own") == 401);  // its authenticator found nobody
    // Whoever says who they are must be right, even there.
    CHECK(one.status(bearer(forged_token()), "/open") == 401);
    raw_client ada{one.server.port()};
    REQUIRE(ada.open("/open", bearer(token_for("ada"))).status == 101);
    CHECK(first_text(ada) == "you are ada");

    token_server lax{
        [](skein::token_options&, skein::server_options& where) { where.require_authentication = false; },
        [](skein::server& server) {
          skein::route_options strict;
          strict.anonymous = false;
          server.route("/strict", say_who_then_echo, strict);
        }};
    CHECK(lax.status("") == 101);
    CHECK(lax.status("", "/strict") == 401);
    CHECK(ask(one.server, get("/healthz")).status == 200);
  }

  TEST_CASE("a server that requires what nothing can give does not start") {
    skein::server_options where;
    where.require_authentication = true;
    skein::server one{skein::make_manager(quiet_options()), where};
    CHECK_THROWS_AS(one.route("/echo", echo), std::invalid_argument);
    skein::route_options open;
    open.anonymous = true;
    CHECK_NOTHROW(one.route("/open", echo, open));
  }

  TEST_CASE("a connection ends 25 seconds after its token, not a moment before") {
    token_server one;
    raw_client client{one.server.port()};
    REQUIRE(client.open("/who", bearer(token_for("ada", 60))).status == 101);
    CHECK(first_text(client) == "you are ada");
    one.time->advance(60s + 25s - 1ms);
    CHECK(is_open(client));
    one.time->advance(1ms);
    const auto end = client.read_message();
    REQUIRE(end);
    CHECK(end->opcode == op::close);
    CHECK(close_code_of(end->payload) == 4001);
    CHECK(end->payload.substr(2) == "token expired");
    client.send(close_frame(4001));
    CHECK(client.read_to_end() == stream_end::closed);
    CHECK(one.server.stats().token_expiries == 1);
  }

  TEST_CASE("a token that is good for ever does not end its connection") {
    token_server one;
    raw_client client{one.server.port()};
    REQUIRE(client.open("/who", bearer(token_for("ada", 250'000'000'000))).status ==
            101);  // in the year 9952
    CHECK(first_text(client) == "you are ada");
    one.time->advance(24h * 365);
    CHECK(is_open(client));
  }

  TEST_CASE("a token that is twice in the query is ambiguous") {
    const token_server one{
        [](skein::token_options& tokens, skein::server_options&) { tokens.places.query = "token"; }};
    const auto ada = token_for("ada");
    CHECK(one.status("", "/who?token=" + ada) == 101);
    CHECK(one.status("", "/who?a=b&token=" + ada + "&c=d") == 101);
    CHECK(one.status("", "/who?token=" + ada + "&token=" + token_for("bob")) == 400);
    CHECK(one.status("", "/who?token=" + ada + "&tok%65n=" + ada) == 400);
    CHECK(one.status("", "/who?token=" + ada + "&token") == 400);
    CHECK(one.status("", "/who?tokens=" + ada) == 401);
  }

  TEST_CASE("users of several issuers can be told apart") {
    const auto of = [](const std::string& issuer) {
      return jwt_test::signed_token(
          skein::jwt_algorithm::hs256, R"({"alg":"HS256"})",
          R"({"sub":"ada","iss":")" + issuer + R"(","exp":)" + std::to_string(long_ago + 60) + "}");
    };
    const token_server one{[](skein::token_options& tokens, skein::server_options&) {
      tokens.user = skein::token_user::issuer_and_subject;
      tokens.jwt.issuers = {"https://a.example", "https://b.example"};
    }};
    for (const std::string issuer : {"https://a.example", "https://b.example"}) {
      raw_client client{one.server.port()};
      REQUIRE(client.open("/who", bearer(of(issuer))).status == 101);
      CHECK(first_text(client) == "you are " + issuer + " ada");
    }
  }

  TEST_CASE("a newer token of the same user renews a connection in place") {
    token_server one;
    raw_client client{one.server.port()};
    REQUIRE(client.open("/renew", bearer(token_for("ada", 60))).status == 101);
    const auto refresh = [&](const std::string& token) {
      client.send(text_frame(token));
      return first_text(client);
    };
    one.time->advance(80s);  // in the grace
    CHECK(refresh(forged_token()) == "2");
    CHECK(refresh(token_for("bob", 200)) == "3");
    CHECK(refresh(token_for("ada", 120)) == "1");
    one.time->advance(120s - 80s + 25s - 1ms);
    CHECK(refresh(token_for("ada", 300)) == "1");
    CHECK(refresh(token_for("ada", 200)) == "1");  // the last one counts, even if it ends sooner
    one.time->advance(200s - 145s + 25s + 1ms);
    const auto end = client.read_message();
    REQUIRE(end);
    CHECK(close_code_of(end->payload) == 4001);
  }

  TEST_CASE("the first message may bring the token, and only then is anything sent") {
    token_server one{with_first_message};
    raw_client client{one.server.port()};
    REQUIRE(client.open("/who").status == 101);
    CHECK(eventually([&] { return one.server.stats().active == 1; }));
    // Whoever has not said who they are gets no broadcast, and nobody is told of them.
    const auto report = await(one.server.manager().broadcast(skein::message::text("secret")));
    CHECK(report.matched == 0);
    CHECK(one.server.opened().empty());
    client.send(auth_message(token_for("ada", 60)) + text_frame("hello"));
    CHECK(first_text(client) ==
          R"({"type":"authenticated","user":"ada","expires_at":)" + std::to_string(long_ago + 85) + "}");
    CHECK(first_text(client) == "you are ada");
    CHECK(first_text(client) == "hello");
    CHECK(one.server.opened().size() == 1);
    CHECK(await(one.server.manager().broadcast(skein::message::text("news"))).matched == 1);
    CHECK(first_text(client) == "news");
    one.time->advance(85s);
    const auto end = client.read_message();
    REQUIRE(end);
    CHECK(close_code_of(end->payload) == 4001);
  }

  TEST_CASE("what comes behind the first message is judged as that of the user who it turns out to be") {
    token_server one{with_first_message, [](skein::server& server) {
                       skein::route_options how;
                       how.validator = std::make_shared<skein::json_validator>(
                           skein::schema::object().required("n", skein::schema::integer()));
                       server.route("/strict", echo_texts, std::move(how));
                     }};
    raw_client client{one.server.port()};
    REQUIRE(client.open("/strict").status == 101);
    client.send(auth_message(token_for("ada")) + text_frame(R"({"n":"bad"})") + text_frame(R"({"n":1})"));
    CHECK(first_text(client).starts_with(R"({"type":"authenticated")"));
    CHECK(first_text(client).find(R"("type":"error")") != std::string::npos);
    CHECK(first_text(client) == R"({"n":1})");
    CHECK(one.server.stats().invalid == 1);
  }

  TEST_CASE("a token in the handshake needs no first message, and a bad one is not asked for again") {
    token_server one{with_first_message};
    raw_client client{one.server.port()};
    REQUIRE(client.open("/who", bearer(token_for("ada"))).status == 101);
    CHECK(first_text(client) == "you are ada");
    CHECK(one.status(bearer(forged_token())) == 401);
  }

  TEST_CASE("a first message that is anything else ends the connection") {
    token_server one{with_first_message};
    struct row {
      std::string sent;
      int code;
    };
    const auto good = token_for("ada");
    const std::vector<row> rows{
        {text_frame("hello"), 1008},
        {text_frame(""), 1008},
        {binary_frame(R"({"type":"auth","token":")" + good + R"("})"), 1008},
        {text_frame(R"({"type":"auth"})"), 1008},
        {text_frame(R"({"type":"auth","token":1})"), 1008},
        {text_frame(R"({"type":"subscribe","token":")" + good + R"("})"), 1008},
        {text_frame(R"({"type":"auth","more":1,"token":")" + good + R"("})"), 1008},
        {text_frame(R"([[[[[[[[{"type":"auth"}]]]]]]]])"), 1008},
        {auth_message(""), 4001},
        {auth_message(forged_token()), 4001},
        {auth_message(token_for("ada", 0)), 4001},
    };
    for (const auto& [sent, code] : rows) {
      CAPTURE(sent);
      raw_client client{one.server.port()};
      REQUIRE(client.open("/who").status == 101);
      client.send(sent + auth_message(good));  // too late
      const auto got = client.read_message();
      REQUIRE(got);
      REQUIRE(got->opcode == op::close);
      CHECK(static_cast<int>(close_code_of(got->payload)) == code);
    }
    CHECK(refused(one.server, refusal_reason::authentication) == rows.size());
    CHECK(one.server.opened().empty());
    CHECK(one.server.closed().empty());
  }

  TEST_CASE("those whose token is still to come do not take the places of those who have one") {
    token_server one{[](skein::token_options& tokens, skein::server_options& where) {
      tokens.places.first_message = true;
      where.max_unadmitted = 2;
    }};
    raw_client a{one.server.port()}, b{one.server.port()}, c{one.server.port()}, d{one.server.port()};
    CHECK(a.open("/who").status == 101);
    CHECK(b.open("/who").status == 101);
    const auto answer = c.open("/who");
    CHECK(answer.status == 503);
    CHECK(answer.has("Retry-After"));
    CHECK(refused(one.server, skein::refusal_reason::connection_limit) == 1);
    CHECK(one.status(bearer(token_for("ada"))) == 101);
    // A place comes back when the token does, and when it will not.
    a.send(text_frame(R"({"type":"auth","token":")" + token_for("ada") + "\"}"));
    CHECK(a.read_message()->payload.find("authenticated") != std::string::npos);
    CHECK(d.open("/who").status == 101);
    b.reset();
    CHECK(eventually([&] { return one.status("") == 101; }));
  }

  TEST_CASE("they have a quarter of all places, if nothing else is said") {
    const auto hub = [] {
      auto options = quiet_options();
      options.max_connections = 8;
      return options;
    }();
    skein::token_options tokens;
    tokens.keys.push_back(jwt_test::public_key_for(skein::jwt_algorithm::hs256));
    tokens.places.first_message = true;
    skein::server_options where;
    where.require_authentication = true;
    where.tokens = std::make_shared<skein::token_authenticator>(std::move(tokens));
    test_server one{hub, where};
    std::vector<raw_client> clients;
    for (int i = 0; i < 3; ++i)
      CHECK(clients.emplace_back(one.port()).open("/echo").status == (i < 2 ? 101 : 503));
  }

  TEST_CASE("who is not let in is told to the log with the reason, without the token, ten times a second") {
    std::mutex mutex;
    std::vector<std::string> lines;
    const auto last = [&] {
      const std::lock_guard lock{mutex};
      return lines.empty() ? std::string{} : lines.back();
    };
    const auto number = [&] {
      const std::lock_guard lock{mutex};
      return lines.size();
    };
    token_server one{[&](skein::token_options& tokens, skein::server_options& where) {
                       tokens.places.first_message = true;
                       where.on_refusal = [&](std::string_view line) {
                         const std::lock_guard lock{mutex};
                         lines.emplace_back(line);
                       };
                     },
                     [](skein::server& to) {
                       skein::route_options how;
                       how.authenticator = by_token;
                       to.route("/own", echo, how);
                       how.first_message_token = false;
                       how.authenticator = {};
                       to.route("/header", echo, std::move(how));
                     }};
    CHECK(one.status(bearer(forged_token())) == 401);
    CHECK(last().starts_with("refused 127.0.0.1:"));
    CHECK(last().ends_with(" at /who with 401: the signature is wrong"));
    CHECK(last().find(forged_token()) == std::string::npos);
    CHECK(one.status(bearer(token_for("ada", 0))) == 401);
    CHECK(last().ends_with("with 401: the token has expired"));
    CHECK(one.status("", "/header") == 401);
    CHECK(last().ends_with(" at /header with 401: a token is needed"));
    CHECK(one.status("", "/own?token=secret") == 403);
    CHECK(last().ends_with(" at /own with 403: who are you?"));
    CHECK(one.status("Origin: http://a.example/" + std::string(200, 'x') + "\r\n") == 403);
    CHECK(last().ends_with(" with 403: the origin 'http://a.example/" + std::string(83, 'x') +
                           "' may not connect"));
    raw_client late{one.server.port()};
    REQUIRE(late.open("/who").status == 101);
    late.send(auth_message(forged_token()));
    CHECK(late.read_frame());
    CHECK(last().ends_with(" at /who with 4001: the signature is wrong"));
    CHECK(one.status(bearer(token_for("ada"))) == 101);
    CHECK(number() == 6);
    for (int i = 0; i < 9; ++i) CHECK(one.status("", "/header") == 401);
    CHECK(number() == 10);
    one.time->advance(100ms);
    CHECK(one.status("", "/header") == 401);
    CHECK(number() == 11);
    CHECK(last().ends_with(": a token is needed; 5 refusals before it were not logged"));
  }

  TEST_CASE("the statistics have a part for tokens, where there are any") {
    token_server one;
    CHECK(one.status(bearer(token_for("ada"))) == 101);
    CHECK(one.status(bearer(forged_token())) == 401);
    const auto told = boost::json::parse(ask(one.server, get("/ws/stats")).body);
    CHECK(boost::json::serialize(told.at("tokens")) ==
          R"({"good":1,"refused":1,"keys":1,"fetches":0,"failed_fetches":0,"last_fetch":null})");
    test_server none{quiet_options(), {}, with_standard_endpoints};
    CHECK_FALSE(boost::json::parse(ask(none, get("/ws/stats")).body).as_object().contains("tokens"));
  }

  TEST_CASE("a token that does not come within ten seconds is not waited for") {
    token_server one{with_first_message};
    raw_client client{one.server.port()};
    raw_client fast{one.server.port()};
    REQUIRE(client.open("/who").status == 101);
    REQUIRE(fast.open("/who").status == 101);
    CHECK(eventually([&] { return one.server.stats().open == 2; }));
    one.time->advance(10s - 1ms);
    fast.send(auth_message(token_for("ada")));
    CHECK(first_text(fast).starts_with(R"({"type":"authenticated")"));
    CHECK(first_text(fast) == "you are ada");
    one.time->advance(1ms);
    const auto end = client.read_message();
    REQUIRE(end);
    CHECK(close_code_of(end->payload) == 4001);
    CHECK(is_open(fast));
    client.close();
    CHECK(eventually([&] { return refused(one.server, refusal_reason::authentication) == 1; }));
  }
}
