#include "security/text_pattern.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <random>
#include <regex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using skein::detail::text_pattern;
using namespace std::string_literals;

namespace {

struct row {
  const char* expression;
  std::vector<std::string> matching;
  std::vector<std::string> others;
};

/// A random expression within what both this and std::regex understand.
std::string random_expression(std::mt19937& random, int nesting) {
  const auto any = [&random](unsigned below) { return random() % below; };
  std::string text;
  for (auto parts = 1 + any(3); parts > 0; --parts) {
    switch (nesting > 2 ? any(4) : any(6)) {
      case 0:
        text += "a";
        break;
      case 1:
        text += "b";
        break;
      case 2:
        text += any(2) != 0 ? "[ab]" : "[^a]";
        break;
      case 3:
        text += any(2) != 0 ? "." : "\\w";
        break;
      case 4:
        text += "(" + random_expression(random, nesting + 1) + ")";
        break;
      default:
        text += "(?:" + random_expression(random, nesting + 1) + "|" +
                random_expression(random, nesting + 1) + ")";
        break;
    }
    // Repetitions within repetitions within repetitions would take std::regex for ever.
    switch (nesting > 1 ? 9 : any(9)) {
      case 0:
        text += "?";
        break;
      case 1:
        text += "*";
        break;
      case 2:
        text += "+";
        break;
      case 3:
        text += "{2}";
        break;
      case 4:
        text += "{0,2}";
        break;
      case 5:
        text += "{1,}";
        break;
      default:
        break;
    }
  }
  return text;
}

}  // namespace

TEST_SUITE("text_pattern") {
  TEST_CASE("what matches and what does not") {
    const std::vector<row> rows{
        {"", {"", "anything"}, {}},
        {"^$", {""}, {"a", "\n"}},
        {"^", {"", "a"}, {}},
        {"$", {"", "a"}, {}},
        {"abc", {"abc", "xabcx", "ababc"}, {"", "ab", "a bc", "ABC"}},
        {"^abc", {"abc", "abcd"}, {"xabc", "ab", ""}},
        {"abc$", {"abc", "xabc", "abcabc"}, {"abcd", "abc\n"}},
        {"^abc$", {"abc"}, {"abcd", "xabc", "abc\n", "abcabc", ""}},
        {"^[A-Z]{1,16}$",
         {"A", "AAPL", "ABCDEFGHIJKLMNOP"},
         {"", "ABCDEFGHIJKLMNOPQ", "AApL", "A B", "\xc3\x84"}},
        {"^a?$", {"", "a"}, {"aa", "b"}},
        {"^a*$", {"", "a", "aaaa"}, {"aab"}},
        {"^a+$", {"a", "aaaa"}, {"", "ab"}},
        {"^a{3}$", {"aaa"}, {"", "aa", "aaaa"}},
        {"^a{0}$", {""}, {"a"}},
        {"^a{0}b$", {"b"}, {"ab"}},
        {"^a{2,}$", {"aa", "aaaaa"}, {"", "a"}},
        {"^a{0,2}$", {"", "a", "aa"}, {"aaa"}},
        {"^a{2,4}$", {"aa", "aaa", "aaaa"}, {"", "a", "aaaaa"}},
        {"^(ab)+$", {"ab", "abab"}, {"", "a", "aba", "abb"}},
        {"^(?:ab|c){2}$", {"abab", "abc", "cab", "cc"}, {"ab", "c", "abcc", ""}},
        {"^(a|)$", {"", "a"}, {"aa"}},
        {"^()*$", {""}, {"a"}},
        {"^(a*)*$", {"", "aaa"}, {"b"}},
        {"^(a*b?){3}$", {"", "ab", "ababab", "aaabbb"}, {"bbbb", "c"}},
        {"a|b", {"a", "b", "xbx"}, {"", "c"}},
        {"^(a|b)$", {"a", "b"}, {"ab", ""}},
        {"^.$",
         {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\t"},
         {"", "ab", "\n", "\r", "\xe2\x80\xa8", "\xe2\x80\xa9"}},
        {"^[^a]$", {"b", "\n", "\xf0\x9f\x98\x80"}, {"a", "bb", ""}},
        {"^[\xc3\xa4\xc3\xb6\xc3\xbc]+$", {"\xc3\xa4\xc3\xb6"}, {"a", "\xc3\xa5", "\xc3"}},
        {"^[\\u0400-\\u04FF]+$", {"\xd0\x96", "\xd3\xbf"}, {"Z", "\xd4\x80"}},
        {"^\\u20ac$", {"\xe2\x82\xac"}, {"u20ac", ""}},
        {"^\\d\\D\\w\\W\\s\\S$", {"1a_- x"}, {"aa_- x", "11_- x", "1a-- x", "1a__ x", "1a_-xx", "1a_-  "}},
        {"^\\s$", {" ", "\t", "\n", "\xc2\xa0", "\xe3\x80\x80", "\xef\xbb\xbf"}, {"a", "\xe2\x80\x8b"}},
        {"^\\w$", {"a", "Z", "0", "_"}, {"-", "\xc3\xa9"}},
        {"^[\\w.-]+@[\\w-]+(\\.[\\w-]+)+$", {"a.b@example.com"}, {"a@b", "@example.com", "a b@example.com"}},
        {"^[]$", {}, {"", "a", "]"}},
        {"^[^]$", {"a", "\n"}, {""}},
        {"^[a-]$", {"a", "-"}, {"b"}},
        {"^[-a]$", {"a", "-"}, {"b"}},
        {"^[\\]\\[^]$", {"]", "[", "^"}, {"\\"}},
        {"^[+--]$", {"+", ",", "-"}, {"*", "."}},
        {"^\\^\\$\\\\\\.\\*\\+\\?\\(\\)\\[\\]\\{\\}\\|\\/\\-$", {"^$\\.*+?()[]{}|/-"}, {""}},
        {"^a\\$$", {"a$"}, {"a", "a\\"}},
        {"\\$", {"$"}, {""}},
        {"^a\\\\$", {"a\\"}, {"a", "a$"}},
        {"^\\t\\n\\r\\f\\v$", {"\t\n\r\f\v"}, {"tnrfv"}},
        {"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", {"2026-01-31"}, {"2026-1-31", "2026-01-311", "x2026-01-31"}},
    };
    for (const auto& [expression, matching, others] : rows) {
      const text_pattern pattern{expression};
      CAPTURE(expression);
      for (const auto& text : matching) {
        CAPTURE(text);
        CHECK(pattern.matches(text));
      }
      for (const auto& text : others) {
        CAPTURE(text);
        CHECK(!pattern.matches(text));
      }
    }
  }

  TEST_CASE("what cannot be used is refused when it is made") {
    for (const auto* expression : {"(",       ")",          "a)",
                                   "(a",      "(?=a)",      "(?!a)",
                                   "(?<=a)",  "(?<name>a)", "(?",
                                   "[",       "[a",         "[z-a]",
                                   "[a-\\d]", "[[a]]",      "]",
                                   "}",       "{",          "{1}",
                                   "a{",      "a{}",        "a{,2}",
                                   "a{1",     "a{1,",       "a{1,2",
                                   "a{2,1}",  "a{257}",     "a{99999999999}",
                                   "a{1}{2}", "a**",        "a+?",
                                   "a??",     "a{1}?",      "*",
                                   "+a",      "?",          "a|*",
                                   "(*)",     "\\",         "a\\",
                                   "\\b",     "\\B",        "\\1",
                                   "\\k",     "\\p{L}",     "\\x41",
                                   "\\u",     "\\u12",      "\\u12g4",
                                   "\\ud800", "\\udfff",    "\\cA",
                                   "\\0",     "\\a",        "\\_",
                                   "a^",      "$a",         "(^a)",
                                   "(a$)",    "^^",         "$$",
                                   "^a|b",    "a|b$",       "^a|b$"}) {
      CAPTURE(expression);
      CHECK_THROWS_AS(text_pattern{expression}, std::invalid_argument);
    }
  }

  TEST_CASE("the number of positions, of nested groups and of empty repetitions is bounded") {
    CHECK_NOTHROW(text_pattern{"a{256}"});
    CHECK_NOTHROW(text_pattern{"(ab){128}"});
    CHECK_THROWS_AS(text_pattern{"a{256}b"}, std::invalid_argument);
    CHECK_THROWS_AS(text_pattern{"(ab){129}"}, std::invalid_argument);
    CHECK_THROWS_AS(text_pattern{"((a{100}){100}){100}"}, std::invalid_argument);
    CHECK_THROWS_AS(text_pattern{"(((){256}){256}){256}"}, std::invalid_argument);
    CHECK_NOTHROW(text_pattern{std::string(32, '(') + "a" + std::string(32, ')')});
    CHECK_THROWS_AS((text_pattern{std::string(33, '(') + "a" + std::string(33, ')')}), std::invalid_argument);
    CHECK_THROWS_AS(text_pattern{std::string(100'000, '(')}, std::invalid_argument);
    const text_pattern longest{"^a{256}$"};
    CHECK(!longest.matches(std::string(255, 'a')));
    CHECK(longest.matches(std::string(256, 'a')));
    CHECK(!longest.matches(std::string(257, 'a')));
  }

  TEST_CASE("what makes others slow or ends their stack does neither") {
    // (a*)*b and its like: exponential where the matcher goes back, a stack as deep as the text in
    // std::regex.
    const auto text = std::string(4096, 'a');
    for (const auto* expression :
         {"^(a*)*b$", "^(a+)+b$", "^(a|a)*b$", "(a|aa)+b", "(.*.*.*.*.*)b$", "(a?){128}a{127}b"}) {
      const text_pattern pattern{expression};
      const auto before = std::chrono::steady_clock::now();
      CHECK(!pattern.matches(text));
      CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds{2});
    }
    CHECK(text_pattern{"^(a*)*$"}.matches(std::string(1'000'000, 'a')));
  }

  TEST_CASE("bytes that are no UTF-8 are read without going past them") {
    const text_pattern pattern{"^[^x]*$"};
    for (const auto& text :
         {"\xff"s, "\xc3"s, "\xe2\x82"s, "\xf0\x9f\x98"s, "\x80"s, "a\xc3"s, "\xf8\x88\x80\x80\x80"s}) {
      const std::vector<char> exact(text.begin(), text.end());
      (void)pattern.matches({exact.data(), exact.size()});
    }
  }

  TEST_CASE("random expressions match what std::regex says they match") {
    std::mt19937 random{11};
    std::vector<std::string> texts{""};
    for (std::size_t i = 0; texts.size() < 63; ++i) {
      texts.push_back(texts[i] + "a");
      texts.push_back(texts[i] + "b");
    }
    int compared = 0;
    for (int i = 0; i < 400; ++i) {
      const auto expression = random_expression(random, 0);
      std::unique_ptr<text_pattern> whole, part;
      try {
        whole = std::make_unique<text_pattern>("^(?:" + expression + ")$");
        part = std::make_unique<text_pattern>(expression);
      } catch (const std::invalid_argument&) {
        continue;  // more than 256 positions
      }
      const std::regex other{expression};
      for (const auto& text : texts) {
        CAPTURE(expression);
        CAPTURE(text);
        REQUIRE(whole->matches(text) == std::regex_match(text, other));
        REQUIRE(part->matches(text) == std::regex_search(text, other));
        ++compared;
      }
    }
    CHECK(compared > 20'000);
  }
}
