#include <skein/validation.hpp>

#include <boost/json/parse.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <stdexcept>
#include <string>

using skein::json_validator;
using skein::schema;

namespace {

schema load(const char* text) {
  return schema::from_json(boost::json::parse(text));
}

/// What is wrong with a text, as `code pointer`; empty if nothing is.
std::string verdict(const schema& what, std::string_view text) {
  const json_validator validator{what};
  const auto error = validator.check_text(text);
  return error ? std::string{name(error->code)} + " " + error->pointer : "";
}

}  // namespace

TEST_SUITE("schema") {
  TEST_CASE("a declaration in JSON means what the same in code means") {
    const auto declared = load(R"({
      "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "an order", "description": "", "$comment": "",
      "type": "object", "additionalProperties": false, "required": ["symbol", "side", "quantity"],
      "properties": {
        "symbol": {"type": "string", "pattern": "^[A-Z]{1,16}$"},
        "side": {"type": "string", "enum": ["buy", "sell"]},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 1000000},
        "price": {"type": ["number", "null"], "minimum": 0.01},
        "tags": {"type": "array", "maxItems": 2, "items": {"type": "string", "minLength": 1, "maxLength": 3}}
      }})");
    const auto made = schema::object()
                          .required("symbol", schema::text().pattern("^[A-Z]{1,16}$"))
                          .required("side", schema::text().one_of({"buy", "sell"}))
                          .required("quantity", schema::integer().range(1, 1'000'000))
                          .optional("price", schema::number().range(0.01, 1e308).or_null())
                          .optional("tags", schema::array(schema::text().length(1, 3)).length(0, 2))
                          .closed();
    const std::vector<std::pair<const char*, const char*>> rows{
        {R"({"symbol":"AAPL","side":"buy","quantity":10})", ""},
        {R"({"symbol":"AAPL","side":"buy","quantity":1000000,"price":null,"tags":["a","abc"]})", ""},
        {R"({"symbol":"AAPL","side":"buy","quantity":1,"price":0.01})", ""},
        {R"({"symbol":"AAPL","side":"buy","quantity":1,"price":1})", ""},
        {R"({"symbol":"aapl","side":"buy","quantity":10})", "pattern_mismatch /symbol"},
        {R"({"symbol":"AAPL","side":"hold","quantity":10})", "not_allowed /side"},
        {R"({"symbol":"AAPL","side":"buy","quantity":0})", "out_of_range /quantity"},
        {R"({"symbol":"AAPL","side":"buy","quantity":1000001})", "out_of_range /quantity"},
        {R"({"symbol":"AAPL","side":"buy","quantity":1.0})", "wrong_type /quantity"},
        {R"({"symbol":"AAPL","side":"buy","quantity":"10"})", "wrong_type /quantity"},
        {R"({"symbol":"AAPL","side":"buy"})", "missing_field /quantity"},
        {R"({"symbol":"AAPL","side":"buy","quantity":1,"price":0.009})", "out_of_range /price"},
        {R"({"symbol":"AAPL","side":"buy","quantity":1,"price":true})", "wrong_type /price"},
        {R"({"symbol":"AAPL","side":"buy","quantity":1,"tags":["a","b","c"]})", "wrong_length /tags"},
        {R"({"symbol":"AAPL","side":"buy","quantity":1,"tags":["a","abcd"]})", "wrong_length /tags/1"},
        {R"({"symbol":"AAPL","side":"buy","quantity":1,"tags":[""]})", "wrong_length /tags/0"},
        {R"({"symbol":"AAPL","side":"buy","quantity":1,"more":1})", "unknown_field /more"},
        {R"([])", "wrong_type "},
    };
    for (const auto& [text, answer] : rows) {
      CAPTURE(text);
      CHECK(verdict(declared, text) == answer);
      CHECK(verdict(made, text) == answer);
    }
  }

  TEST_CASE("what a schema in JSON cannot say is refused when it is loaded") {
    for (const auto* text : {
             // No schema.
             "true",
             "false",
             "null",
             "1",
             "[]",
             R"("string")",
             // Keywords that are not supported, and slips of the pen.
             R"({"type":"object","patternProperties":{}})",
             R"({"type":"number","multipleOf":2})",
             R"({"type":"number","exclusiveMinimum":2})",
             R"({"$ref":"#"})",
             R"({"oneOf":[]})",
             R"({"anyOf":[]})",
             R"({"allOf":[]})",
             R"({"not":{}})",
             R"({"const":1})",
             R"({"type":"string","format":"email"})",
             R"({"type":"string","default":""})",
             R"({"type":"string","minlength":1})",
             R"({"Type":"string"})",
             R"({"type":"object","require":["a"]})",
             R"({"type":"array","uniqueItems":true})",
             R"({"":1})",
             R"({"$id":"x","type":"string"})",
             // Without a type.
             R"({"minimum":1})",
             R"({"properties":{}})",
             R"({"required":["a"]})",
             R"({"title":"x"})",
             R"({"enum":["a"],"maxLength":3})",
             // Keywords without effect on the type.
             R"({"type":"string","minimum":1})",
             R"({"type":"integer","minLength":1})",
             R"({"type":"integer","pattern":"a"})",
             R"({"type":"object","items":{}})",
             R"({"type":"array","required":[]})",
             R"({"type":"array","properties":{}})",
             R"({"type":"null","additionalProperties":false})",
             R"({"type":"boolean","maxItems":1})",
             R"({"type":"object","maxLength":1})",
             // Values of the wrong form.
             R"({"type":"text"})",
             R"({"type":""})",
             R"({"type":1})",
             R"({"type":[]})",
             R"({"type":["string",1]})",
             R"({"type":null})",
             R"({"type":"object","properties":[]})",
             R"({"type":"object","properties":{"a":1}})",
             R"({"type":"object","required":"a"})",
             R"({"type":"object","required":[1]})",
             R"({"type":"object","required":["a","a"]})",
             R"({"type":"object","properties":{"a":{"type":"null"}},"required":["a","a"]})",
             R"({"type":"object","required":["a"],"additionalProperties":false})",
             R"({"type":"object","additionalProperties":{}})",
             R"({"type":"object","additionalProperties":1})",
             R"({"type":"array","items":[]})",
             R"({"type":"array","items":true})",
             R"({"type":"array","minItems":-1})",
             R"({"type":"array","minItems":1.5})",
             R"({"type":"array","maxItems":"1"})",
             R"({"type":"string","minLength":-1})",
             R"({"type":"string","minLength":1.0})",
             R"({"type":"string","maxLength":null})",
             R"({"type":"number","minimum":"1"})",
             R"({"type":"number","maximum":null})",
             R"({"type":"string","pattern":1})",
             R"x({"type":"string","pattern":"("})x",
             R"x({"type":"string","pattern":"(?=a)"})x",
             R"({"enum":[]})",
             R"({"enum":"a"})",
             R"({"enum":[{}]})",
             R"({"enum":[[]]})",
             R"({"type":"string","enum":["a",1]})",
             R"({"type":"integer","enum":[1.5]})",
             R"({"type":"object","enum":[null]})",
             // Limits that nothing can keep.
             R"({"type":"number","minimum":2,"maximum":1})",
             R"({"type":"number","maximum":1e999})",
             R"({"type":"string","minLength":2,"maxLength":1})",
             R"({"type":"array","minItems":2,"maxItems":1})",
             // The same deeper down.
             R"({"type":"object","properties":{"a":{"type":"array","items":{"type":"strin"}}}})",
         }) {
      CAPTURE(text);
      CHECK_THROWS_AS(load(text), std::invalid_argument);
    }
  }

  TEST_CASE("a refusal names the place and the keyword") {
    std::string why;
    try {
      (void)load(
          R"({"type":"object","properties":{"a":{"type":"array","items":{"type":"string","minimum":1}}}})");
    } catch (const std::invalid_argument& error) {
      why = error.what();
    }
    CHECK(why ==
          "the schema at \"/properties/a/items\" cannot be used: \"minimum\" has no effect on this type");
  }

  TEST_CASE("a declaration is bounded in its fields and its nesting") {
    const auto with_fields = [](int count) {
      auto object = schema::object();
      for (int i = 0; i < count; ++i) object.required("f" + std::to_string(i), schema::any());
      return object;
    };
    CHECK_NOTHROW(with_fields(256));
    CHECK_THROWS_AS(with_fields(257), std::invalid_argument);
    CHECK(verdict(with_fields(256), "{}").substr(0, 13) == "missing_field");

    boost::json::value nested = boost::json::object{};
    for (int i = 0; i < 64; ++i) nested = boost::json::object{{"type", "array"}, {"items", nested}};
    CHECK_NOTHROW((void)schema::from_json(nested));
    nested = boost::json::object{{"type", "array"}, {"items", nested}};
    CHECK_THROWS_AS((void)schema::from_json(nested), std::invalid_argument);
  }

  TEST_CASE("declarations in code that cannot be meant are refused") {
    CHECK_THROWS_AS(schema::text().range(1, 2), std::invalid_argument);
    CHECK_THROWS_AS(schema::integer().length(1, 2), std::invalid_argument);
    CHECK_THROWS_AS(schema::any().length(1, 2), std::invalid_argument);
    CHECK_THROWS_AS(schema::number().pattern("a"), std::invalid_argument);
    CHECK_THROWS_AS(schema::text().required("a", schema::any()), std::invalid_argument);
    CHECK_THROWS_AS(schema::array(schema::any()).closed(), std::invalid_argument);
    CHECK_THROWS_AS(schema::integer().one_of({"a"}), std::invalid_argument);
    CHECK_THROWS_AS(schema::text().one_of({}), std::invalid_argument);
    CHECK_THROWS_AS(schema::integer().range(2, 1), std::invalid_argument);
    CHECK_THROWS_AS(schema::text().length(2, 1), std::invalid_argument);
    CHECK_THROWS_AS(schema::number().range(0.0, std::numeric_limits<double>::infinity()),
                    std::invalid_argument);
    CHECK_THROWS_AS(schema::number().range(std::numeric_limits<double>::quiet_NaN(), 1.0),
                    std::invalid_argument);
    CHECK_THROWS_AS(schema::object().required("a", schema::any()).optional("a", schema::any()),
                    std::invalid_argument);
    auto range = schema::integer().range(1, 5);
    CHECK_THROWS_AS(range.range(9, 8), std::invalid_argument);
    CHECK(verdict(range, "5") == "");  // what was refused has changed nothing
    CHECK(verdict(range, "6") == "out_of_range ");
  }

  TEST_CASE("copies are independent") {
    auto first = schema::text().length(1, 1);
    auto second = first;
    const auto object = schema::object().required("a", first);
    first.length(2, 2);
    CHECK(verdict(second, "\"x\"") == "");
    CHECK(verdict(first, "\"x\"") == "wrong_length ");
    CHECK(verdict(object, R"({"a":"x"})") == "");
    second = schema::null();
    CHECK(verdict(second, "null") == "");
  }

  TEST_CASE("null beside a list, whichever is declared first") {
    for (const auto& what :
         {schema::text().one_of({"a"}).or_null(), schema::text().or_null().one_of({"a"})}) {
      CHECK(verdict(what, "null") == "");
      CHECK(verdict(what, "\"a\"") == "");
      CHECK(verdict(what, "\"b\"") == "not_allowed ");
      CHECK(verdict(what, "1") == "wrong_type ");
    }
  }
}
