// Keys as they are loaded: from secrets, PEM and JWK sets.

#include "unit/jwt_fixture.hpp"

#include <skein/jwt.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace jwt_test;
using namespace std::string_literals;
using skein::jwks_options;
using skein::jwt_key;
using skein::jwt_key_fault;
using skein::parse_jwks;
using enum jwt_key_fault;

namespace {

using expected = std::optional<jwt_key_fault>;
constexpr expected good{};
constexpr auto hs256 = jwt_algorithm::hs256, rs256 = jwt_algorithm::rs256, ps256 = jwt_algorithm::ps256,
               es256 = jwt_algorithm::es256, es384 = jwt_algorithm::es384, eddsa = jwt_algorithm::eddsa;

template <class Make>
expected fault_of(Make make) {
  try {
    (void)make();
    return good;
  } catch (const skein::jwt_key_error& error) {
    return error.fault();
  }
}

expected secret_fault(jwt_algorithm algorithm, std::string_view secret) {
  return fault_of([&] { return jwt_key::from_secret(algorithm, secret); });
}

expected pem_fault(jwt_algorithm algorithm, std::string_view pem) {
  return fault_of([&] { return jwt_key::from_pem(algorithm, pem); });
}

expected document_fault(std::string_view document, const jwks_options& options = {}) {
  return fault_of([&] { return parse_jwks(document, options); });
}

/// Of a set of this one JWK.
expected jwk_fault(const std::string& jwk, const jwks_options& options = {}) {
  const auto read = parse_jwks(R"({"keys":[)" + jwk + "]}", options);
  REQUIRE(read.keys.size() + read.skipped.size() == 1);
  return read.skipped.empty() ? good : expected{read.skipped.front().why};
}

std::string jwk_of(jwt_algorithm algorithm, const std::string& more = {}) {
  return "{" + key_for(algorithm).jwk_members() + more + "}";
}

bool accepts(const jwt_key& key) {
  skein::jwt_verifier verifier{{key}};
  const auto token = signed_token(key.algorithm(), R"({"sub":"alice","exp":1700000000})");
  const auto verdict = verifier.verify(token, std::chrono::system_clock::time_point{});
  return std::holds_alternative<skein::jwt_claims>(verdict);
}

std::string rsa_jwk(const std::string& modulus, const std::string& exponent = "\x01\x00\x01"s) {
  return R"({"kty":"RSA","n":")" + base64url(modulus) + R"(","e":")" + base64url(exponent) + "\"}";
}

}  // namespace

TEST_SUITE("jwt_key") {
  TEST_CASE("names of algorithms") {
    for (const auto algorithm : all_algorithms)
      CHECK(skein::parse_jwt_algorithm(to_string(algorithm)) == algorithm);
    for (const auto* name : {"", "none", "hs256", "HS256 ", "ES512", "PS384", "Ed25519"})
      CHECK(!skein::parse_jwt_algorithm(name));
  }

  TEST_CASE("every reason has a sentence of its own") {
    std::set<std::string_view> sentences;
    for (int i = 1; i <= static_cast<int>(skein::jwt_refusal::internal_error); ++i)
      sentences.insert(to_string(static_cast<skein::jwt_refusal>(i)));
    CHECK(sentences.size() == 45);
    sentences.clear();
    for (int i = 1; i <= static_cast<int>(secret_not_allowed); ++i)
      sentences.insert(to_string(static_cast<jwt_key_fault>(i)));
    CHECK(sentences.size() == 19);
  }

  TEST_CASE("a secret is not shorter than its hash") {
    std::size_t size = 32;
    for (const auto algorithm : {jwt_algorithm::hs256, jwt_algorithm::hs384, jwt_algorithm::hs512}) {
      CHECK(secret_fault(algorithm, "") == secret_too_short);
      CHECK(secret_fault(algorithm, std::string(size - 1, 'x')) == secret_too_short);
      CHECK(secret_fault(algorithm, std::string(size, 'x')) == good);
      CHECK(secret_fault(algorithm, std::string(size + 1, '\0')) == good);
      CHECK(secret_fault(algorithm, std::string(1'000, 'x')) == good);
      size += 16;
    }
  }

  TEST_CASE("a secret is nothing that others have") {
    for (const auto algorithm : {rs256, es256, eddsa}) {
      const auto& key = key_for(algorithm);
      for (const auto& text : {key.public_pem(), "\n " + key.public_pem(), key.certificate_pem(),
                               key.private_pem(), key.public_der()})
        CHECK(secret_fault(hs256, text) == secret_is_public);
    }
    for (const auto algorithm : all_algorithms) {
      if (!has_secret(algorithm)) CHECK(secret_fault(algorithm, std::string(64, 'x')) == key_type);
    }
  }

  TEST_CASE("a public key or a certificate in PEM, of the algorithm's type") {
    std::size_t right = 0;
    for (const auto algorithm : all_algorithms) {
      for (const auto other : {rs256, es256, es384, eddsa}) {
        CAPTURE(to_string(algorithm));
        CAPTURE(to_string(other));
        const auto pem = key_for(other).public_pem();
        const auto fault = pem_fault(algorithm, pem);
        CHECK(pem_fault(algorithm, key_for(other).certificate_pem()) == fault);
        if (fault == good) {
          ++right;
          CHECK(accepts(jwt_key::from_pem(algorithm, pem)));
          CHECK(accepts(jwt_key::from_pem(algorithm, key_for(other).certificate_pem())));
        } else {
          const bool both_ec =
              (algorithm == es256 && other == es384) || (algorithm == es384 && other == es256);
          CHECK(fault == (both_ec ? curve : key_type));
        }
      }
    }
    CHECK(right == 4 + 2 + 1);
    CHECK(jwt_key::from_pem(rs256, key_for(rs256).public_pem(), "name").kid() == "name");
  }

  TEST_CASE("curves that are not the algorithm's") {
    for (const auto* group : {"secp256k1", "P-521", "P-224", "brainpoolP256r1"}) {
      CHECK(pem_fault(es256, private_key::ec(group).public_pem()) == curve);
      CHECK(pem_fault(es384, private_key::ec(group).public_pem()) == curve);
    }
    CHECK(pem_fault(eddsa, private_key::edwards("ED448").public_pem()) == curve);
    CHECK(pem_fault(eddsa, private_key::edwards("X25519").public_pem()) == key_type);
  }

  TEST_CASE("texts that are not one PEM block of a public key") {
    const auto pem = key_for(es256).public_pem();
    const auto certificate = key_for(es256).certificate_pem();
    auto other_label = pem;
    while (other_label.find(" PUBLIC KEY") != std::string::npos)
      other_label.replace(other_label.find(" PUBLIC KEY"), 11, " TRUSTED_KEY");
    auto cut = pem;
    cut.erase(cut.find('\n') + 10, 20);
    const auto encrypted =
        "-----BEGIN PUBLIC KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: "
        "AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n" +
        pem.substr(pem.find('\n') + 1);
    for (const auto& text : {""s, "x"s, pem + pem, pem + certificate, certificate + certificate, other_label,
                             cut, pem.substr(0, pem.size() - 30), encrypted, key_for(es256).public_der(),
                             pem + std::string(64 * 1024, '\n')})
      CHECK(pem_fault(es256, text) == not_pem);
    CHECK(pem_fault(es256, "A comment.\n" + pem + "\n\n") == good);
    CHECK(pem_fault(es256, key_for(es256).private_pem()) == jwt_key_fault::private_key);
    CHECK(pem_fault(es256, key_for(es256).private_pem() + pem) == jwt_key_fault::private_key);
  }

  TEST_CASE("the size of an RSA key") {
    for (const unsigned bits : {1024U, 2046U, 2048U, 2050U}) {
      const auto key = private_key::rsa(bits);
      const auto why = bits < 2048 ? expected{rsa_size} : good;
      CHECK(pem_fault(rs256, key.public_pem()) == why);
      CHECK(pem_fault(ps256, key.certificate_pem()) == why);
      CHECK(jwk_fault("{" + key.jwk_members() + "}") == why);
    }
    CHECK(jwk_fault(rsa_jwk("\x7f" + std::string(255, '\xff'))) == rsa_size);  // 2047 bits
    // Not worth making: numbers of 8192 and of 8193 bits, one of which OpenSSL takes for a modulus.
    bool taken = false;
    for (unsigned char last = 1; last < 200 && !taken; last += 2) {
      auto modulus = std::string(1024, '\xff');
      modulus.back() = static_cast<char>(last);
      const auto fault = jwk_fault(rsa_jwk(modulus));
      taken = fault == good;
      CHECK((taken || fault == invalid_key));
    }
    CHECK(taken);
    CHECK(jwk_fault(rsa_jwk("\x01" + std::string(1023, '\0') + "\x01")) == rsa_size);
    CHECK(jwk_fault(rsa_jwk(std::string(2049, '\xff'))) == rsa_size);
    CHECK(jwk_fault(rsa_jwk(std::string(256, '\xfe'))) == invalid_key);
  }

  TEST_CASE("the exponent of an RSA key") {
    CHECK(pem_fault(rs256, private_key::rsa(2048, 3).public_pem()) == good);
    const auto members = key_for(rs256).jwk_members();
    const auto with = [&](const std::string& exponent) {
      auto jwk = "{" + members + "}";
      return jwk.replace(jwk.find("AQAB"), 4, base64url(exponent));
    };
    CHECK(jwk_fault(with("\x01")) == rsa_exponent);
    CHECK(jwk_fault(with("\x04")) == rsa_exponent);
    CHECK(jwk_fault(with("\0"s)) == rsa_exponent);
    CHECK(jwk_fault(with("\x03")) == good);
    CHECK(jwk_fault(with(std::string(8, '\xff'))) == good);
    CHECK(jwk_fault(with("\x01" + std::string(7, '\0') + "\x01")) == rsa_exponent);
  }
}

TEST_SUITE("jwks") {
  TEST_CASE("keys of every type, with the algorithm they name or the one of their type") {
    jwks_options options;
    options.allow_secrets = true;
    for (const auto algorithm : all_algorithms) {
      const auto name = std::string{to_string(algorithm)};
      const auto read = parse_jwks(
          R"({"x":1,"keys":[)" + jwk_of(algorithm, R"(,"kid":"k","use":"sig","alg":")" + name + "\"") + "]}",
          options);
      REQUIRE(read.keys.size() == 1);
      CHECK(read.keys[0].algorithm() == algorithm);
      CHECK(read.keys[0].kid() == "k");
      CHECK(accepts(read.keys[0]));
    }
    for (const auto algorithm : {rs256, es256, es384, eddsa}) {
      const auto read = parse_jwks(R"({"keys":[)" + jwk_of(algorithm) + "]}");
      REQUIRE(read.keys.size() == 1);
      CHECK(read.keys[0].algorithm() == algorithm);
      CHECK(read.keys[0].kid().empty());
      CHECK(accepts(read.keys[0]));
    }
    options.rsa_algorithm = ps256;
    CHECK(parse_jwks(R"({"keys":[)" + jwk_of(rs256) + "]}", options).keys.at(0).algorithm() == ps256);
    options.rsa_algorithm = es256;
    CHECK_THROWS_AS((void)parse_jwks(R"({"keys":[]})", options), std::invalid_argument);
  }

  TEST_CASE("what a key is for") {
    const auto why = [](const std::string& more) { return jwk_fault(jwk_of(es256, more)); };
    CHECK(why(R"(,"use":"sig","key_ops":["verify"])") == good);
    CHECK(why(R"(,"key_ops":["sign","verify"])") == good);
    CHECK(why(R"(,"use":"enc")") == not_for_signatures);
    CHECK(why(R"(,"use":"")") == not_for_signatures);
    CHECK(why(R"(,"use":"SIG")") == not_for_signatures);
    CHECK(why(R"(,"key_ops":["sign"])") == not_for_signatures);
    CHECK(why(R"(,"key_ops":[])") == not_for_signatures);
    CHECK(why(R"(,"use":"sig","key_ops":["encrypt"])") == not_for_signatures);
    CHECK(why(R"(,"use":1)") == member_type);
    CHECK(why(R"(,"use":null)") == member_type);
    CHECK(why(R"(,"key_ops":"verify")") == member_type);
    CHECK(why(R"(,"key_ops":["verify",1])") == member_type);
  }

  TEST_CASE("keys that cannot be used are skipped, each for its reason") {
    const auto x = base64url(std::string(32, '\x01'));
    const auto with_d = [](jwt_algorithm algorithm) { return jwk_fault(jwk_of(algorithm, R"(,"d":"AQ")")); };
    for (const auto algorithm : {rs256, es256, eddsa}) CHECK(with_d(algorithm) == jwt_key_fault::private_key);
    CHECK(jwk_fault("1") == member_type);
    CHECK(jwk_fault("null") == member_type);
    CHECK(jwk_fault("{}") == member_missing);
    CHECK(jwk_fault(R"({"kty":1})") == member_type);
    for (const auto* kty : {"", "rsa", "ec", "AKP", "OKP "})
      CHECK(jwk_fault(R"({"kty":")"s + kty + "\"}") == kty_unknown);
    CHECK(jwk_fault(R"({"kty":"RSA"})") == member_missing);
    CHECK(jwk_fault(R"({"kty":"RSA","n":"AQ"})") == member_missing);
    CHECK(jwk_fault(R"({"kty":"RSA","n":"A Q","e":"AQAB"})") == member_type);
    CHECK(jwk_fault(R"({"kty":"RSA","n":"AQ==","e":"AQAB"})") == member_type);
    CHECK(jwk_fault(R"({"kty":"RSA","n":"","e":"AQAB"})") == member_type);
    CHECK(jwk_fault(R"({"kty":"RSA","n":1,"e":"AQAB"})") == member_type);
    CHECK(jwk_fault(R"({"kty":"EC"})") == member_missing);
    CHECK(jwk_fault(R"({"kty":"EC","crv":"P-521"})") == curve);
    CHECK(jwk_fault(R"({"kty":"EC","crv":"secp256k1"})") == curve);
    CHECK(jwk_fault(R"({"kty":"EC","crv":"Ed25519"})") == curve);
    CHECK(jwk_fault(R"({"kty":"EC","crv":"P-256","x":")" + x + "\"}") == member_missing);
    CHECK(jwk_fault(R"({"kty":"EC","crv":"P-256","x":")" + x + R"(","y":")" + x + "\"}") == invalid_key);
    CHECK(jwk_fault(R"({"kty":"EC","crv":"P-384","x":")" + x + R"(","y":")" + x + "\"}") == member_type);
    for (const std::size_t size : {31, 33}) {
      const auto wrong = base64url(std::string(size, '\x01'));
      CHECK(jwk_fault(R"({"kty":"EC","crv":"P-256","x":")" + wrong + R"(","y":")" + x + "\"}") ==
            member_type);
      CHECK(jwk_fault(R"({"kty":"OKP","crv":"Ed25519","x":")" + wrong + "\"}") == member_type);
    }
    CHECK(jwk_fault(R"({"kty":"OKP","crv":"X25519","x":")" + x + "\"}") == curve);
    CHECK(jwk_fault(R"({"kty":"OKP","crv":"Ed448","x":")" + x + "\"}") == curve);
    CHECK(jwk_fault(R"({"kty":"OKP","crv":"P-256","alg":"EdDSA","x":")" + x + "\"}") == curve);
    CHECK(jwk_fault(jwk_of(es256, R"(,"alg":"ES384")")) == curve);
    CHECK(jwk_fault(jwk_of(es256, R"(,"alg":"RS256")")) == key_type);
    CHECK(jwk_fault(jwk_of(rs256, R"(,"alg":"HS256")")) == key_type);
    CHECK(jwk_fault(jwk_of(eddsa, R"(,"alg":"ES256")")) == key_type);
    CHECK(jwk_fault(jwk_of(es256, R"(,"alg":"none")")) == algorithm_unknown);
    CHECK(jwk_fault(jwk_of(rs256, R"(,"alg":"RSA-OAEP")")) == algorithm_unknown);
    CHECK(jwk_fault(jwk_of(es256, R"(,"alg":1)")) == member_type);
    CHECK(jwk_fault(jwk_of(es256, R"(,"kid":1)")) == member_type);
    CHECK(drain_errors() == 0);
  }

  TEST_CASE("secrets, only where they are allowed") {
    jwks_options options;
    options.allow_secrets = true;
    const auto secret = [](std::size_t size, const std::string& more) {
      return R"({"kty":"oct","k":")" + base64url(std::string(size, 'x')) + "\"" + more + "}";
    };
    CHECK(jwk_fault(secret(32, R"(,"alg":"HS256")")) == secret_not_allowed);
    CHECK(jwk_fault(secret(32, R"(,"alg":"HS256")"), options) == good);
    CHECK(jwk_fault(secret(31, R"(,"alg":"HS256")"), options) == secret_too_short);
    CHECK(jwk_fault(secret(63, R"(,"alg":"HS512")"), options) == secret_too_short);
    CHECK(jwk_fault(secret(64, ""), options) == algorithm_missing);
    CHECK(jwk_fault(secret(64, R"(,"alg":"RS256")"), options) == key_type);
    CHECK(jwk_fault(R"({"kty":"oct","alg":"HS256"})", options) == member_missing);
  }

  TEST_CASE("documents that are no key sets") {
    for (const auto* text :
         {"", "[]", "{}", "null", "{\"keys\":{}}", "{\"keys\":null}", "{\"keys\":[]}x", "{\"keys\":[],}",
          "{\"Keys\":[]}", "{\"keys\":[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}"})
      CHECK(document_fault(text) == not_jwks);
    CHECK(document_fault(R"({"keys":[],"keys":[]})") == duplicate_member);
    CHECK(document_fault(R"({"keys":[{"kty":"EC","kty":"RSA"}]})") == duplicate_member);
    CHECK(document_fault(R"({"keys":[]})") == good);
  }

  TEST_CASE("as many keys and bytes as there may be, skipped ones counted") {
    const auto document = [](std::size_t count) {
      auto text = R"({"keys":[)" + jwk_of(es256);
      for (std::size_t i = 1; i < count; ++i) text += R"(,{"kty":"new"})";
      return text + "]}";
    };
    CHECK(parse_jwks(document(63)).skipped.size() == 62);
    const auto most = parse_jwks(document(64));
    CHECK(most.keys.size() == 1);
    CHECK(most.skipped.size() == 63);
    CHECK(most.skipped.back().index == 63);
    CHECK(document_fault(document(65)) == jwks_too_large);
    for (const int more : {-1, 0, 1}) {
      jwks_options options;
      options.max_bytes = document(1).size() + static_cast<std::size_t>(more);
      CHECK(document_fault(document(1), options) == (more < 0 ? expected{jwks_too_large} : good));
    }
  }
}
