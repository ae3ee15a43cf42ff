#include "app/log.hpp"

#include <doctest/doctest.h>

using skein::app::one_line;

TEST_SUITE("log") {
  TEST_CASE("printable text is left alone") {
    CHECK(one_line("") == "");
    CHECK(one_line("a line") == "a line");
    CHECK(one_line("gr\xc3\xbc\xc3\x9f"
                   "e \xf0\x9f\xa7\xb6") ==
          "gr\xc3\xbc\xc3\x9f"
          "e \xf0\x9f\xa7\xb6");
  }

  TEST_CASE("control characters cannot make a second line or move the cursor") {
    CHECK(one_line("a\r\nb") == "a\\x0d\\x0ab");
    CHECK(one_line("\x1b[2J") == "\\x1b[2J");
    CHECK(one_line(std::string_view{"\0", 1}) == "\\x00");
    CHECK(one_line("\x7f") == "\\x7f");
    CHECK(one_line("\xc2\x9b"
                   "2J") == "\\xc2\\x9b2J");
  }

  TEST_CASE("what turns the direction of a line around, or ends it, is written as numbers") {
    CHECK(one_line("a\u202eb") == "a\\xe2\\x80\\xaeb");
    CHECK(one_line("\u2066") == "\\xe2\\x81\\xa6");
    CHECK(one_line("\u2069") == "\\xe2\\x81\\xa9");
    CHECK(one_line("\u2028") == "\\xe2\\x80\\xa8");
    CHECK(one_line("\u061c") == "\\xd8\\x9c");
    for (const std::string harmless :
         {"\u2027", "\u202f", "\u200d", "\u2010", "\u2065", "\u206a", "\u061b", "\u05d0"})
      CHECK(one_line(harmless) == harmless);
  }

  TEST_CASE("bytes that are not UTF-8 are written as numbers") {
    CHECK(one_line("\xff") == "\\xff");
    CHECK(one_line("\xc3") == "\\xc3");
    CHECK(one_line("\xc0\xaf") == "\\xc0\\xaf");
    CHECK(one_line("\xed\xa0\x80") == "\\xed\\xa0\\x80");
    CHECK(one_line("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");
  }

  TEST_CASE("a long line is cut at a character, and says so") {
    CHECK(one_line("12345678", 8) == "12345678");
    CHECK(one_line("123456789", 8) == "12345...");
    CHECK(one_line("1234\xc3\xbc\xc3\xbc\xc3\xbc", 8) == "1234...");
    CHECK(one_line("1234\n\n", 8) == "1234...");
    CHECK(one_line("1234\n", 8) == "1234\\x0a");
    CHECK(one_line(std::string(5'000, 'x')).size() == 1'000);
    CHECK(one_line("12345", 2) == "..");
  }
}
