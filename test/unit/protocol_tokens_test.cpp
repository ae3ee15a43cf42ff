// Tokens in the JSON protocol: how long one has, and renewing it in place.

#include "jwt_fixture.hpp"
#include "protocol_fixture.hpp"

#include <boost/asio/detached.hpp>

#include <doctest/doctest.h>

using namespace hub_test;

namespace {

constexpr long long start_of_time = 1'893'456'000;  // 2030-01-01, when a virtual clock begins

std::string token_of(const std::string& user, long long seconds, const std::string& topics,
                     unsigned key = 0) {
  return jwt_test::signed_token(jwt_algorithm::hs256, R"({"alg":"HS256"})",
                                R"({"sub":")" + user + R"(","exp":)" +
                                    std::to_string(start_of_time + seconds) + R"(,"topics":{"subscribe":[)" +
                                    topics + "]}}",
                                key);
}

std::string refresh(const std::string& token) {
  return R"({"type":"refresh","id":1,"token":")" + token + "\"}";
}

struct tokens_fixture {
  explicit tokens_fixture(topic_authorizer authorize = authorize_by_claim())
      : all(parts(tokens, std::move(authorize))) {}
  static protocol_fixture::parts parts(std::shared_ptr<token_authenticator> of, topic_authorizer authorize) {
    protocol_fixture::parts with;
    with.rules = {remembering("news"), topic_rule{">"}};
    with.protocol.tokens = std::move(of);
    with.protocol.authorize = std::move(authorize);
    return with;
  }
  std::shared_ptr<token_authenticator> make() const {
    token_options options;
    options.keys.push_back(jwt_test::public_key_for(jwt_algorithm::hs256));
    options.jwt.clock_skew = std::chrono::seconds{0};
    options.grace = 10s;
    options.time = time;
    return std::make_shared<token_authenticator>(std::move(options));
  }
  asio::awaitable<identity> identify(std::string token) {
    const auto answer = co_await tokens->identify(std::move(token));
    co_return answer.who();
  }
  /// Who has been let in with this token.
  testing::memory_peer& enter(const std::string& token) {
    const auto who = all.start(identify(token));
    REQUIRE(*who);
    all.peers.push_back(testing::connect(*all.hub, all.protocol->handler(), {}, **who));
    all.settle();
    return *all.peers.back();
  }
  void advance(duration by) {
    time->advance(by);
    all.advance(by);
  }

  std::shared_ptr<testing::virtual_clock> time = std::make_shared<testing::virtual_clock>();
  std::shared_ptr<token_authenticator> tokens = make();
  protocol_fixture all;
};

}  // namespace

TEST_SUITE("protocol: tokens") {
  TEST_CASE("the welcome says how long the token lasts, the answer to a refresh how long the new one does") {
    tokens_fixture f;
    auto& client = f.enter(token_of("ada", 60, R"("news")"));
    auto said = f.all.heard(client);
    REQUIRE(said.size() == 1);
    CHECK(plain(said[0]).find(R"("expires_in_ms":60000)") != std::string::npos);
    f.advance(40s);
    CHECK(plain(f.all.ask(client, refresh(token_of("ada", 100, R"("news")")))) ==
          R"({"expires_in_ms":60000,"id":1,"type":"refreshed"})");
    f.advance(69'999ms);  // with the grace of 10 s; the old one has been over for 40
    f.all.heard(client);
    CHECK_FALSE(client.close_received());
    f.advance(1ms);
    f.all.heard(client);
    REQUIRE(client.close_received());
    CHECK(*client.close_received() == close_code::unauthorized);
  }

  TEST_CASE("a token in its grace has no time left, and can still be renewed") {
    tokens_fixture f;
    auto& client = f.enter(token_of("ada", 5, ""));
    f.advance(7s);
    f.all.heard(client);
    CHECK(f.all.ask(client, refresh(token_of("ada", 60, ""))).at("expires_in_ms").as_int64() == 53'000);
    // An authenticator of one's own may give less than the grace.
    identity brief;
    brief.user = "bob";
    brief.expires = std::chrono::sys_seconds{std::chrono::seconds{start_of_time + 10}};
    f.all.peers.push_back(testing::connect(*f.all.hub, f.all.protocol->handler(), {}, brief));
    f.all.settle();
    const auto said = f.all.heard(*f.all.peers.back());
    REQUIRE(said.size() == 1);
    CHECK(said[0].at("expires_in_ms").as_int64() == 0);
  }

  TEST_CASE("tokens that are refused change nothing; the third closes with 1008") {
    tokens_fixture f;
    auto& client = f.enter(token_of("ada", 60, R"("news")"));
    f.all.heard(client);
    for (const auto& token : {token_of("bob", 600, ""), token_of("ada", 600, "", 1)}) {
      const auto answer = f.all.ask(client, refresh(token));
      CHECK(answer.at("type") == "error");
      CHECK(answer.at("code") == "token_refused");
      CHECK(answer.at("id") == 1);
      CHECK(plain(answer).find("sub") == std::string::npos);
    }
    CHECK(f.all.ask(client, R"({"type":"subscribe","channel":"news"})").at("type") == "subscribed");
    f.all.say(client, refresh("x"));
    f.all.heard(client);
    REQUIRE(client.close_received());
    CHECK(*client.close_received() == close_code::policy_violation);
  }

  TEST_CASE("another issuer's user of the same name is somebody else") {
    tokens_fixture f;
    const auto of = [](const std::string& issuer) {
      return jwt_test::signed_token(
          jwt_algorithm::hs256, R"({"alg":"HS256"})",
          R"({"sub":"ada","exp":)" + std::to_string(start_of_time + 60) + issuer + "}");
    };
    const std::string a = R"(,"iss":"https://a.example")", b = R"(,"iss":"https://b.example")";
    auto& client = f.enter(of(a));
    f.all.heard(client);
    CHECK(f.all.ask(client, refresh(of(b))).at("code") == "token_refused");
    CHECK(f.all.ask(client, refresh(of(""))).at("code") == "token_refused");
    CHECK(f.all.ask(client, refresh(of(a))).at("type") == "refreshed");
  }

  TEST_CASE("what the new token's rights do not reach is ended, and no more") {
    tokens_fixture f;
    auto& client = f.enter(token_of("ada", 60, R"("news","orders.>","market.*")"));
    f.all.heard(client);
    for (const std::string channel : {"news", "orders.ada.1", "market.*"})
      REQUIRE(f.all.ask(client, R"({"type":"subscribe","channel":")" + channel + "\"}").at("type") ==
              "subscribed");
    // The server's own doing is not the token's affair.
    connection* mine = nullptr;
    asio::co_spawn(f.all.context, f.all.hub->for_each([&](connection& each) { mine = &each; }),
                   asio::detached);
    f.all.settle();
    REQUIRE(mine != nullptr);
    REQUIRE(*f.all.start(f.all.topics->subscribe(*mine, "announcements")));

    f.all.say(client, refresh(token_of("ada", 600, R"("news","market.AAPL")")));
    const auto said = f.all.heard(client);
    REQUIRE(said.size() == 3);
    CHECK(plain(said[0]) == R"({"channel":"market.*","code":"not_allowed","type":"unsubscribed"})");
    CHECK(plain(said[1]) == R"({"channel":"orders.ada.1","code":"not_allowed","type":"unsubscribed"})");
    CHECK(said[2].at("type") == "refreshed");
    f.all.publish("orders.ada.1", "1");
    f.all.publish("market.AAPL", "2");
    f.all.publish("news", "3");
    f.all.publish("announcements", "4");
    const auto got = f.all.heard(client);
    REQUIRE(got.size() == 2);
    CHECK(got[0].at("data") == 3);
    CHECK(got[1].at("data") == 4);
    CHECK(f.all.ask(client, R"({"type":"subscribe","channel":"orders.ada.1"})").at("code") == "not_allowed");
  }

  TEST_CASE("who cannot be asked about the new token's rights has not allowed anything") {
    auto broken = std::make_shared<bool>(false);
    tokens_fixture f{[broken](connection&, topic_action, std::string) -> asio::awaitable<bool> {
      if (*broken) throw std::runtime_error{"no database"};
      co_return true;
    }};
    auto& client = f.enter(token_of("ada", 60, ""));
    f.all.heard(client);
    REQUIRE(f.all.ask(client, R"({"type":"subscribe","channel":"market.*"})").at("type") == "subscribed");
    *broken = true;
    f.all.say(client, refresh(token_of("ada", 600, "")));
    const auto said = f.all.heard(client);
    REQUIRE(said.size() == 2);
    CHECK(plain(said[0]) == R"({"channel":"market.*","code":"internal_error","type":"unsubscribed"})");
    CHECK(said[1].at("type") == "refreshed");
    f.all.publish("market.AAPL", "1");
    CHECK(f.all.heard(client).empty());
  }

  TEST_CASE("requests that make no sense") {
    tokens_fixture f;
    auto& client = f.enter(token_of("ada", 60, ""));
    f.all.heard(client);
    CHECK(f.all.ask(client, R"({"type":"auth","token":"x"})").at("code") == "not_available");
    CHECK(f.all.ask(client, R"({"type":"refresh"})").at("code") == "bad_request");
    protocol_fixture without;
    auto& other = without.welcomed("ada");
    CHECK(without.ask(other, R"({"type":"refresh","token":"x"})").at("code") == "not_available");
  }
}
