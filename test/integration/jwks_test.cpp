// Keys that are fetched: rotated, withdrawn, and not to be had for a while.

#include "key_server.hpp"
#include "tokens.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <thread>

using namespace skein::test;
using namespace std::string_literals;
using jwt_test::key_for;
using skein::jwt_algorithm;

namespace {

/// A set with these keys; which is 0 or 1, and the key's name is `k0` or `k1`.
std::string set_of(std::initializer_list<unsigned> which) {
  std::string keys;
  for (const auto one : which) {
    keys += (keys.empty() ? "" : ",") + "{\"kid\":\"k"s + std::to_string(one) + "\",\"alg\":\"ES256\"," +
            key_for(jwt_algorithm::es256, one).jwk_members() + "}";
  }
  return R"({"keys":[)" + keys + "]}";
}

std::string token_by(unsigned which, const std::string& kid) {
  return jwt_test::signed_token(jwt_algorithm::es256, R"({"alg":"ES256","kid":")" + kid + "\"}",
                                R"({"sub":"ada","exp":)" + std::to_string(long_ago + 100'000) + "}", which);
}
std::string token_by(unsigned which) {
  return token_by(which, "k" + std::to_string(which));
}

struct jwks_server : token_server {
  explicit jwks_server(const std::string& url, const std::string& ca_file = {},
                       std::chrono::nanoseconds timeout = 5s)
      : token_server([&](skein::token_options& how, skein::server_options& limits) {
          limits.handshake_timeout = 1h;
          how.keys.clear();
          how.jwks.url = url;
          how.jwks.ca_file = ca_file;
          how.jwks.timeout = timeout;
        }) {}
  [[nodiscard]] bool settled(std::uint64_t fetches, std::uint64_t failed) const {
    return eventually([&] {
      const auto now = tokens->stats();
      return now.fetches == fetches && now.failed_fetches == failed;
    });
  }
};

}  // namespace

TEST_SUITE("JWK sets") {
  TEST_CASE("a server fetches its keys when it starts, and once") {
    key_server keys;
    keys.serve(set_of({0}));
    jwks_server one{keys.url()};
    CHECK(eventually([&] { return one.tokens->stats().keys == 1; }));
    for (int i = 0; i < 5; ++i) CHECK(one.status(bearer(token_by(0))) == 101);
    CHECK(keys.asked() == 1);
    CHECK(one.tokens->stats().fetches == 1);
    CHECK(one.tokens->stats().last_fetch == std::chrono::sys_seconds{std::chrono::seconds{long_ago}});
  }

  TEST_CASE("an unknown key is asked for at most once a minute, and then it is known") {
    key_server keys;
    keys.serve(set_of({0}));
    jwks_server one{keys.url()};
    REQUIRE(eventually([&] { return one.tokens->stats().keys == 1; }));
    keys.serve(set_of({0, 1}));  // rotated
    CHECK(one.status(bearer(token_by(1))) == 401);
    one.time->advance(60s - 1ms);
    CHECK(one.status(bearer(token_by(1))) == 401);
    CHECK(keys.asked() == 1);
    one.time->advance(1ms);
    CHECK(one.status(bearer(token_by(1))) == 101);
    CHECK(one.status(bearer(token_by(0))) == 101);
    CHECK(keys.asked() == 2);
    // Names that nobody has do not make it ask again.
    for (int i = 0; i < 20; ++i)
      CHECK(one.status(bearer(token_by(1, "made up " + std::to_string(i)))) == 401);
    CHECK(keys.asked() == 2);
  }

  TEST_CASE("many tokens of an unknown key wait for one fetch") {
    key_server keys;
    keys.serve(set_of({0}));
    jwks_server one{keys.url()};
    REQUIRE(eventually([&] { return one.tokens->stats().keys == 1; }));
    keys.answer_with(key_server::silence);
    one.time->advance(60s);
    std::vector<raw_client> waiting;
    for (int i = 0; i < 10; ++i) {
      waiting.emplace_back(one.server.port());
      waiting.back().send(upgrade_request("/who", bearer(token_by(1))));
    }
    CHECK(eventually([&] { return keys.asked() == 2 && one.server.stats().handshaking == 10; }));
    CHECK(!waiting.back().readable_within(20ms));
    one.time->advance(5s);  // the fetch is given up
    for (auto& each : waiting) CHECK(each.read_answer().status == 401);
    CHECK(keys.asked() == 2);
    CHECK(one.settled(2, 1));
    CHECK(one.status(bearer(token_by(0))) == 101);  // what was known still is
  }

  TEST_CASE("while there has never been a key the answer is 503, and the next attempt comes sooner") {
    key_server keys;
    keys.answer_with("");
    jwks_server one{keys.url()};
    CHECK(one.settled(1, 1));
    const auto answer = ask(one.server, upgrade_request("/who", bearer(token_by(0))));
    CHECK(answer.status == 503);
    CHECK(answer.has("Retry-After"));
    keys.serve(set_of({0}));
    one.time->advance(5s - 1ms);
    CHECK(one.status(bearer(token_by(0))) == 503);
    one.time->advance(1ms);
    CHECK(one.status(bearer(token_by(0))) == 101);
  }

  TEST_CASE("old keys are kept while the set cannot be had, and withdrawn ones go when it can") {
    key_server keys;
    keys.serve(set_of({0, 1}));
    jwks_server one{keys.url()};
    REQUIRE(eventually([&] { return one.tokens->stats().keys == 2; }));
    keys.answer_with("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
    one.time->advance(10min);
    CHECK(one.status(bearer(token_by(0))) == 101);  // begins to fetch, and does not wait
    CHECK(one.settled(2, 1));
    CHECK(one.status(bearer(token_by(1))) == 101);
    keys.serve(set_of({1}));
    one.time->advance(1min);
    CHECK(one.status(bearer(token_by(1))) == 101);
    REQUIRE(eventually([&] { return one.tokens->stats().keys == 1; }));
    CHECK(one.status(bearer(token_by(0))) == 401);
  }

  TEST_CASE("who runs the server has the set fetched at once, behind a fetch that is under way") {
    key_server keys;
    keys.serve(set_of({0}));
    jwks_server one{keys.url()};
    REQUIRE(eventually([&] { return one.tokens->stats().keys == 1; }));
    std::atomic<int> there{0}, missing{0};
    const auto done = [&](bool fetched) { ++(fetched ? there : missing); };
    keys.serve(set_of({1}));
    one.server.server().reload_keys(done);  // in the same instant as the first
    CHECK(eventually([&] { return there == 1; }));
    CHECK(keys.asked() == 2);
    CHECK(one.status(bearer(token_by(0))) == 401);
    CHECK(one.status(bearer(token_by(1))) == 101);

    keys.answer_with("");
    one.server.server().reload_keys(done);
    CHECK(eventually([&] { return missing == 1; }));
    CHECK(one.status(bearer(token_by(1))) == 101);

    keys.answer_with(key_server::silence);
    one.server.server().reload_keys();
    CHECK(eventually([&] { return keys.asked() == 4; }));
    keys.serve(set_of({0}));  // too late for that one
    one.server.server().reload_keys(done);
    one.server.server().reload_keys(done);
    one.time->advance(5s);
    CHECK(eventually([&] { return there == 3; }));
    CHECK(one.status(bearer(token_by(0))) == 101);
    // The two orders share a fetch, or the second has one of its own: both are after they were given.
    CHECK(keys.asked() >= 5);
    CHECK(keys.asked() <= 6);
    CHECK(missing == 1);
  }

  TEST_CASE("keys are not fetched again before the server has started, and without a set not at all") {
    token_server one;
    std::atomic<int> told{0};
    one.server.server().reload_keys([&](bool there) { told += there ? 1 : 100; });
    CHECK(eventually([&] { return told == 1; }));
    skein::server idle{one.server.manager_pointer(), {}};
    CHECK_THROWS_AS(idle.reload_keys(), std::invalid_argument);
  }

  TEST_CASE("an answer that is no JWK set changes nothing") {
    key_server keys;
    keys.serve(set_of({0}));
    jwks_server one{keys.url()};
    REQUIRE(eventually([&] { return one.tokens->stats().keys == 1; }));
    const auto document = set_of({1});
    const auto with_length = [&](std::size_t length, const std::string& body) {
      return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(length) + "\r\n\r\n" + body;
    };
    const std::vector<std::string> answers{
        "",
        "nonsense\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: " + std::to_string(document.size()) + "\r\n\r\n" +
            document,
        "HTTP/1.1 302 Found\r\nLocation: " + keys.url() + "\r\nContent-Length: 0\r\n\r\n",
        with_length(document.size() + 1, document),
        with_length(2, "{}"),
        with_length(11, R"({"keys":[]})"),  // nobody would get in any more
        with_length(28, R"({"keys":[{"kty":"unknown"}]})"),
        with_length(256 * 1024 + 1, document + std::string(256 * 1024 + 1 - document.size(), ' ')),
        "HTTP/1.1 200 OK\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n" + document,
    };
    std::uint64_t failed = 0;
    for (const auto& answer : answers) {
      CAPTURE(answer.substr(0, 60));
      keys.answer_with(answer);
      one.time->advance(1min);
      CHECK(one.status(bearer(token_by(1))) == 401);
      ++failed;
      CHECK(one.settled(1 + failed, failed));
      CHECK(one.status(bearer(token_by(0))) == 101);
    }
    // The largest that may be.
    keys.answer_with(with_length(256 * 1024, document + std::string(256 * 1024 - document.size(), ' ')));
    one.time->advance(1min);
    CHECK(one.status(bearer(token_by(1))) == 101);
  }

  TEST_CASE("a certificate must be signed by somebody who is trusted, and be the host's") {
    key_server keys{key_server::transport::tls};
    keys.serve(set_of({0}));
    {
      jwks_server distrustful{keys.url()};
      CHECK(distrustful.settled(1, 1));
      CHECK(distrustful.status(bearer(token_by(0))) == 503);
    }
    CHECK(keys.asked() == 0);
    {
      jwks_server trusting{keys.url("localhost"), keys.certificate_file()};
      CHECK(eventually([&] { return trusting.tokens->stats().keys == 1; }));
      CHECK(trusting.status(bearer(token_by(0))) == 101);
    }
    {
      jwks_server by_address{keys.url("127.0.0.1"), keys.certificate_file()};
      CHECK(by_address.settled(1, 0));
      CHECK(eventually([&] { return by_address.tokens->stats().keys == 1; }));
    }
    {
      jwks_server other_host{keys.url("127.0.0.2"), keys.certificate_file()};  // not in the certificate
      CHECK(other_host.settled(1, 1));
    }
  }

  TEST_CASE("a server that ends while keys are being fetched leaves nothing behind") {
    key_server keys;
    keys.answer_with(key_server::silence);
    auto one = std::make_unique<jwks_server>(keys.url());
    raw_client waiting{one->server.port()};
    waiting.send(upgrade_request("/who", bearer(token_by(0))));
    CHECK(eventually([&] { return keys.asked() == 1 && one->server.stats().handshaking == 1; }));
    one.reset();
    CHECK(waiting.read_to_end() != stream_end::open);
  }

  TEST_CASE("keys that are configured stay beside those that are fetched") {
    key_server keys;
    keys.serve(set_of({0}));
    token_server one{
        [&](skein::token_options& tokens, skein::server_options&) { tokens.jwks.url = keys.url(); }};
    CHECK(eventually([&] { return one.tokens->stats().keys == 2; }));
    CHECK(one.status(bearer(token_by(0))) == 101);
    CHECK(one.status(bearer(token_for("ada"))) == 101);
  }

  TEST_CASE("without a key, or with an address that may not be asked, there is no authenticator") {
    skein::token_options none;
    CHECK_THROWS_AS(skein::token_authenticator{none}, std::invalid_argument);
    none.jwks.url = "http://id.example/jwks";
    CHECK_THROWS_AS(skein::token_authenticator{none}, std::invalid_argument);
  }
}
