// Options and their limits, and tokens that are for one use.

#include "security/jwt_once.hpp"
#include "unit/jwt_fixture.hpp"

#include <skein/jwt.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace jwt_test;
using namespace std::chrono_literals;
using namespace std::string_literals;
using skein::jwt_options;
using skein::jwt_refusal;
using skein::jwt_verifier;
using enum jwt_refusal;

namespace {

const std::chrono::system_clock::time_point now{1'700'000'000s};
using expected = std::optional<jwt_refusal>;
constexpr expected good{};

expected answer(const jwt_verifier& verifier, std::string_view token,
                std::chrono::system_clock::time_point when = now) {
  const auto verdict = verifier.verify(token, when);
  const auto* refused = std::get_if<jwt_refusal>(&verdict);
  return refused == nullptr ? good : expected{*refused};
}

std::string token_of(std::string_view payload) {
  return signed_token(jwt_algorithm::hs256, payload);
}

std::string with_header(const std::string& members) {
  return signed_token(jwt_algorithm::hs256, R"({"alg":"HS256")" + members + "}",
                      R"({"sub":"alice","exp":1700000600})");
}

template <class Set>
jwt_verifier verifier_with(Set&& set) {
  jwt_options options;
  set(options);
  return jwt_verifier{{public_key_for(jwt_algorithm::hs256)}, options};
}

std::string one_time(std::string_view id, int lifetime = 600, std::string_view issuer = "a") {
  return token_of(R"({"sub":"alice","iss":")" + std::string{issuer} + R"(","jti":")" + std::string{id} +
                  R"(","exp":)" + std::to_string(1'700'000'000 + lifetime) + "}");
}

/// With another signature.
std::string spoilt(std::string token) {
  auto& first = token[token.rfind('.') + 1];
  first = first == 'A' ? 'B' : 'A';
  return token;
}

}  // namespace

TEST_SUITE("jwt_claims") {
  TEST_CASE("the clock's skew, to the second") {
    for (const auto skew : {0s, 1s, 30s, 3600s}) {
      CAPTURE(skew.count());
      const auto verifier = verifier_with([&](jwt_options& o) { o.clock_skew = skew; });
      const auto token = token_of(R"({"sub":"alice","exp":1700000600,"nbf":1700000000,"iat":1700000000})");
      CHECK(answer(verifier, token, now + 600s + skew - 1ns) == good);
      CHECK(answer(verifier, token, now + 600s + skew) == expired);
      CHECK(answer(verifier, token, now + 600s + skew + 1ns) == expired);
      CHECK(answer(verifier, token, now - skew) == good);
      CHECK(answer(verifier, token, now - skew - 1ns) == not_yet_valid);
      const auto issued = token_of(R"({"sub":"alice","exp":1700000600,"iat":1700000000})");
      CHECK(answer(verifier, issued, now - skew) == good);
      CHECK(answer(verifier, issued, now - skew - 1ns) == issued_in_future);
    }
  }

  TEST_CASE("a token may have to say from when on it is valid") {
    const auto strict = verifier_with([](jwt_options& o) { o.require_not_before = true; });
    const auto with = token_of(R"({"sub":"alice","exp":1700000600,"nbf":1700000000})");
    const auto without = token_of(R"({"sub":"alice","exp":1700000600})");
    CHECK(answer(strict, with) == good);
    CHECK(answer(strict, without) == not_before_missing);
    CHECK(answer(strict, token_of(R"({"sub":"alice","exp":1700000600,"nbf":"x"})")) == not_before_type);
    CHECK(answer(verifier_with([](jwt_options&) {}), without) == good);
  }

  TEST_CASE("a key that is for one issuer does not sign for another") {
    jwt_options options;
    options.issuers = {"a", "b"};
    options.one_time_capacity = 10;
    const auto first = public_key_for(jwt_algorithm::es256, {}, 0);
    const auto second = public_key_for(jwt_algorithm::es256, {}, 1);
    const auto by = [](unsigned which, const std::string& issuer, const std::string& id) {
      return signed_token(jwt_algorithm::es256, R"({"alg":"ES256"})",
                          R"({"sub":"alice","jti":")" + id + R"(","exp":1700000600)" + issuer + "}", which);
    };
    const auto a = R"(,"iss":"a")"s, b = R"(,"iss":"b")"s;
    const jwt_verifier bound{{first.for_issuer("a"), second.for_issuer("b")}, options};
    CHECK(answer(bound, by(0, a, "1")) == good);
    CHECK(answer(bound, by(1, b, "2")) == good);
    CHECK(answer(bound, by(0, b, "3")) == issuer_wrong);
    CHECK(answer(bound, by(1, a, "3")) == issuer_wrong);
    CHECK(answer(bound, by(1, b, "3")) == good);  // what was refused is not used up
    CHECK(answer(bound, by(0, "", "4")) == issuer_missing);
    const jwt_verifier loose{{first, second.for_issuer("b")}, options};
    CHECK(answer(loose, by(0, b, "1")) == good);
    CHECK(first.issuer().empty());
    CHECK(first.for_issuer("a").issuer() == "a");

    skein::jwks_options how;
    how.issuer = "a";
    const auto set = skein::parse_jwks(
        R"({"keys":[{"alg":"ES256",)" + key_for(jwt_algorithm::es256).jwk_members() + "}]}", how);
    REQUIRE(set.keys.size() == 1);
    CHECK(set.keys.front().issuer() == "a");
    // Nobody in particular: not even a token without an issuer is for a key that is for one.
    options.issuers = {};
    const jwt_verifier alone{set.keys, options};
    CHECK(answer(alone, by(0, a, "1")) == good);
    CHECK(answer(alone, by(0, b, "2")) == issuer_wrong);
    CHECK(answer(alone, by(0, "", "3")) == issuer_missing);
  }

  TEST_CASE("the ends of time") {
    const auto verifier = verifier_with([](jwt_options&) {});
    using clock = std::chrono::system_clock::time_point;
    CHECK(answer(verifier, token_of(R"({"sub":"a","exp":253402300799})"), clock::max()) == good);
    CHECK(answer(verifier, token_of(R"({"sub":"a","exp":0})"), clock::min()) == good);
    CHECK(answer(verifier, token_of(R"({"sub":"a","exp":0,"nbf":0})"), clock::min()) == not_yet_valid);
  }

  TEST_CASE("the longest lifetime") {
    const auto verifier = verifier_with([](jwt_options& o) {
      o.max_lifetime = 300s;
      o.clock_skew = 10s;
    });
    CHECK(answer(verifier, one_time("a", 309)) == good);
    CHECK(answer(verifier, one_time("a", 310)) == good);
    CHECK(answer(verifier, one_time("a", 311)) == lifetime_too_long);
  }

  TEST_CASE("without issuers, audiences and a subject to ask for") {
    const auto plain = token_of(R"({"sub":"alice","exp":1700000600})");
    const auto for_other = token_of(R"({"sub":"alice","exp":1700000600,"aud":"other"})");
    const auto nobody = token_of(R"({"exp":1700000600})");
    const auto by_default = verifier_with([](jwt_options&) {});
    CHECK(answer(by_default, plain) == good);
    CHECK(answer(by_default, for_other) == audience_wrong);
    CHECK(answer(by_default, nobody) == subject_missing);
    CHECK(answer(by_default, token_of(R"({"sub":"alice","exp":1700000600,"iss":1})")) == issuer_type);
    const auto generous = verifier_with([](jwt_options& o) {
      o.any_audience = true;
      o.require_subject = false;
    });
    CHECK(answer(generous, plain) == good);
    CHECK(answer(generous, for_other) == good);
    CHECK(answer(generous, nobody) == good);
    CHECK(answer(generous, token_of(R"({"exp":1700000600,"aud":7})")) == audience_type);
  }

  TEST_CASE("the type that is asked for") {
    const auto verifier = verifier_with([](jwt_options& o) { o.type = "at+jwt"; });
    for (const auto* same : {"at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"})
      CHECK(answer(verifier, with_header(R"(,"typ":")"s + same + "\"")) == good);
    for (const auto* other :
         {"", "JWT", "at+jw", "at+jwt ", "application/", "text/at+jwt", "application/at+jwt/x"})
      CHECK(answer(verifier, with_header(R"(,"typ":")"s + other + "\"")) == token_type_wrong);
    CHECK(answer(verifier, with_header("")) == token_type_wrong);
    CHECK(answer(verifier, with_header(R"(,"typ":1)")) == header_type);
  }

  TEST_CASE("a token as long as it may be") {
    const auto token = with_header(R"(,"x":1)");
    for (const int more : {-1, 0, 1}) {
      const auto limit = token.size() + static_cast<std::size_t>(more);
      const auto verifier = verifier_with([&](jwt_options& o) { o.max_token_bytes = limit; });
      CHECK(answer(verifier, token) == (more < 0 ? expected{token_too_long} : good));
    }
    const auto by_default = verifier_with([](jwt_options&) {});
    CHECK(answer(by_default, std::string(8192, 'a')) == not_three_parts);
    CHECK(answer(by_default, std::string(8193, 'a')) == token_too_long);
  }

  TEST_CASE("JSON as deep and as large as it may be") {
    for (const std::size_t limit : {2, 8, 32}) {
      const auto verifier = verifier_with([&](jwt_options& o) { o.max_json_depth = limit; });
      for (const std::size_t depth : {limit - 1, limit, limit + 1}) {
        const auto inner = std::string(depth - 1, '[') + std::string(depth - 1, ']');
        const auto value = inner.empty() ? "0"s : inner;
        const auto why = depth > limit ? expected{json_too_deep} : good;
        CHECK(answer(verifier, with_header(",\"x\":" + value)) == why);
        CHECK(answer(verifier, token_of(R"({"sub":"alice","exp":1700000600,"x":)" + value + "}")) == why);
      }
    }
    const auto verifier = verifier_with([](jwt_options& o) { o.max_json_elements = 100; });
    for (const std::size_t count : {99, 100, 101}) {
      // `sub`, `exp`, `x`, and what is in `x`.
      std::string value = "[0";
      for (std::size_t i = 4; i < count; ++i) value += ",0";
      const auto why = count > 100 ? expected{json_too_large} : good;
      CHECK(answer(verifier, token_of(R"({"sub":"alice","exp":1700000600,"x":)" + value + "]}")) == why);
      std::string members;
      for (std::size_t i = 1; i < count; ++i) members += ",\"" + std::to_string(i) + "\":0";
      CHECK(answer(verifier, with_header(members)) == why);
    }
  }

  TEST_CASE("options that are not allowed") {
    const auto refused = [](auto set) { CHECK_THROWS_AS((void)verifier_with(set), std::invalid_argument); };
    refused([](jwt_options& o) { o.clock_skew = -1s; });
    refused([](jwt_options& o) { o.clock_skew = 3601s; });
    refused([](jwt_options& o) { o.max_lifetime = -1s; });
    refused([](jwt_options& o) { o.max_lifetime = std::chrono::seconds::max(); });
    refused([](jwt_options& o) { o.max_token_bytes = 0; });
    refused([](jwt_options& o) { o.max_token_bytes = 1'048'577; });
    refused([](jwt_options& o) { o.max_json_depth = 0; });
    refused([](jwt_options& o) { o.max_json_depth = 33; });
    refused([](jwt_options& o) { o.max_json_elements = 0; });
    refused([](jwt_options& o) { o.one_time_capacity = 16'777'217; });
    refused([](jwt_options& o) { o.issuers = {""}; });
    refused([](jwt_options& o) { o.audiences = {"a", ""}; });
    refused([](jwt_options& o) {
      o.audiences = {"a"};
      o.any_audience = true;
    });
  }
}

TEST_SUITE("jwt_once") {
  TEST_CASE("a token is accepted once, another of the same name by another issuer too") {
    const auto verifier = verifier_with([](jwt_options& o) { o.one_time_capacity = 10; });
    CHECK(answer(verifier, one_time("a")) == good);
    CHECK(answer(verifier, one_time("a")) == already_used);
    CHECK(answer(verifier, one_time("a", 500)) == already_used);
    CHECK(answer(verifier, one_time("b")) == good);
    CHECK(answer(verifier, one_time("a", 600, "b")) == good);
    CHECK(answer(verifier, one_time("", 600)) == id_missing);
    CHECK(answer(verifier, token_of(R"({"sub":"alice","exp":1700000600})")) == id_missing);
    CHECK(verifier.remembered() == 3);
  }

  TEST_CASE("a token that is refused is not used up") {
    const auto verifier = verifier_with([](jwt_options& o) { o.one_time_capacity = 10; });
    const auto token = one_time("a");
    CHECK(answer(verifier, spoilt(token)) == signature_wrong);
    CHECK(answer(verifier, token, now + 1h) == expired);
    CHECK(verifier.remembered() == 0);
    CHECK(answer(verifier, token) == good);
  }

  TEST_CASE("as many are remembered as may be, until they expire") {
    for (const std::size_t capacity : {1, 2, 100}) {
      const auto verifier = verifier_with([&](jwt_options& o) { o.one_time_capacity = capacity; });
      for (std::size_t i = 0; i < capacity; ++i)
        REQUIRE(answer(verifier, one_time(std::to_string(i), 600 + static_cast<int>(i))) == good);
      CHECK(answer(verifier, one_time("more", 3600)) == one_time_full);
      CHECK(answer(verifier, one_time("0")) == already_used);
      // The first expires, the skew included, and makes room for one.
      CHECK(answer(verifier, one_time("more", 3600), now + 629s) == one_time_full);
      CHECK(answer(verifier, one_time("more", 3600), now + 630s) == good);
      CHECK(answer(verifier, one_time("again", 3600), now + 630s) == one_time_full);
      CHECK(verifier.remembered() == capacity);
    }
  }

  TEST_CASE("time that goes back brings no token back") {
    const auto verifier = verifier_with([](jwt_options& o) { o.one_time_capacity = 10; });
    CHECK(answer(verifier, one_time("a")) == good);
    CHECK(answer(verifier, one_time("b", 3600), now + 700s) == good);  // "a" is forgotten
    CHECK(answer(verifier, one_time("a")) == expired);
    CHECK(answer(verifier, one_time("c", 700)) == good);
  }

  TEST_CASE("of many at the same time one wins") {
    const auto verifier = verifier_with([](jwt_options& o) { o.one_time_capacity = 1'000; });
    std::vector<std::string> tokens;
    for (int i = 0; i < 200; ++i) tokens.push_back(one_time(std::to_string(i)));
    std::atomic<int> accepted{0}, refused{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (const auto& token : tokens) {
          const auto why = answer(verifier, token);
          if (why == good) ++accepted;
          if (why == expected{already_used}) ++refused;
        }
      });
    }
    for (auto& each : threads) each.join();
    CHECK(accepted == 200);
    CHECK(refused == 600);
  }

  TEST_CASE("an issuer and a name cannot be cut at another place") {
    skein::detail::one_time_set set{10, {1, 2}};
    const std::chrono::sys_seconds soon{10s}, start{0s};
    using skein::detail::one_time_answer;
    CHECK(set.take("ab", "c", soon, start) == one_time_answer::first);
    CHECK(set.take("a", "bc", soon, start) == one_time_answer::first);
    CHECK(set.take("", "abc", soon, start) == one_time_answer::first);
    CHECK(set.take("1:a", "", soon, start) == one_time_answer::first);
    CHECK(set.take("ab", "c", soon, start) == one_time_answer::used);
    CHECK(set.take("x", "y", start, start) == one_time_answer::expired);
  }
}
