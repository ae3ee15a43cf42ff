#include "security/base64url.hpp"

#include "unit/jwt_fixture.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <string_view>

using skein::detail::base64_fault;
using skein::detail::decode_base64url;
using namespace std::string_view_literals;

namespace {

base64_fault fault_of(std::string_view text) {
  std::string ignored;
  return decode_base64url(text, ignored);
}

}  // namespace

TEST_SUITE("base64url") {
  TEST_CASE("known answers") {
    // RFC 4648 section 10, and RFC 7515 appendix C.
    std::string bytes = "what was there";
    for (const auto& [text, meant] : {std::pair{""sv, ""sv},
                                      {"Zg"sv, "f"sv},
                                      {"Zm8"sv, "fo"sv},
                                      {"Zm9v"sv, "foo"sv},
                                      {"Zm9vYg"sv, "foob"sv},
                                      {"Zm9vYmE"sv, "fooba"sv},
                                      {"Zm9vYmFy"sv, "foobar"sv},
                                      {"A-z_4ME"sv, "\x03\xec\xff\xe0\xc1"sv}}) {
      CHECK(decode_base64url(text, bytes) == base64_fault::none);
      CHECK(bytes == meant);
    }
  }

  TEST_CASE("of the characters exactly those of the alphabet are taken") {
    std::size_t taken = 0;
    for (int c = 0; c < 256; ++c) {
      const auto text = "AA" + std::string(1, static_cast<char>(c)) + "A";
      const auto fault = fault_of(text);
      if (fault == base64_fault::none)
        ++taken;
      else
        CHECK(fault == (c == '=' ? base64_fault::padding : base64_fault::character));
    }
    CHECK(taken == 64);
  }

  TEST_CASE("of all texts of two characters 256 are canonical, of three 65536") {
    constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::size_t two = 0, three = 0;
    std::string bytes;
    for (const char a : alphabet) {
      for (const char b : alphabet) {
        std::string text{a, b};
        if (decode_base64url(text, bytes) == base64_fault::none && jwt_test::base64url(bytes) == text) ++two;
        text.push_back('A');
        for (const char c : alphabet) {
          text.back() = c;
          const auto fault = decode_base64url(text, bytes);
          if (fault == base64_fault::none && jwt_test::base64url(bytes) == text) ++three;
        }
      }
    }
    CHECK(two == 256);
    CHECK(three == 65'536);
    CHECK(fault_of("AB") == base64_fault::trailing_bits);
    CHECK(fault_of("AAB") == base64_fault::trailing_bits);
  }

  TEST_CASE("a length that no bytes encode to") {
    for (std::size_t size = 0; size < 70; ++size) {
      CHECK(fault_of(std::string(size, 'A')) == (size % 4 == 1 ? base64_fault::length : base64_fault::none));
    }
  }

  TEST_CASE("what was encoded comes back") {
    std::mt19937 random{7};
    std::string decoded;
    for (std::size_t size = 0; size < 300; ++size) {
      std::string bytes;
      for (std::size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(random()));
      REQUIRE(decode_base64url(jwt_test::base64url(bytes), decoded) == base64_fault::none);
      REQUIRE(decoded == bytes);
    }
  }
}
