#include <skein/validation.hpp>

#include <boost/json/parse.hpp>

#include <doctest/doctest.h>

#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using skein::json_limits;
using skein::json_validator;
using skein::message;
using skein::payload_kind;
using skein::payload_validator;
using skein::schema;
using skein::validation_code;
using namespace std::string_literals;

namespace {

/// What is wrong with a text, as `code pointer`; empty if nothing is. The text has not a byte to spare.
std::string verdict(const json_validator& validator, std::string_view text) {
  const std::vector<char> exact(text.begin(), text.end());
  const auto error = validator.check_text({exact.data(), exact.size()});
  return error ? std::string{name(error->code)} + " " + error->pointer : "";
}
std::string verdict(const schema& what, std::string_view text) {
  return verdict(json_validator{what}, text);
}

std::string repeat(const std::string& what, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += what;
  return all;
}

}  // namespace

TEST_SUITE("validation") {
  TEST_CASE("kind and size of a payload") {
    const auto code = [](const payload_validator& validator, const message& what) {
      const auto error = validator.check(what);
      return error ? name(error->code) : "";
    };
    CHECK(code(payload_validator{payload_kind::any}, message::binary("")) == "");
    CHECK(code(payload_validator{payload_kind::text}, message::text("a")) == "");
    CHECK(code(payload_validator{payload_kind::text}, message::binary("a")) == "not_text");
    CHECK(code(payload_validator{payload_kind::binary}, message::binary("a")) == "");
    CHECK(code(payload_validator{payload_kind::binary}, message::text("a")) == "not_binary");
    CHECK(code(payload_validator(payload_kind::any, 5), message::text("1234")) == "");
    CHECK(code(payload_validator(payload_kind::any, 5), message::text("12345")) == "");
    CHECK(code(payload_validator(payload_kind::any, 5), message::text("123456")) == "too_large");
    CHECK(code(payload_validator(payload_kind::any, 0), message::text(std::string(100'000, 'x'))) == "");
  }

  TEST_CASE("JSON comes in text, within its bytes") {
    const json_validator validator{schema::any(), json_limits(10, 16, 1'000)};
    CHECK(!validator.check(message::text("{}")));
    CHECK(validator.check(message::binary("{}"))->code == validation_code::not_text);
    CHECK(verdict(validator, "\"1234567\"") == "");
    CHECK(verdict(validator, "\"12345678\"") == "");
    CHECK(verdict(validator, "\"123456789\"") == "too_large ");
    CHECK(verdict(json_validator{schema::any(), json_limits(0, 16, 1'000)},
                  "\"" + std::string(200'000, 'x') + "\"") == "");
  }

  TEST_CASE("limits that cannot be kept are refused") {
    CHECK_THROWS_AS((json_validator{schema::any(), json_limits(0, 0, 1)}), std::invalid_argument);
    CHECK_THROWS_AS((json_validator{schema::any(), json_limits(0, 257, 1)}), std::invalid_argument);
    CHECK_THROWS_AS((json_validator{schema::any(), json_limits(0, 1, 0)}), std::invalid_argument);
    CHECK_NOTHROW((json_validator{schema::any(), json_limits(0, 256, 1)}));
  }

  TEST_CASE("a depth of 15 and 16 passes, 17 does not, and is stopped there") {
    for (const std::size_t depth : {15U, 16U, 17U, 1000U, 30'000U}) {
      const auto answer = depth <= 16 ? ""s : "too_deep " + repeat("/0", 16);
      CAPTURE(depth);
      CHECK(verdict(schema::any(), repeat("[", depth) + repeat("]", depth)) == answer);
      const auto objects = repeat("{\"a\":", depth) + "1" + repeat("}", depth);
      if (objects.size() <= 65'536)
        CHECK(verdict(schema::any(), objects) == (depth <= 16 ? ""s : "too_deep " + repeat("/a", 16)));
    }
    // What follows the step too far is not read.
    CHECK(verdict(schema::any(), repeat("[", 17) + "no JSON") == "too_deep " + repeat("/0", 16));
    CHECK(verdict(schema::any(), repeat("[", 16) + "no JSON") == "malformed " + repeat("/0", 15));
    // Breadth is not depth.
    CHECK(verdict(schema::any(), "[" + repeat("[[]],", 100) + "[]]") == "");
    CHECK(verdict(json_validator{schema::any(), json_limits(0, 1, 9)}, "[]") == "");
    CHECK(verdict(json_validator{schema::any(), json_limits(0, 1, 9)}, "[[]]") == "too_deep /0");
    const json_validator deepest{schema::any(), json_limits(0, 256, 999)};
    CHECK(verdict(deepest, repeat("[", 256) + repeat("]", 256)) == "");
    CHECK(verdict(deepest, repeat("[", 257) + repeat("]", 257)).substr(0, 8) == "too_deep");
  }

  TEST_CASE("999 and 1,000 fields and items pass, 1,001 do not, wherever they are") {
    for (const std::size_t count : {999U, 1'000U, 1'001U}) {
      const bool fits = count <= 1'000;
      CAPTURE(count);
      CHECK(verdict(schema::any(), "[" + repeat("1,", count - 1) + "1]") ==
            (fits ? "" : "too_many_elements /1000"));
      std::string object = "{";
      for (std::size_t i = 0; i < count; ++i)
        object += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":null";
      CHECK(verdict(schema::any(), object + "}") == (fits ? "" : "too_many_elements /k1000"));
      // An item that is an array counts itself and its items.
      const auto nested = "[" + repeat("[],", 498) + "[" + repeat("1,", count - 500) + "1]]";
      CHECK(verdict(schema::any(), nested).empty() == fits);
    }
    CHECK(verdict(json_validator{schema::any(), json_limits(0, 16, 1)}, "1") == "");
    CHECK(verdict(json_validator{schema::any(), json_limits(0, 16, 1)}, "[1,2]") == "too_many_elements /1");
    CHECK(verdict(json_validator{schema::any(), json_limits(0, 16, 1)}, R"({"a":1,"b":2})") ==
          "too_many_elements /b");
  }

  TEST_CASE("integers are exact to the ends of 64 bits") {
    CHECK(verdict(schema::integer(), "9223372036854775807") == "");
    CHECK(verdict(schema::integer(), "-9223372036854775808") == "");
    CHECK(verdict(schema::integer(), "18446744073709551615") == "");
    CHECK(verdict(schema::integer(), "18446744073709551616") == "wrong_type ");
    CHECK(verdict(schema::integer(), "-9223372036854775809") == "wrong_type ");
    CHECK(verdict(schema::integer(), "-0") == "");
    CHECK(verdict(schema::integer().range(0, 0), "-0") == "");
    CHECK(verdict(schema::integer(), "1.0") == "wrong_type ");
    CHECK(verdict(schema::integer(), "1e3") == "wrong_type ");
    CHECK(verdict(schema::integer(), "-0.0") == "wrong_type ");
    // 2^53 and its neighbours, which a double cannot tell apart.
    const auto exact = schema::integer().range(9'007'199'254'740'993, 9'007'199'254'740'993);
    CHECK(verdict(exact, "9007199254740992") == "out_of_range ");
    CHECK(verdict(exact, "9007199254740993") == "");
    CHECK(verdict(exact, "9007199254740994") == "out_of_range ");
    const auto largest = schema::integer().range(18'446'744'073'709'551'615U, 18'446'744'073'709'551'615U);
    CHECK(verdict(largest, "18446744073709551614") == "out_of_range ");
    CHECK(verdict(largest, "18446744073709551615") == "");
    CHECK(verdict(schema::number().range(-1, 1), "18446744073709551615") == "out_of_range ");
  }

  TEST_CASE("numbers are compared as they are written, and are finite") {
    for (const auto* text :
         {"0", "-0", "-0.0", "1e308", "1.7976931348623157e308", "-1e308", "5e-324", "1e-999", "-1e-999",
          "0e999", "0.1", "1E+2", "1e-2", "123456789012345678901234567890", "0.00000000000000000000001"}) {
      CAPTURE(text);
      CHECK(verdict(schema::number(), text) == "");
    }
    for (const auto* text : {"1e999", "-1e999", "1e309", "1.8e308", "1e99999999999", "123456789e400"}) {
      CAPTURE(text);
      CHECK(verdict(schema::number(), text) != "");
    }
    for (const auto* text : {"01", "+1", "1.", ".5", "1e", "1e+", "-", "0x1", "NaN", "Infinity", "-Infinity",
                             "1_000", "1,0", "--1", "00", "-01"}) {
      CAPTURE(text);
      CHECK(verdict(schema::number(), text) == "malformed ");
    }
    const auto tenths = schema::number().range(0.1, 0.3);
    CHECK(verdict(tenths, "0.1") == "");
    CHECK(verdict(tenths, "0.3") == "");
    CHECK(verdict(tenths, "0.30000000000000001") == "");  // the same double
    CHECK(verdict(tenths, "0.30000000000000005") == "out_of_range ");
    CHECK(verdict(tenths, "0.09999999999999999") == "out_of_range ");
    CHECK(verdict(schema::number().range(1, 5), "1") == "");
    CHECK(verdict(schema::number().range(1, 5), "5.0") == "");
    CHECK(verdict(schema::number().range(1, 5), "5.000000000000001") == "out_of_range ");
    CHECK(verdict(schema::integer().range(-1, 1), "-2") == "out_of_range ");
  }

  TEST_CASE("a field that is there twice is refused, declared or not, however it is written") {
    const auto declared = schema::object().required("a", schema::any());
    CHECK(verdict(declared, R"({"a":1,"a":1})") == "duplicate_field /a");
    CHECK(verdict(declared, R"({"a":1,"\u0061":1})") == "duplicate_field /a");
    CHECK(verdict(declared, R"({"a":1,"b":1,"c":1,"b":1})") == "duplicate_field /b");
    CHECK(verdict(schema::any(), R"({"":1,"":1})") == "duplicate_field /");
    CHECK(verdict(schema::any(), R"([{"x":{"b":1}},{"x":{"b":1,"b":2}}])") == "duplicate_field /1/x/b");
    CHECK(verdict(schema::any(), R"({"a":{"a":{"a":1}},"b":{"a":1}})") == "");
    CHECK(verdict(schema::any(), R"([{"a":1},{"a":1}])") == "");
    CHECK(verdict(schema::any(), R"({"ab":1,"a":1,"abc":1,"b":1})") == "");
  }

  TEST_CASE("an error names the value with a JSON Pointer") {
    const auto inner = schema::array(schema::array(schema::integer()));
    CHECK(verdict(inner, "[[1],[1,2,\"x\"]]") == "wrong_type /1/2");
    const auto odd = schema::object().optional("a/b", schema::object().optional("m~n", schema::null()));
    CHECK(verdict(odd, R"({"a/b":{"m~n":1}})") == "wrong_type /a~1b/m~0n");
    CHECK(verdict(schema::object().required("~/", schema::any()), "{}") == "missing_field /~0~1");
    CHECK(verdict(schema::object().closed(), R"({"\u0000\n":1})") == "unknown_field /\0\n"s);
    CHECK(verdict(schema::object().closed(), R"({"":1})") == "unknown_field /");
    // A name of the peer's that is too long is left out.
    const auto long_name = std::string(300, 'n');
    const auto strict = schema::object().optional("a", schema::object().closed());
    CHECK(verdict(strict, R"({"a":{")" + long_name + R"(":1}})") == "unknown_field /a");
    CHECK(verdict(strict, R"({"a":{")" + std::string(200, '/') + R"(":1}})") == "unknown_field /a");
    CHECK(verdict(strict, R"({"a":{")" + std::string(253, 'n') + R"(":1}})") ==
          "unknown_field /a/" + std::string(253, 'n'));
    CHECK(verdict(strict, R"({"a":{")" + std::string(254, 'n') + R"(":1}})") == "unknown_field /a");
    // The pointer finds the way back after objects that were closed before.
    const auto list =
        schema::object().required("l", schema::array(schema::object().optional("v", schema::integer())));
    CHECK(verdict(list, R"({"u":{"deep":[1,{"x":2}]},"l":[{"v":1},{"w":{"v":"fine"},"v":1.5}]})") ==
          "wrong_type /l/1/v");
  }

  TEST_CASE("the first that is wrong is named, and what is missing at the end of its object") {
    const auto object = schema::object().required("a", schema::integer()).required("b", schema::integer());
    CHECK(verdict(object, R"({"b":"x"})") == "wrong_type /b");
    CHECK(verdict(object, R"({"b":1} garbage)") == "missing_field /a");
    CHECK(verdict(object, R"({"a":1,"b":2} garbage)") == "malformed ");
    CHECK(verdict(object, R"({"b":1,)") == "malformed ");
  }

  TEST_CASE("sentences are for people and contain nothing of the message") {
    const auto sentence = [](const schema& what, const char* text) {
      return json_validator{what}.check_text(text)->text;
    };
    CHECK(sentence(schema::integer().range(1, 1'000'000), "0") == "this must be 1 or more");
    CHECK(sentence(schema::integer().range(1, 1'000'000), "1000001") == "this must be 1000000 or less");
    CHECK(sentence(schema::text().length(1, 16), "\"\"") == "this must have 1 to 16 characters");
    CHECK(sentence(schema::number().or_null(), "\"\"") == "this must be a number or null");
    CHECK(sentence(schema::integer(), "true") == "this must be an integer");
    CHECK(sentence(schema::any(), "[1,x]") == "this is not JSON at byte 3");
  }

  TEST_CASE("characters are counted, not bytes") {
    const auto two = schema::text().length(2, 2);
    CHECK(verdict(two, "\"ab\"") == "");
    CHECK(verdict(two, "\"\xe2\x82\xac\xf0\x9f\x98\x80\"") == "");
    CHECK(verdict(two, R"("\u20ac\ud83d\ude00")") == "");
    CHECK(verdict(two, "\"\xc3\xa9\"") == "wrong_length ");
    CHECK(verdict(two, "\"\xc3\xa9\xc3\xa9\xc3\xa9\"") == "wrong_length ");
    CHECK(verdict(schema::text().length(0, 0), "\"\"") == "");
    CHECK(verdict(schema::text().length(0, 0), "\"a\"") == "wrong_length ");
  }

  TEST_CASE("long texts come in parts and are checked as one") {
    // Escapes make the parser hand a text over in pieces.
    const auto pattern = json_validator{schema::text().pattern("^[ab]*$"), json_limits(0, 16, 10)};
    for (const std::size_t size : {1U, 100U, 682U, 683U, 1'000U, 4'095U, 4'096U}) {
      CAPTURE(size);
      CHECK(verdict(pattern, "\"" + repeat("\\u0061", size) + "\"") == "");
      CHECK(verdict(pattern, "\"" + std::string(size - 1, 'a') + "\\u0062\"") == "");
      CHECK(verdict(pattern, "\"" + repeat("\\u0061", size - 1) + "c\"") == "pattern_mismatch ");
    }
    CHECK(verdict(pattern, "\"" + std::string(4'097, 'a') + "\"") == "wrong_length ");
    const auto name = repeat("\\u0061", 1'000) + std::string(1'000, 'b');
    const auto field = repeat("a", 1'000) + std::string(1'000, 'b');
    const auto object = schema::object().required(field, schema::integer()).closed();
    CHECK(verdict(object, "{\"" + name + "\":1}") == "");
    CHECK(verdict(object, "{\"" + name + "c\":1}") == "unknown_field ");
  }

  TEST_CASE("values that are listed") {
    const auto what = schema::from_json(boost::json::parse(R"({"enum":["a","", 1, 2.5, -3, true, null]})"));
    for (const auto* text :
         {"\"a\"", "\"\"", "1", "1.0", "1e0", "2.5", "25e-1", "-3", "true", "null", R"("\u0061")"}) {
      CAPTURE(text);
      CHECK(verdict(what, text) == "");
    }
    for (const auto* text :
         {"\"b\"", "\"A\"", "\"a \"", "2", "3", "-1", "false", "\"1\"", "[]", "{}", "[1]", "\"null\""}) {
      CAPTURE(text);
      CHECK(verdict(what, text) == "not_allowed ");
    }
  }

  TEST_CASE("the types of values") {
    const std::vector<std::pair<schema, const char*>> rows{
        {schema::null(), "null"},  {schema::boolean(), "true"}, {schema::integer(), "1"},
        {schema::number(), "1.5"}, {schema::text(), "\"\""},    {schema::array(schema::any()), "[]"},
        {schema::object(), "{}"}};
    for (const auto& [what, own] : rows) {
      for (const auto& [other, text] : rows) {
        const bool fits = own == std::string_view{text} || (own == "1.5"s && text == "1"s);
        CAPTURE(own);
        CAPTURE(text);
        CHECK(verdict(what, text) == (fits ? "" : "wrong_type "));
      }
      CHECK(verdict(schema::any(), own) == "");
    }
  }

  TEST_CASE("what is no JSON is malformed, and nothing throws") {
    for (const auto& text :
         {""s, " "s, "{"s, "}"s, "["s, "]"s, "{]"s, "[}"s, "[1,]"s, "[,1]"s, "{\"a\":}"s, "{\"a\"}"s,
          "{\"a\":1,}"s, "{a:1}"s, "{'a':1}"s, "{1:1}"s, "\""s, "\"\\\""s, "\"\\x\""s, "\"\\u\""s,
          "\"\\u12\""s, "\"\\u12g4\""s, "\"\n\""s, "\"\x01\""s, "\"\0\""s, "\0"s, "tru"s, "True"s, "nulll"s,
          "1 2"s, "{} {}"s, "[] x"s, "// x\n1"s, "/* */1"s, "\xef\xbb\xbf{}"s,
          // Bytes that are no UTF-8, and halves of surrogate pairs.
          "\"\xff\""s, "\"\xc0\x80\""s, "\"\xed\xa0\x80\""s, "\"\xe2\x82\""s, "\"\xf4\x90\x80\x80\""s,
          "\"\x80\""s, R"("\ud800")"s, R"("\udc00")"s, R"("\ud800x")"s, R"("\ud800\ud800")"s,
          R"("\ud800\u0061")"s, R"("\udc00\ud800")"s, "{\"\xff\":1}"s, "{\"\\ud800\":1}"s}) {
      CAPTURE(text);
      CHECK(verdict(schema::any(), text).substr(0, 9) == "malformed");
    }
    CHECK(verdict(schema::any(), " \t\r\n{ } \n") == "");
    CHECK(verdict(schema::text(), R"("\ud83d\ude00\"\\\/\b\f\n\r\t\u0000")") == "");
  }

  TEST_CASE("every beginning of a message, and every message with one byte changed, gets an answer") {
    const auto order = schema::object()
                           .required("symbol", schema::text().pattern("^[A-Z]{1,8}$"))
                           .optional("legs", schema::array(schema::object().required("q", schema::integer())))
                           .closed();
    const json_validator validator{order};
    const auto whole =
        R"({"symbol":"\u0041APL","legs":[{"q":-12},{"q":7,"x":[1.5e3,true,null,"\ud83d\ude00"]}]})"s;
    REQUIRE(verdict(validator, whole) == "");
    for (std::size_t cut = 0; cut < whole.size(); ++cut)
      CHECK(verdict(validator, whole.substr(0, cut)) != "");
    std::mt19937 random{3};
    for (int i = 0; i < 20'000; ++i) {
      auto other = whole;
      other[random() % other.size()] = static_cast<char>(random() % 256);
      (void)verdict(validator, other);
    }
  }

  TEST_CASE("one validator serves several threads") {
    const json_validator validator{
        schema::object().required("a", schema::array(schema::text().pattern("^(x|y)+$"))).closed()};
    std::vector<std::thread> threads;
    std::vector<int> right(4);
    for (auto& mine : right) {
      threads.emplace_back([&validator, &mine] {
        for (int i = 0; i < 500; ++i) {
          mine += verdict(validator, R"({"a":["xy","yx"]})") == "" ? 1 : 0;
          mine += verdict(validator, R"({"a":["xy","z"]})") == "pattern_mismatch /a/1" ? 1 : 0;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(right == std::vector<int>(4, 1000));
  }
}
