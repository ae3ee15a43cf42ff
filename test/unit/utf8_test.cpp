#include "wire/utf8.hpp"

#include "wire/unmask.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace skein::detail;
using namespace std::string_literals;

namespace {

/// RFC 3629 section 4 as it is written there: the longest beginning that whole characters can begin with, or
/// npos if everything is a beginning of UTF-8.
struct verdict {
  std::size_t first_bad = std::string_view::npos;
  bool complete = true;
};
verdict judge(std::string_view text) {
  struct form {
    unsigned first_low, first_high, second_low, second_high, length;
  };
  constexpr std::array<form, 9> forms{{{0x00, 0x7f, 0, 0, 1},
                                       {0xc2, 0xdf, 0x80, 0xbf, 2},
                                       {0xe0, 0xe0, 0xa0, 0xbf, 3},
                                       {0xe1, 0xec, 0x80, 0xbf, 3},
                                       {0xed, 0xed, 0x80, 0x9f, 3},
                                       {0xee, 0xef, 0x80, 0xbf, 3},
                                       {0xf0, 0xf0, 0x90, 0xbf, 4},
                                       {0xf1, 0xf3, 0x80, 0xbf, 4},
                                       {0xf4, 0xf4, 0x80, 0x8f, 4}}};
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  std::size_t at = 0;
  while (at < text.size()) {
    const form* found = nullptr;
    for (const auto& one : forms) {
      if (byte(at) >= one.first_low && byte(at) <= one.first_high) found = &one;
    }
    if (found == nullptr) return {at, false};
    for (std::size_t i = 1; i < found->length; ++i) {
      if (at + i == text.size()) return {std::string_view::npos, false};
      const auto low = i == 1 ? found->second_low : 0x80U;
      const auto high = i == 1 ? found->second_high : 0xbfU;
      if (byte(at + i) < low || byte(at + i) > high) return {at + i, false};
    }
    at += found->length;
  }
  return {};
}

/// At once, and byte by byte.
bool agrees(std::string_view text) {
  const auto expected = judge(text);
  const bool right = expected.first_bad == std::string_view::npos;
  utf8_validator at_once;
  if (at_once.take(text) != right || (right && at_once.complete() != expected.complete)) return false;
  utf8_validator bytewise;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!bytewise.take(text.substr(i, 1))) return i == expected.first_bad;
  }
  return right && bytewise.complete() == expected.complete;
}

/// In two pieces, divided everywhere.
bool agrees_divided(std::string_view text) {
  const auto expected = judge(text);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    utf8_validator one;
    const bool first = one.take(text.substr(0, cut));
    if (first != (expected.first_bad >= cut)) return false;
    if (!first) continue;
    const bool second = one.take(text.substr(cut));
    if (second != (expected.first_bad == std::string_view::npos)) return false;
    if (second && one.complete() != expected.complete) return false;
  }
  return true;
}

// The ends of every range of RFC 3629.
constexpr std::array<unsigned char, 22> edges{0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0,
                                              0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec,
                                              0xed, 0xef, 0xf0, 0xf3, 0xf4, 0xf5};

std::string characters(std::size_t size, unsigned seed) {
  const std::array<std::string, 6> some{"a", " and ", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "z"};
  std::minstd_rand random{seed};
  std::string text;
  while (text.size() < size) text += some[random() % some.size()];
  return text;
}

}  // namespace

TEST_SUITE("utf8") {
  TEST_CASE(
      "every text of one and two bytes is judged as RFC 3629 says, and with the ends of all ranges in a "
      "third") {
    bool all = true;
    std::string text(3, '\0');
    for (unsigned a = 0; a < 256; ++a) {
      text[0] = static_cast<char>(a);
      all = all && agrees({text.data(), 1});
      for (unsigned b = 0; b < 256; ++b) {
        text[1] = static_cast<char>(b);
        all = all && agrees({text.data(), 2});
        for (const auto c : edges) {
          text[2] = static_cast<char>(c);
          all = all && agrees(text);
        }
      }
    }
    CHECK(all);
  }

  TEST_CASE("the ends of all ranges in four bytes, wherever they stand in a longer text") {
    bool all = true;
    for (const std::size_t before : {0U, 3U, 13U, 15U, 29U}) {
      for (const std::string filler : {"a", "\xc3\xa9"}) {
        std::string text;
        while (text.size() < before) text += filler;
        const auto at = text.size();
        text.resize(at + 4);
        text += std::string(20, 'z');
        for (const auto a : edges) {
          for (const auto b : edges) {
            for (const auto c : edges) {
              for (const auto d : edges) {
                const std::array<unsigned char, 4> four{a, b, c, d};
                for (std::size_t i = 0; i < 4; ++i) text[at + i] = static_cast<char>(four[i]);
                const bool right = judge(text).first_bad == std::string_view::npos;
                utf8_validator one;
                all = all && one.take(text) == right;
              }
            }
          }
        }
      }
    }
    CHECK(all);
  }

  TEST_CASE("a text may be divided anywhere") {
    for (unsigned seed = 0; seed < 30; ++seed) {
      const auto text = characters(70, seed);
      CHECK(agrees_divided(text));
      CHECK(agrees_divided(std::string_view{text}.substr(0, text.size() - 1)));
      std::minstd_rand random{seed};
      auto bad = text;
      bad[random() % bad.size()] = static_cast<char>(random() % 256);
      CHECK(agrees_divided(bad));
    }
  }

  TEST_CASE("one wrong byte is found at every place of a long text, and at that byte") {
    const auto text = characters(120, 7);
    for (std::size_t at = 0; at < text.size(); ++at) {
      for (const char wrong : {'\xff', '\x80', '\xc0', '\xed', 'a'}) {
        auto bad = text;
        bad[at] = wrong;
        CAPTURE(at);
        CHECK(agrees(bad));
      }
    }
  }

  TEST_CASE("a character that is not finished is not complete, and ASCII does not finish it") {
    utf8_validator one;
    CHECK(one.complete());
    CHECK(one.take("\xe2\x82"));
    CHECK(!one.complete());
    CHECK(one.take_ascii(0));
    CHECK(!one.take_ascii(1));
    CHECK(one.take(""));
    CHECK(one.take("\xac"));
    CHECK(one.complete());
    CHECK(one.take_ascii(5));
    CHECK(one.take("\xf0"));
    one.reset();
    CHECK(one.complete());
  }
}

TEST_SUITE("unmask") {
  TEST_CASE("any number of bytes at any place is unmasked, no byte beside them, and ASCII is known") {
    const std::array<unsigned char, 4> key{0x12, 0x80, 0xff, 0x01};
    std::uint32_t word = 0;
    std::memcpy(&word, key.data(), 4);
    for (std::size_t offset = 0; offset < 9; ++offset) {
      for (std::size_t size = 0; size < 140; ++size) {
        for (std::size_t high = 0; high <= size; high += 1 + size / 5) {  // where a byte is not ASCII; none
          std::string plain(size, 'x');
          if (high < size) plain[high] = '\x80';
          auto masked = "0123456789"s.substr(0, offset) + plain + "behind";
          for (std::size_t i = 0; i < size; ++i) {
            masked[offset + i] = static_cast<char>(static_cast<unsigned char>(plain[i]) ^ key[i % 4]);
          }
          const bool ascii = unmask({masked.data() + offset, size}, word);
          REQUIRE(masked == "0123456789"s.substr(0, offset) + plain + "behind");
          REQUIRE(ascii == (high >= size));
        }
      }
    }
  }

  TEST_CASE("a payload in pieces is unmasked as one") {
    const std::uint32_t key = 0x04030201;
    std::string whole(50, 'a');
    unmask({whole.data(), whole.size()}, key);
    for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
      auto pieces = std::string(50, 'a');
      unmask({pieces.data(), cut}, key);
      unmask({pieces.data() + cut, pieces.size() - cut}, advance_key(key, cut));
      REQUIRE(pieces == whole);
    }
  }
}
