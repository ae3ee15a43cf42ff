// Signatures and the keys they are checked with: known answers, forgeries, which key is asked.

#include "unit/jwt_fixture.hpp"

#include <skein/jwt.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using namespace jwt_test;
using namespace std::string_literals;
using skein::jwt_key;
using skein::jwt_options;
using skein::jwt_refusal;
using skein::jwt_verifier;
using enum jwt_refusal;

namespace {

const std::chrono::system_clock::time_point now{std::chrono::seconds{1'300'819'000}};
using expected = std::optional<jwt_refusal>;
constexpr expected good{};
const auto payload = R"({"sub":"alice","exp":1300819380})"s;

/// Of RFC 7515 appendix A.1 to A.3.
const auto joe =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"s;

expected answer(const jwt_verifier& verifier, std::string_view token) {
  const auto verdict = verifier.verify(token, now);
  const auto* refused = std::get_if<jwt_refusal>(&verdict);
  return refused == nullptr ? good : expected{*refused};
}

/// With another signature.
std::string spoilt(std::string token) {
  auto& first = token[token.rfind('.') + 1];
  first = first == 'A' ? 'B' : 'A';
  return token;
}

jwt_verifier with_jwk(const std::string& members, bool secret = false) {
  jwt_options options;
  options.require_subject = false;
  skein::jwks_options reading;
  reading.allow_secrets = secret;
  auto read = skein::parse_jwks(R"({"keys":[{)" + members + "}]}", reading);
  REQUIRE(read.skipped.empty());
  return jwt_verifier{std::move(read.keys), options};
}

void check_known(const jwt_verifier& verifier, const std::string& token) {
  const auto verdict = verifier.verify(token, now);
  const auto* claims = std::get_if<skein::jwt_claims>(&verdict);
  REQUIRE(claims != nullptr);
  CHECK(claims->issuer == "joe");
  CHECK(claims->all.at("http://example.com/is_root").as_bool());
  CHECK(std::get<jwt_refusal>(verifier.verify(token, now + std::chrono::seconds{380 + 30})) == expired);
  CHECK(answer(verifier, spoilt(token)) == signature_wrong);
}

}  // namespace

TEST_SUITE("jwt_algorithm") {
  TEST_CASE("RFC 7515 appendix A.1: HS256") {
    check_known(
        with_jwk(R"("kty":"oct","alg":"HS256","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75)"
                 R"(aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")",
                 true),
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + joe + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
  }

  TEST_CASE("RFC 7515 appendix A.2: RS256") {
    check_known(
        with_jwk(
            R"("kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-)"
            R"(Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OM)"
            R"(g0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5Zw)"
            R"(Kh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ")"),
        "eyJhbGciOiJSUzI1NiJ9." + joe +
            ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
            "O8W2Fp5jujGbds9"
            "uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_"
            "nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_e"
            "SN9383LcOLn6_dO--xi12jzDwusC-"
            "eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5A"
            "XLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw");
  }

  TEST_CASE("RFC 7515 appendix A.3: ES256") {
    check_known(
        with_jwk(R"("kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
                 R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")"),
        "eyJhbGciOiJFUzI1NiJ9." + joe +
            ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
  }

  TEST_CASE("RFC 7515 appendix A.5: not signed") {
    const jwt_verifier verifier{{public_key_for(jwt_algorithm::hs256)}};
    CHECK(answer(verifier, "eyJhbGciOiJub25lIn0." + joe + ".") == algorithm_none);
  }

  TEST_CASE("RFC 8037 appendix A.4: EdDSA, of a payload that is no JSON") {
    const auto verifier =
        with_jwk(R"("kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")");
    const auto token =
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"s;
    // The payload is looked into only after the signature was right.
    CHECK(answer(verifier, token) == payload_not_json);
    CHECK(answer(verifier, token.substr(0, token.size() - 2) + "BQ") == signature_wrong);
  }

  TEST_CASE("every bit of a signature counts, and so does its length") {
    std::size_t vectors = 0;
    for (const auto algorithm : all_algorithms) {
      const jwt_verifier verifier{{public_key_for(algorithm)}};
      const auto text = base64url(R"({"alg":")" + std::string{skein::to_string(algorithm)} + R"("})") + "." +
                        base64url(payload);
      const auto signature = key_for(algorithm).sign(algorithm, text);
      const auto check = [&](const std::string& bytes) {
        CHECK(answer(verifier, text + "." + base64url(bytes)) == signature_wrong);
        ++vectors;
      };
      REQUIRE(answer(verifier, text + "." + base64url(signature)) == good);
      for (std::size_t bit = 0; bit<8 * signature.size(); bit += signature.size()> 128 ? 64 : 8) {
        auto changed = signature;
        changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit / 8 % 8));
        check(changed);
      }
      check("");
      check(signature.substr(1));
      check(signature.substr(0, signature.size() - 1));
      check(signature.substr(0, signature.size() / 2));
      check(signature + '\0');
      check('\0' + signature);
      check(signature + signature);
      check(std::string(signature.size(), '\0'));
      check(std::string(signature.size(), '\xff'));
      check(signature.substr(signature.size() / 2) + signature.substr(0, signature.size() / 2));
      check(key_for(algorithm, 1).sign(algorithm, text));
      check(key_for(algorithm).sign(algorithm, text + "A"));
    }
    CHECK(vectors == 32 + 48 + 64 + 4 * 32 + 64 + 96 + 64 + 10 * 12);
    CHECK(drain_errors() == 0);
  }

  TEST_CASE("ECDSA in DER, with a half of zero, and with a half that is the order of the curve") {
    const jwt_verifier verifier{{public_key_for(jwt_algorithm::es256)}};
    const auto text = base64url(R"({"alg":"ES256"})") + "." + base64url(payload);
    const auto& key = key_for(jwt_algorithm::es256);
    const auto signature = key.sign(jwt_algorithm::es256, text);
    const auto order =
        "\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"
        "\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51"s;
    const std::string zero(32, '\0');
    const auto r = signature.substr(0, 32), s = signature.substr(32);
    for (const auto& bytes :
         {key.sign_der(text), zero + s, r + zero, order + s, r + order, zero + order, order + order}) {
      CHECK(answer(verifier, text + "." + base64url(bytes)) == signature_wrong);
    }
    // Signatures whose halves begin with zeros or a high bit come up in many.
    for (int i = 0; i < 600; ++i)
      REQUIRE(answer(verifier, signed_token(jwt_algorithm::es256, payload)) == good);
  }

  TEST_CASE("RSASSA-PSS with a salt of another size than the hash") {
    const jwt_verifier verifier{{public_key_for(jwt_algorithm::ps256)}};
    const auto text = base64url(R"({"alg":"PS256"})") + "." + base64url(payload);
    for (const int salt : {0, 20, 31, 32, 33, 64}) {
      const auto token =
          text + "." + base64url(key_for(jwt_algorithm::ps256).sign(jwt_algorithm::ps256, text, salt));
      CHECK(answer(verifier, token) == (salt == 32 ? good : expected{signature_wrong}));
    }
  }

  TEST_CASE("a signature of RSA that begins with a zero does without it no more than any other") {
    for (const auto algorithm : {jwt_algorithm::rs256, jwt_algorithm::ps256}) {
      const jwt_verifier verifier{{public_key_for(algorithm)}};
      const auto head = base64url(R"({"alg":")" + std::string{skein::to_string(algorithm)} + R"("})") + ".";
      for (int i = 0;; ++i) {
        const auto text = head + base64url(R"({"exp":99999999999,"n":)" + std::to_string(i) + "}");
        const auto signature = key_for(algorithm).sign(algorithm, text);
        if (signature.front() != '\0') continue;  // one in 256 does
        CHECK(answer(verifier, text + "." + base64url(signature.substr(1))) == signature_wrong);
        CHECK(answer(verifier, text + "." + base64url("\0"s + signature)) == signature_wrong);
        break;
      }
    }
  }

  TEST_CASE("a public key does not serve as a secret") {
    for (const auto algorithm : {jwt_algorithm::rs256, jwt_algorithm::es256, jwt_algorithm::eddsa}) {
      const jwt_verifier verifier{{public_key_for(algorithm)}};
      for (const auto& known : {key_for(algorithm).public_pem(), key_for(algorithm).public_der()}) {
        const auto text = base64url(R"({"alg":"HS256"})") + "." + base64url(payload);
        const auto forged = private_key::secret(known).sign(jwt_algorithm::hs256, text);
        CHECK(answer(verifier, text + "." + base64url(forged)) == algorithm_mismatch);
      }
    }
    // The same RSA key, but for another algorithm.
    const auto token = signed_token(jwt_algorithm::rs256, payload);
    CHECK(answer(jwt_verifier{{public_key_for(jwt_algorithm::ps256)}}, token) == algorithm_mismatch);
    CHECK(answer(jwt_verifier{{public_key_for(jwt_algorithm::rs512)}}, token) == algorithm_mismatch);
  }

  TEST_CASE("which keys are asked") {
    constexpr auto hs = jwt_algorithm::hs256, es = jwt_algorithm::es256;
    const auto plain = signed_token(hs, payload);
    const auto named = signed_token(hs, R"({"alg":"HS256","kid":"a"})", payload);
    const auto key = [](jwt_algorithm algorithm, const char* kid, unsigned which = 0) {
      return public_key_for(algorithm, kid, which);
    };
    CHECK(answer(jwt_verifier{{}}, plain) == key_unknown);
    CHECK(answer(jwt_verifier{{key(hs, "a")}}, plain) == good);
    CHECK(answer(jwt_verifier{{key(hs, "")}}, named) == good);
    CHECK(answer(jwt_verifier{{key(hs, "b")}}, named) == key_unknown);
    CHECK(answer(jwt_verifier{{key(hs, "b"), key(es, "a")}}, named) == algorithm_mismatch);
    CHECK(answer(jwt_verifier{{key(hs, "b"), key(hs, "a", 1)}}, named) == signature_wrong);
    CHECK(answer(jwt_verifier{{key(hs, "a", 1), key(hs, "a")}}, named) == good);
    CHECK(answer(jwt_verifier{{key(hs, "", 1), key(es, ""), key(hs, "")}}, plain) == good);
    std::vector<jwt_key> several{key(hs, "b", 1), key(hs, "c", 1), key(hs, "d", 1)};
    several.push_back(key(hs, "a"));
    CHECK(answer(jwt_verifier{several}, plain) == good);
    several.push_back(key(hs, "e"));
    CHECK(answer(jwt_verifier{several}, plain) == key_ambiguous);
    CHECK(answer(jwt_verifier{several}, named) == good);
  }

  TEST_CASE("OpenSSL's error queue stays as it was") {
    const jwt_verifier verifier{{public_key_for(jwt_algorithm::rs256)}};
    const auto token = signed_token(jwt_algorithm::rs256, payload);
    (void)drain_errors();
    leave_an_error();
    CHECK(answer(verifier, token) == good);
    CHECK(answer(verifier, spoilt(token)) == signature_wrong);
    CHECK_THROWS_AS((void)jwt_key::from_pem(jwt_algorithm::rs256, "-----BEGIN PUBLIC KEY-----\nx"),
                    skein::jwt_key_error);
    CHECK_THROWS_AS((void)jwt_key::from_secret(jwt_algorithm::hs256, "short"), skein::jwt_key_error);
    CHECK(drain_errors() == 1);
  }

  TEST_CASE("keys are replaced while tokens are verified") {
    constexpr auto es = jwt_algorithm::es256;
    jwt_verifier verifier{{public_key_for(es)}};
    const auto token = signed_token(es, payload), other = signed_token(es, R"({"alg":"ES256"})", payload, 1);
    std::atomic<int> strange{0}, accepted{0};
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        for (int turn = 0; turn < 200; ++turn) {
          for (const auto* one : {&token, &other}) {
            const auto why = answer(verifier, *one);
            if (why == good)
              ++accepted;
            else if (why != expected{signature_wrong})
              ++strange;
          }
        }
      });
    }
    std::thread replacing{[&] {
      for (unsigned which = 1; !stop; which ^= 1U) verifier.replace_keys({public_key_for(es, {}, which)});
    }};
    for (auto& each : threads) each.join();
    stop = true;
    replacing.join();
    CHECK(strange == 0);
    CHECK(accepted > 0);
    verifier.replace_keys({});
    CHECK(answer(verifier, token) == key_unknown);
  }
}
