// Every part of a token, mutated, for every algorithm, each with the exact reason why it is refused.

#include "unit/jwt_fixture.hpp"

#include <skein/jwt.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace jwt_test;
using namespace std::string_literals;
using namespace std::string_view_literals;
using skein::jwt_claims;
using skein::jwt_options;
using skein::jwt_refusal;
using skein::jwt_verifier;

namespace {

const std::chrono::system_clock::time_point now{std::chrono::seconds{1'700'000'000}};
using expected = std::optional<jwt_refusal>;
constexpr expected good{};

/// An object of members, one of which can be written in another way.
class members {
 public:
  members(std::initializer_list<std::pair<std::string, std::string>> list) : list_(list) {}

  /// An empty value leaves the member out.
  [[nodiscard]] std::string with(std::string_view name, std::string_view value) const {
    std::string text;
    bool there = false;
    const auto add = [&text](std::string_view key, std::string_view what) {
      if (what.empty()) return;
      text.append(text.empty() ? "\"" : ",\"").append(key).append("\":").append(what);
    };
    for (const auto& [key, known] : list_) {
      there = there || key == name;
      add(key, key == name ? value : std::string_view{known});
    }
    if (!there) add(name, value);
    return "{" + text + "}";
  }

 private:
  std::vector<std::pair<std::string, std::string>> list_;
};

const members claims{{"iss", R"("https://issuer.example")"},
                     {"sub", R"("alice")"},
                     {"aud", R"("skein")"},
                     {"exp", "1700000600"},
                     {"nbf", "1699999900"},
                     {"iat", "1699999900"},
                     {"jti", R"("id-1")"}};
const auto good_payload = claims.with("", "");

jwt_options asked() {
  jwt_options options;
  options.issuers = {"https://other.example", "https://issuer.example"};
  options.audiences = {"skein", "https://skein.example"};
  return options;
}

struct row {
  std::string_view member, value;
  expected why;
};

expected answer(const jwt_verifier& verifier, std::string_view token) {
  const auto verdict = verifier.verify(token, now);
  const auto* refused = std::get_if<jwt_refusal>(&verdict);
  return refused == nullptr ? good : expected{*refused};
}

using enum jwt_refusal;

const std::vector<row> header_rows{
    {"kid", R"("key")", good},
    {"kid", R"("KEY")", key_unknown},
    {"kid", R"("")", key_unknown},
    {"kid", R"("key ")", key_unknown},
    {"kid", R"("key\u0000")", key_unknown},
    {"kid", R"("../../etc/passwd")", key_unknown},
    {"kid", R"("' OR 1=1 --")", key_unknown},
    {"kid", "1", header_type},
    {"kid", "null", header_type},
    {"kid", R"(["key"])", header_type},
    {"typ", R"("JWT")", good},
    {"typ", R"("jwt")", good},
    {"typ", R"("at+jwt")", good},
    {"typ", "1", header_type},
    {"typ", "null", header_type},
    {"cty", R"("json")", good},
    {"cty", "{}", header_type},
    {"alg", "", algorithm_missing},
    {"alg", "null", algorithm_missing},
    {"alg", "0", algorithm_missing},
    {"alg", "true", algorithm_missing},
    {"alg", R"(["none"])", algorithm_missing},
    {"alg", R"("none")", algorithm_none},
    {"alg", R"("None")", algorithm_none},
    {"alg", R"("NONE")", algorithm_none},
    {"alg", R"("nOnE")", algorithm_none},
    {"alg", R"("n\u006fne")", algorithm_none},
    {"alg", R"("none ")", algorithm_unknown},
    {"alg", R"("")", algorithm_unknown},
    {"alg", R"("hs256")", algorithm_unknown},
    {"alg", R"("rs256")", algorithm_unknown},
    {"alg", R"("eddsa")", algorithm_unknown},
    {"alg", R"("Ed25519")", algorithm_unknown},
    {"alg", R"("Ed448")", algorithm_unknown},
    {"alg", R"("ES512")", algorithm_unknown},
    {"alg", R"("ES256K")", algorithm_unknown},
    {"alg", R"("PS384")", algorithm_unknown},
    {"alg", R"("PS512")", algorithm_unknown},
    {"alg", R"("RS1")", algorithm_unknown},
    {"alg", R"("HS256\u0000")", algorithm_unknown},
    {"alg", R"(" HS256")", algorithm_unknown},
    {"alg", R"("dir")", algorithm_unknown},
    {"jwk", R"({"kty":"oct","k":"AAAA"})", embedded_key},
    {"jwk", "null", embedded_key},
    {"jku", R"("https://evil.example/jwks.json")", embedded_key},
    {"x5u", R"("https://evil.example/x.pem")", embedded_key},
    {"x5c", R"(["MIIB"])", embedded_key},
    {"x5c", "[]", embedded_key},
    {"x\\u0035c", "[]", embedded_key},
    {"x5t", R"("AAAA")", good},
    {"crit", R"(["exp"])", critical_header},
    {"crit", R"(["b64"])", critical_header},
    {"crit", "[]", critical_header},
    {"crit", "null", critical_header},
    {"b64", "true", good},
    {"b64", "false", unencoded_payload},
    {"b64", "0", header_type},
    {"b64", R"("false")", header_type},
    {"b64", "null", header_type},
    {"x-own", "[1,2,{\"a\":3}]", good},
    {"x-own", R"({"a":1,"a":1})", duplicate_member},
    {"x-own", R"({"a":1,"\u0061":1})", duplicate_member},
    {"x-own", R"("{\"a\":1,\"a\":2}")", good},
    {"x-own", "[[[[[[[]]]]]]]", good},
    {"x-own", "[[[[[[[[]]]]]]]]", json_too_deep},
    {"x-own", "[,]", header_not_json},
    {"x-own", "1}", header_not_json},
    {"x-own", "01", header_not_json},
    {"x-own", "'a'", header_not_json},
    {"x-own", "NaN", header_not_json},
    {"x-own", "1/**/", header_not_json},
    {"x-own", "\"\xff\"", header_not_json},
    {"x-own", "\"\xc0\xaf\"", header_not_json},
    {"x-own", "\"\t\"", header_not_json},
    {"x-own", R"("\ud800")", header_not_json},
    {"x-own", R"("\ud83d\ude00")", good},
};

const std::vector<row> claim_rows{
    {"exp", "", expiry_missing},
    {"exp", R"("1700000600")", expiry_type},
    {"exp", "null", expiry_type},
    {"exp", "true", expiry_type},
    {"exp", "[1700000600]", expiry_type},
    {"exp", "{}", expiry_type},
    {"exp", "-1", expiry_type},
    {"exp", "-0.5", expiry_type},
    {"exp", "253402300799", good},
    {"exp", "253402300799.5", good},
    {"exp", "253402300800", expiry_type},
    {"exp", "1700000600000", expiry_type},
    {"exp", "9223372036854775807", expiry_type},
    {"exp", "9223372036854775808", expiry_type},
    {"exp", "18446744073709551615", expiry_type},
    {"exp", "18446744073709551616", expiry_type},
    {"exp", "-9223372036854775808", expiry_type},
    {"exp", "1e300", expiry_type},
    {"exp", "-1e300", expiry_type},
    {"exp", "1e999", expiry_type},
    {"exp", "0", expired},
    {"exp", "-0", expired},
    {"exp", "1e-300", expired},
    {"exp", "1699999969", expired},
    {"exp", "1699999970", expired},
    {"exp", "1699999970.999", expired},
    {"exp", "1699999971", good},
    {"exp", "1.7000006e9", good},
    {"exp", "0x65", payload_not_json},
    {"nbf", "", good},
    {"nbf", R"("1699999900")", not_before_type},
    {"nbf", "null", not_before_type},
    {"nbf", "[]", not_before_type},
    {"nbf", "-1", not_before_type},
    {"nbf", "253402300799.5", not_before_type},
    {"nbf", "18446744073709551615", not_before_type},
    {"nbf", "0", good},
    {"nbf", "1700000029", good},
    {"nbf", "1700000029.5", good},
    {"nbf", "1700000030", good},
    {"nbf", "1700000030.001", not_yet_valid},
    {"nbf", "1700000031", not_yet_valid},
    {"nbf", "253402300799", not_yet_valid},
    {"iat", "", good},
    {"iat", R"("1699999900")", issued_at_type},
    {"iat", "null", issued_at_type},
    {"iat", "false", issued_at_type},
    {"iat", "-1", issued_at_type},
    {"iat", "1e300", issued_at_type},
    {"iat", "0", good},
    {"iat", "1700000030", good},
    {"iat", "1700000031", issued_in_future},
    {"iss", "", issuer_missing},
    {"iss", "null", issuer_type},
    {"iss", "1", issuer_type},
    {"iss", R"(["https://issuer.example"])", issuer_type},
    {"iss", R"("")", issuer_wrong},
    {"iss", R"("https://issuer.example/")", issuer_wrong},
    {"iss", R"("https://issuer.exampl")", issuer_wrong},
    {"iss", R"("HTTPS://issuer.example")", issuer_wrong},
    {"iss", R"(" https://issuer.example")", issuer_wrong},
    {"iss", R"("https://issuer.example\u0000")", issuer_wrong},
    {"iss", R"("https://other.example")", good},
    {"iss", R"("https:\/\/issuer.example")", good},
    {"aud", "", audience_missing},
    {"aud", "null", audience_type},
    {"aud", "1", audience_type},
    {"aud", "{}", audience_type},
    {"aud", "[1]", audience_type},
    {"aud", R"(["skein",1])", audience_type},
    {"aud", R"([["skein"]])", audience_type},
    {"aud", "[]", audience_wrong},
    {"aud", R"("")", audience_wrong},
    {"aud", R"("other")", audience_wrong},
    {"aud", R"("Skein")", audience_wrong},
    {"aud", R"("skein ")", audience_wrong},
    {"aud", R"(["other","skeins"])", audience_wrong},
    {"aud", R"(["skein"])", good},
    {"aud", R"(["other","https://skein.example"])", good},
    {"sub", "", subject_missing},
    {"sub", R"("")", subject_missing},
    {"sub", "null", subject_type},
    {"sub", "1", subject_type},
    {"sub", R"(["alice"])", subject_type},
    {"jti", "", good},
    {"jti", R"("")", good},
    {"jti", "1", id_type},
    {"jti", "null", id_type},
    {"sub\\u0000", R"("bob")", good},
    {"s\\u0075b", R"("bob")", duplicate_member},
    {"roles", R"([{"a":1},{"a":1}])", good},
    {"roles", R"([{"a":1},{"a":1,"a":1}])", duplicate_member},
    {"roles", R"({"a":{"b":{"c":1,"c":2}}})", duplicate_member},
    {"roles", "[[[[[[[]]]]]]]", good},
    {"roles", "[[[[[[[[]]]]]]]]", json_too_deep},
    {"roles", R"("[[[[[[[[[[[[[[")", good},
    {"roles", "[1,]", payload_not_json},
    {"roles", "1,", payload_not_json},
    {"roles", "\"\xe2\x82\"", payload_not_json},
    {"roles", "\"\xed\xa0\x80\"", payload_not_json},
    {"roles", "1//", payload_not_json},
};

/// Payloads that are not objects.
const std::vector<std::string> other_json{
    "", "[]", "null", "\"x\"", "1", "{", "}", "{}}", "{}{}", "\xef\xbb\xbf{}", "{}\0"s, "Example of signing"};

/// The token's parts, one of which is written in another way.
std::string in_place_of(const std::vector<std::string>& parts, std::size_t index, std::string_view text) {
  std::string token;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) token += '.';
    token += i == index ? text : std::string_view{parts[i]};
  }
  return token;
}

std::vector<std::string> split(std::string_view token) {
  const auto first = token.find('.');
  const auto second = token.find('.', first + 1);
  return {std::string{token.substr(0, first)}, std::string{token.substr(first + 1, second - first - 1)},
          std::string{token.substr(second + 1)}};
}

}  // namespace

TEST_SUITE("jwt") {
  TEST_CASE("every member of the header and every claim, mutated, for every algorithm") {
    std::size_t vectors = 0;
    for (const auto algorithm : all_algorithms) {
      CAPTURE(skein::to_string(algorithm));
      const jwt_verifier verifier{{public_key_for(algorithm, "key")}, asked()};
      const members header{{"alg", "\"" + std::string{skein::to_string(algorithm)} + "\""}};
      const auto good_header = header.with("kid", R"("key")");
      const auto check = [&](std::string_view first, std::string_view second, expected why) {
        CAPTURE(first);
        CAPTURE(second);
        CHECK(answer(verifier, signed_token(algorithm, first, second)) == why);
        ++vectors;
      };
      check(good_header, good_payload, good);
      for (const auto& one : header_rows) check(header.with(one.member, one.value), good_payload, one.why);
      for (const auto& one : claim_rows) check(good_header, claims.with(one.member, one.value), one.why);
      for (const auto& text : other_json) {
        check(text, good_payload, header_not_json);
        check(good_header, text, payload_not_json);
      }
      for (const auto other : all_algorithms) {
        const auto name = "\"" + std::string{skein::to_string(other)} + "\"";
        check(header.with("alg", name), good_payload, other == algorithm ? good : algorithm_mismatch);
      }
    }
    CHECK(vectors == 10 * (1 + header_rows.size() + claim_rows.size() + 2 * other_json.size() + 10));
    CHECK(vectors == 2'120);
    CHECK(drain_errors() == 0);
  }

  TEST_CASE("the text of a token, mutated") {
    std::size_t vectors = 0;
    for (const auto algorithm : {jwt_algorithm::hs256, jwt_algorithm::es256, jwt_algorithm::eddsa}) {
      const jwt_verifier verifier{{public_key_for(algorithm)}, asked()};
      const auto token = signed_token(algorithm, good_payload);
      const auto parts = split(token);
      REQUIRE(answer(verifier, token) == good);
      const auto check = [&](std::string_view text, expected why) {
        CAPTURE(text);
        CHECK(answer(verifier, text) == why);
        ++vectors;
      };
      for (const auto text : {""sv, "."sv, "a.b"sv, "..."sv, "a.b.c.d"sv, "a.b.c.d.e"sv, "\0"sv}) {
        check(text, not_three_parts);
      }
      check(parts[0] + "." + parts[1], not_three_parts);
      check(token + ".", not_three_parts);
      check("." + token, not_three_parts);
      check("Bearer " + token, base64_character);
      check("..", header_not_json);
      check(in_place_of(parts, 0, ""), header_not_json);
      check(in_place_of(parts, 1, ""), signature_wrong);
      check(in_place_of(parts, 2, ""), signature_wrong);
      for (std::size_t part = 0; part < 3; ++part) {
        for (const auto c : " \t\r\n+/~%\"*\x7f\x80\xff\0="sv) {
          for (const auto at : {std::size_t{0}, parts[part].size() / 2, parts[part].size()}) {
            auto text = parts[part];
            text.insert(at, 1, c);
            check(in_place_of(parts, part, text), c == '=' ? base64_padding : base64_character);
          }
        }
        check(in_place_of(parts, part, parts[part] + "=="), base64_padding);
        check(in_place_of(parts, part, "A"), base64_length);
        check(in_place_of(parts, part, "AAAAA"), base64_length);
        for (const auto* text : {"AB", "AP", "AAB", "AAD", "AAAAAAB"}) {
          check(in_place_of(parts, part, text), base64_trailing_bits);
        }
      }
    }
    CHECK(vectors == 3 * (15 + 3 * (3 * 15 + 8)));
    CHECK(vectors == 522);
  }

  TEST_CASE("no character of a token can be another") {
    for (const auto algorithm : all_algorithms) {
      const jwt_verifier verifier{{public_key_for(algorithm)}, asked()};
      const auto token = signed_token(algorithm, good_payload);
      std::size_t accepted = 0;
      for (std::size_t i = 0; i < token.size(); ++i) {
        auto changed = token;
        changed[i] = token[i] == 'A' ? 'B' : 'A';
        if (answer(verifier, changed) == good) ++accepted;
        changed.erase(i, 1);
        if (answer(verifier, changed) == good) ++accepted;
        if (answer(verifier, token.substr(0, i)) == good) ++accepted;
      }
      CHECK(accepted == 0);
    }
    CHECK(drain_errors() == 0);
  }

  TEST_CASE("what was accepted is told") {
    const jwt_verifier verifier{{public_key_for(jwt_algorithm::es256, "key")}, asked()};
    const auto token = signed_token(jwt_algorithm::es256, R"({"alg":"ES256","kid":"key"})",
                                    claims.with("aud", R"(["other","skein"])"));
    const auto verdict = verifier.verify(token, now);
    const auto* accepted = std::get_if<jwt_claims>(&verdict);
    REQUIRE(accepted != nullptr);
    CHECK(accepted->subject == "alice");
    CHECK(accepted->issuer == "https://issuer.example");
    CHECK(accepted->audiences == std::vector{"other"s, "skein"s});
    CHECK(accepted->id == "id-1");
    CHECK(accepted->expires.time_since_epoch().count() == 1'700'000'600);
    CHECK(accepted->not_before.value().time_since_epoch().count() == 1'699'999'900);
    CHECK(accepted->issued_at.value().time_since_epoch().count() == 1'699'999'900);
    CHECK(accepted->algorithm == jwt_algorithm::es256);
    CHECK(accepted->kid == "key");
    CHECK(accepted->all.size() == 7);
  }
}
