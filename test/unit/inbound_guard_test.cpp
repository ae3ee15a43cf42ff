// How fast messages may come, and what they must be, before a handler sees them.

#include "connection/inbound_guard.hpp"

#include "hub_fixture.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

using namespace hub_test;

namespace {

namespace json = boost::json;

struct limited : fixture {
  testing::memory_peer& connect_with(const route_options& how, identity who = {}) {
    peers.push_back(testing::connect(*hub, echo, {}, std::move(who), how));
    settle();
    return *peers.back();
  }
  /// What comes back, when each message is sent after the answer to the one before.
  std::vector<std::string> say(testing::memory_peer& peer, const std::vector<std::string>& texts) {
    std::vector<std::string> answers;
    for (const auto& one : texts) {
      peer.send(text(one));
      settle();
      for (const auto& answer : drink(*this, peer)) answers.emplace_back(answer.payload());
    }
    return answers;
  }
};

json::object error_in(const std::string& text) {
  auto parsed = json::parse(text);
  REQUIRE(parsed.is_object());
  CHECK(parsed.at("type") == "error");
  return parsed.get_object();
}

route_options at_rate(rate messages, rate bytes = {}) {
  route_options how;
  how.messages = messages;
  how.bytes = bytes;
  return how;
}

route_options orders_only() {
  route_options how;
  const auto order =
      schema::object().required("symbol", schema::text()).required("quantity", schema::integer());
  how.validator = std::make_shared<json_validator>(order, json_limits{200, 3, 5});
  return how;
}

const std::string good = R"({"symbol":"A","quantity":1})";

}  // namespace

TEST_SUITE("inbound limits") {
  TEST_CASE("an error says which request it is about, if that had an id") {
    for (const auto& [id, told] : std::vector<std::pair<std::string, std::string>>{
             {"7", "7"},
             {"-1.5", "-1.5E0"},
             {"1e400", ""},  // more than the parser can hold
             {"\"a\"", "\"a\""},
             {'"' + std::string(64, 'x') + '"', '"' + std::string(64, 'x') + '"'},
             {'"' + std::string(65, 'x') + '"', ""},
             {"[1]", ""},
             {"null", ""}}) {
      CAPTURE(id);
      limited f;
      auto& fast = f.connect_with(at_rate(rate{1, 1}));
      f.say(fast, {"1"});
      const auto message = "{\"id\":" + id + "}";
      const auto refused = error_in(f.say(fast, {message}).at(0));
      CHECK((refused.contains("id") ? json::serialize(refused.at("id")) : "") == told);
      auto& strict = f.connect_with(orders_only());
      const auto invalid = error_in(f.say(strict, {message}).at(0));
      CHECK((invalid.contains("id") ? json::serialize(invalid.at("id")) : "") == told);
    }
    limited f;
    auto& client = f.connect_with(at_rate(rate{1, 1}));
    CHECK(!error_in(f.say(client, {"x", "{\"id\":"}).at(1)).contains("id"));
  }

  TEST_CASE("a burst passes whole, and the message behind it is answered with when to try again") {
    limited f;
    auto& peer = f.connect_with(at_rate(rate{10, 3}));
    CHECK(f.say(peer, {"1", "2"}) == std::vector<std::string>{"1", "2"});
    CHECK(f.say(peer, {"3"}) == std::vector<std::string>{"3"});
    const auto answers = f.say(peer, {"4"});
    REQUIRE(answers.size() == 1);
    const auto error = error_in(answers[0]);
    CHECK(error.at("code") == "rate_limited");
    CHECK(error.at("limit") == "messages");
    CHECK(error.at("retry_after_ms") == 100);
    CHECK(!peer.close_received());
    const auto stats = f.hub->stats();
    CHECK(stats.rate_limited == 1);
    CHECK(stats.messages_in == 4);
    // To the millisecond.
    f.advance(99ms);
    CHECK(error_in(f.say(peer, {"5"}).at(0)).at("retry_after_ms") == 1);
    f.advance(1ms);
    CHECK(f.say(peer, {"6"}) == std::vector<std::string>{"6"});
  }

  TEST_CASE("the third message that comes too fast is the last") {
    limited f;
    auto& peer = f.connect_with(at_rate(rate{1}));
    const auto answers = f.say(peer, {"1", "2", "3", "4", "5"});
    REQUIRE(answers.size() == 3);
    CHECK(answers[0] == "1");
    error_in(answers[1]);
    error_in(answers[2]);
    CHECK(peer.close_received() == close_code::policy_violation);
    f.advance(6s);
    REQUIRE(f.closed.size() == 1);
    CHECK(f.closed[0].reason.text == "too many messages");
    CHECK(f.hub->stats().rate_limited == 3);
    CHECK(f.hub->stats().protocol_failures == 1);
  }

  TEST_CASE("who has calmed down begins anew") {
    limited f;
    auto& peer = f.connect_with(at_rate(rate{1, 2}));
    for (int i = 0; i < 4; ++i) {
      CAPTURE(i);
      const auto answers = f.say(peer, {"1", "2", "3", "4"});
      REQUIRE(answers.size() == 4);
      error_in(answers[2]);
      error_in(answers[3]);
      f.advance(2s);  // the whole burst
    }
    CHECK(!peer.close_received());
    f.say(peer, {"1", "2", "3", "4"});
    f.advance(2s - 1ns);
    f.say(peer, {"5", "6"});
    CHECK(peer.close_received() == close_code::policy_violation);
  }

  TEST_CASE("bytes have a rate of their own, and a message past every burst never passes") {
    limited f;
    auto& peer = f.connect_with(at_rate({}, rate{10, 20}));
    const std::string ten(10, 'x');
    CHECK(f.say(peer, {ten, ten}).size() == 2);
    const auto error = error_in(f.say(peer, {"x"}).at(0));
    CHECK(error.at("limit") == "bytes");
    CHECK(error.at("retry_after_ms") == 100);
    f.advance(2s);
    CHECK(f.say(peer, {std::string(20, 'x')}).at(0) == std::string(20, 'x'));
    f.advance(2s);
    CHECK(!error_in(f.say(peer, {std::string(21, 'x')}).at(0)).contains("retry_after_ms"));
  }

  TEST_CASE("one connection that is too fast costs the others nothing") {
    limited f;
    auto& fast = f.connect_with(at_rate(rate{1}));
    auto& slow = f.connect_with(at_rate(rate{1}));
    f.say(fast, {"1", "2", "3", "4"});
    CHECK(fast.close_received() == close_code::policy_violation);
    CHECK(f.say(slow, {"1"}) == std::vector<std::string>{"1"});
  }

  TEST_CASE("a connection without rules has no guard, and takes what comes") {
    limited f;
    auto& peer = f.connect_with({});
    CHECK(f.say(peer, std::vector<std::string>(60, "x")).size() == 60);
    CHECK(f.hub->stats().rate_limited == 0);
  }

  TEST_CASE("what a validator refuses is answered with the field, and no handler sees it") {
    limited f;
    auto& peer = f.connect_with(orders_only());
    CHECK(f.say(peer, {good}) == std::vector<std::string>{good});
    const auto answers = f.say(peer, {R"({"symbol":"A","quantity":"many"})", good});
    REQUIRE(answers.size() == 2);
    const auto error = error_in(answers[0]);
    CHECK(error.at("code") == "wrong_type");
    CHECK(error.at("field") == "/quantity");
    CHECK(answers[1] == good);
    CHECK(f.hub->stats().invalid == 1);
    CHECK(f.hub->stats().messages_in == 3);
  }

  TEST_CASE("each kind of violation has its code") {
    struct row {
      message sent;
      std::string code;
      std::string field;
    };
    const std::vector<row> rows{
        {message::binary(good), "not_text", ""},
        {text("{"), "malformed", ""},
        {text(R"({"quantity":1})"), "missing_field", "/symbol"},
        {text(R"({"symbol":"A","quantity":1,"quantity":2})"), "duplicate_field", "/quantity"},
        {text(R"({"symbol":"A","quantity":1,"x":[[[1]]]})"), "too_deep", "/x/0/0"},
        {text(R"({"symbol":"A","quantity":1,"a":1,"b":2,"c":3,"d":4})"), "too_many_elements", "/d"},
        {text(R"({"symbol":"A","quantity":1,"x":")" + std::string(200, 'x') + "\"}"), "too_large", ""},
    };
    for (const auto& [sent, code, field] : rows) {
      CAPTURE(code);
      limited f;
      auto& peer = f.connect_with(orders_only());
      peer.send(sent);
      f.settle();
      const auto answers = drink(f, peer);
      REQUIRE(answers.size() == 1);
      const auto error = error_in(std::string{answers[0].payload()});
      CHECK(std::string{error.at("code").as_string()} == code);
      CHECK(std::string{error.at("field").as_string()} == field);
    }
  }

  TEST_CASE("the third message that is not as it must be is the last, whatever was good between") {
    limited f;
    auto& peer = f.connect_with(orders_only());
    CHECK(f.say(peer, {"1", good, "2", good}).size() == 4);
    CHECK(!peer.close_received());
    f.advance(1h);
    CHECK(f.say(peer, {"3", good}).empty());
    CHECK(peer.close_received() == close_code::policy_violation);
    CHECK(f.hub->stats().invalid == 3);
    CHECK(f.hub->stats().protocol_failures == 1);
  }

  TEST_CASE("a validator of one's own is asked, too") {
    class no_shouting final : public message_validator {
      std::optional<validation_error> check(const message& what) const noexcept override {
        if (what.payload().find('!') == std::string_view::npos) return std::nullopt;
        return validation_error{validation_code::not_allowed, "", "no shouting"};
      }
    };
    limited f;
    route_options how;
    how.validator = std::make_shared<no_shouting>();
    auto& peer = f.connect_with(how);
    const auto answers = f.say(peer, {"hello", "HELLO!"});
    REQUIRE(answers.size() == 2);
    CHECK(answers[0] == "hello");
    CHECK(error_in(answers[1]).at("message") == "no shouting");
  }

  TEST_CASE("an error message for a peer that does not read takes no room from others") {
    manager_options small;
    small.limits.send_queue_messages = 1;
    limited f;
    f.hub = f.make(small);
    auto& peer = f.connect_with(orders_only());
    peer.set_capacity(0);
    f.say(peer, {good});
    peer.send(text("1"));
    peer.send(text("2"));
    f.settle();
    CHECK(f.hub->stats().evictions == 0);
    CHECK(f.hub->stats().invalid == 2);
  }
}
