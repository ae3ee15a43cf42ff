// What a publication looks like to those who speak the JSON protocol.

#include "hub/envelope.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace skein;
using skein::detail::envelope_label;
using skein::detail::enveloped;
using skein::detail::field_of;

namespace {

std::string of(const std::string& payload, const envelope_label& label) {
  const auto made = enveloped(message::text(payload), label);
  CHECK(made.is_text());
  return std::string{made.payload()};
}

std::string in_topic(const std::string& payload) {
  envelope_label label;
  label.channel = "t";
  return of(payload, label);
}

}  // namespace

TEST_SUITE("envelope") {
  TEST_CASE("an object keeps its fields, in their order, and gets those of the publication") {
    CHECK(in_topic(R"({"b":1,"a":{"channel":2}})") == R"({"b":1,"a":{"channel":2},"channel":"t"})");
    CHECK(in_topic("{}") == R"({"channel":"t"})");
    CHECK(in_topic(" { } ") == R"({ "channel":"t"})");
    CHECK(in_topic("\n{\"a\" : [1, {}]}\r\n") == R"({"a" : [1, {}],"channel":"t"})");
    CHECK(of(R"({"a":1})", {"a.b", "e", 7}) == R"({"a":1,"channel":"a.b","epoch":"e","offset":7})");
    CHECK(of(R"({"a":1})", {"a.b", "e", 0}) == R"({"a":1,"channel":"a.b"})");
    envelope_label stored;
    stored.stored = 1763900000000001;
    CHECK(of(R"({"a":1})", stored) == R"({"a":1,"message_id":1763900000000001})");
    CHECK(of(R"({"a":1})", {}) == R"({"a":1})");
  }

  TEST_CASE("an object that has one of these fields goes into an envelope") {
    for (const std::string own : {"channel", "epoch", "offset", "message_id"}) {
      const auto payload = "{\"x\":0,\"" + own + "\":1}";
      CHECK(in_topic(payload) == "{\"data\":" + payload + ",\"channel\":\"t\"}");
      // Also without a label: a message to a user does not pass for a publication.
      CHECK(of(payload, {}) == "{\"data\":" + payload + '}');
    }
    // However it is written.
    CHECK(in_topic(R"({"\u0063hannel":1})") == R"({"data":{"\u0063hannel":1},"channel":"t"})");
    CHECK(in_topic(R"({"a":{"offset":1},"b":["epoch"]})") ==
          R"({"a":{"offset":1},"b":["epoch"],"channel":"t"})");
  }

  TEST_CASE("a publication does not pass for what the server says itself") {
    for (const std::string type :
         {"acked", "authenticated", "error", "history", "pong", "presence", "presence_change", "published",
          "refreshed", "subscribed", "unsubscribed", "welcome"}) {
      const auto payload = R"({"type":")" + type + R"(","code":"not_allowed"})";
      CHECK(in_topic(payload) == "{\"data\":" + payload + ",\"channel\":\"t\"}");
      // To a user only modules speak, and they may say what they like.
      CHECK(of(payload, {}) == payload);
      CHECK(in_topic(R"({"type":")" + type + R"(_"})") == R"({"type":")" + type + R"(_","channel":"t"})");
    }
    // However it is written, and whichever of several a reader takes.
    const std::string hidden = R"({"ty\u0070e":"unsubscri\u0062ed"})",
                      last = R"({"type":"x","type":"error"})";
    CHECK(in_topic(hidden) == "{\"data\":" + hidden + ",\"channel\":\"t\"}");
    CHECK(in_topic(last) == "{\"data\":" + last + ",\"channel\":\"t\"}");
    const std::string first = R"({"type":"error","type":"x"})",
                      middle = R"({"type":1,"type":"error","type":[2]})";
    CHECK(in_topic(first) == "{\"data\":" + first + ",\"channel\":\"t\"}");
    CHECK(in_topic(middle) == "{\"data\":" + middle + ",\"channel\":\"t\"}");
    CHECK(in_topic(R"({"type":["error"],"a":{"type":"error"}})") ==
          R"({"type":["error"],"a":{"type":"error"},"channel":"t"})");
  }

  TEST_CASE("other JSON, other text, and bytes") {
    CHECK(in_topic("[1,2]") == R"({"data":[1,2],"channel":"t"})");
    CHECK(in_topic("\"x\"") == R"({"data":"x","channel":"t"})");
    CHECK(in_topic(" -1.5e3 ") == R"({"data":-1.5e3,"channel":"t"})");
    CHECK(in_topic("null") == R"({"data":null,"channel":"t"})");
    CHECK(in_topic("hello \"you\"") == R"({"data":"hello \"you\"","channel":"t"})");
    CHECK(in_topic("") == R"({"data":"","channel":"t"})");
    CHECK(in_topic("{\"a\":1") == R"({"data":"{\"a\":1","channel":"t"})");
    CHECK(in_topic("{} {}") == R"({"data":"{} {}","channel":"t"})");
    CHECK(in_topic("{\"a\":01}") == R"({"data":"{\"a\":01}","channel":"t"})");
    CHECK(of("x", {}) == R"({"data":"x"})");
    envelope_label label;
    label.channel = "t";
    const auto bytes = [&](std::string what) {
      return std::string{enveloped(message::binary(std::move(what)), label).payload()};
    };
    CHECK(bytes("") == R"({"data":"","encoding":"base64","channel":"t"})");
    CHECK(bytes("f") == R"({"data":"Zg==","encoding":"base64","channel":"t"})");
    CHECK(bytes("foobar") == R"({"data":"Zm9vYmFy","encoding":"base64","channel":"t"})");
    CHECK(bytes(std::string("\0\xff", 2)) == R"({"data":"AP8=","encoding":"base64","channel":"t"})");
  }

  TEST_CASE("names are escaped") {
    envelope_label label;
    label.channel = "a\"b\\c";
    CHECK(of("{}", label) == R"({"channel":"a\"b\\c"})");
  }

  TEST_CASE("nesting has an end") {
    const auto nested = [](int depth) {
      return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
    };
    CHECK(in_topic(nested(254)).starts_with("{\"a\":"));
    CHECK(in_topic(nested(100'000)).starts_with("{\"data\":\""));
  }

  TEST_CASE("a field of an object, as text") {
    CHECK(field_of(R"({"symbol":"AAPL","n":1})", "symbol") == "AAPL");
    CHECK(field_of(R"({"symbol":"AA\u0050L"})", "symbol") == "AAPL");
    CHECK(field_of(R"({"a":{"symbol":"x"},"symbol":17.50})", "symbol") == "17.50");
    CHECK(field_of(R"({"symbol":true})", "symbol") == "true");
    CHECK(field_of(R"({"symbol":"1","symbol":"2"})", "symbol") == "2");
    CHECK(field_of(R"({"symbol":[1]})", "symbol").empty());
    CHECK(field_of(R"({"symbol":null})", "symbol").empty());
    CHECK(field_of(R"({"symbol":{"symbol":1}})", "symbol").empty());
    CHECK(field_of(R"({"x":{"symbol":1}})", "symbol").empty());
    CHECK(field_of(R"([{"symbol":1}])", "symbol").empty());
    CHECK(field_of("symbol", "symbol").empty());
    CHECK(field_of("", "symbol").empty());
  }
}
