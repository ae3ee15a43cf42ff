// The JSON protocol: requests, answers and refusals.

#include "protocol_fixture.hpp"

#include <stdexcept>

using namespace hub_test;

namespace {

std::string code_of(const json::object& answer) {
  REQUIRE(answer.at("type") == "error");
  return std::string{answer.at("code").as_string()};
}

}  // namespace

TEST_SUITE("protocol") {
  TEST_CASE("the server begins") {
    protocol_fixture f;
    auto& client = f.join();
    const auto all = f.heard(client);
    REQUIRE(all.size() == 1);
    CHECK(
        plain(all[0]) ==
        "{\"connection\":\"" + std::to_string(client.other_end()->id()) +
            R"(","max_message_bytes":65536,"max_subscriptions":128,"ping_ms":25000,"type":"welcome","version":1})");
  }

  TEST_CASE("answers carry the id of their request, a number or a string") {
    protocol_fixture f;
    auto& client = f.welcomed();
    const auto id = [&](const std::string& what) {
      return json::serialize(f.ask(client, "{\"type\":\"ping\",\"id\":" + what + "}").at("id"));
    };
    for (const std::string good : {"1", "-1", "0", "18446744073709551615", "1.5E0", "\"a\"", "\"\""})
      CHECK(id(good) == good);
    CHECK(id('"' + std::string(64, 'x') + '"') == '"' + std::string(64, 'x') + '"');
    CHECK(!f.ask(client, R"({"type":"ping"})").contains("id"));
    CHECK(f.ask(client, R"({"type":"ping","id":")" + std::string(65, 'x') + "\"}").at("field") == "id");
    CHECK(f.ask(client, R"({"type":"ping","id":{}})").at("field") == "id");
  }

  TEST_CASE("subscribe, publish, unsubscribe") {
    topic_rule chat{"chat.*"};
    chat.clients_publish = topic_publishers::subscribers;
    protocol_fixture f{rules({chat})};
    auto& one = f.welcomed();
    auto& two = f.welcomed();
    CHECK(plain(f.ask(one, R"({"type":"subscribe","id":1,"channel":"chat.a"})")) ==
          R"({"channel":"chat.a","id":1,"type":"subscribed"})");
    CHECK(f.ask(two, R"({"type":"subscribe","channel":"chat.*"})").at("channel") == "chat.*");
    CHECK(f.ask(two, R"({"type":"subscribe","channel":"chat.*"})").at("already") == true);
    f.say(one, R"({"type":"publish","id":"p","channel":"chat.a","data":{"type":"said","text":"hi"}})");
    const auto mine = f.heard(one);
    REQUIRE(mine.size() == 2);
    CHECK(mine[0].at("text") == "hi");
    CHECK(plain(mine[1]) == R"({"channel":"chat.a","id":"p","type":"published"})");
    const auto others = f.heard(two);
    REQUIRE(others.size() == 1);
    CHECK(plain(others[0]) == R"({"channel":"chat.a","text":"hi","type":"said"})");
    CHECK(f.ask(one, R"({"type":"unsubscribe","id":2,"channel":"chat.a"})").at("type") == "unsubscribed");
    CHECK(f.ask(one, R"({"type":"unsubscribe","id":3,"channel":"chat.a"})").at("type") == "unsubscribed");
    CHECK(code_of(f.ask(one, R"({"type":"publish","channel":"chat.a","data":1})")) == "not_allowed");
    CHECK(code_of(f.ask(two, R"({"type":"publish","channel":"news","data":1})")) == "not_allowed");
    CHECK(f.protocol->stats().not_allowed == 2);
  }

  TEST_CASE("a publication that is kept has its position in the answer") {
    auto rule = remembering("log");
    rule.clients_publish = topic_publishers::everybody;
    protocol_fixture f{rules({rule})};
    auto& client = f.welcomed();
    const auto first = f.ask(client, R"({"type":"publish","channel":"log","data":{"n":1}})");
    CHECK(first.at("offset") == 1);
    CHECK(f.ask(client, R"({"type":"publish","channel":"log","data":[2]})").at("offset") == 2);
    const auto page = f.ask(client, R"({"type":"history","id":7,"channel":"log"})");
    CHECK(page.at("id") == 7);
    CHECK(page.at("offset") == 2);
    CHECK(page.at("more") == false);
    CHECK(!page.contains("recovered"));
    const auto& all = page.at("publications").as_array();
    REQUIRE(all.size() == 2);
    CHECK(all[0].at("n") == 1);
    CHECK(all[0].at("epoch") == first.at("epoch"));
    CHECK(json::serialize(all[1].at("data")) == "[2]");
    f.store->failure = errc::store_full;
    CHECK(code_of(f.ask(client, R"({"type":"publish","channel":"log","data":1})")) == "store_full");
    CHECK(code_of(f.ask(client, R"({"type":"history","channel":"log"})")) == "store_full");
    f.store->failure = errc::store_unavailable;
    CHECK(code_of(f.ask(client, R"({"type":"publish","channel":"log","data":1})")) == "store_unavailable");
  }

  TEST_CASE("pages of a history") {
    protocol_fixture f{rules({remembering("log", 2000)})};
    std::string epoch;
    for (int i = 1; i <= 1001; ++i)
      epoch = f.publish("log", "{\"n\":" + std::to_string(i) + "}").position.epoch;
    auto& client = f.welcomed();
    const auto page = [&](const std::string& more) {
      auto answer = f.ask(client, R"({"type":"history","channel":"log")" + more + "}");
      const auto& all = answer.at("publications").as_array();
      const auto at = [](const json::value& each) { return json::serialize(each.at("n")); };
      std::string text = std::to_string(all.size());
      if (!all.empty()) text += ":" + at(all.front()) + "-" + at(all.back());
      if (answer.at("more") == true) text += " more";
      if (answer.contains("recovered")) text += answer.at("recovered") == true ? " recovered" : " gap";
      return text;
    };
    const auto since = [&](int offset) {
      return R"(,"since":{"epoch":")" + epoch + R"(","offset":)" + std::to_string(offset) + "}";
    };
    CHECK(page("") == "100:902-1001");
    CHECK(page(R"(,"limit":0)") == "0");
    CHECK(page(R"(,"limit":1)") == "1:1001-1001");
    CHECK(page(R"(,"limit":999)") == "999:3-1001");
    CHECK(page(R"(,"limit":1000)") == "1000:2-1001");
    CHECK(page(since(0)) == "100:1-100 more recovered");
    CHECK(page(since(1) + R"(,"limit":1000)") == "1000:2-1001 recovered");
    CHECK(page(since(1001)) == "0 recovered");
    CHECK(page(since(1002) + R"(,"limit":2)") == "2:1-2 more gap");
    CHECK(f.ask(client, R"({"type":"history","channel":"log","limit":1001})").at("field") == "limit");
    CHECK(code_of(f.ask(client, R"({"type":"history","channel":"other"})")) == "not_available");
  }

  TEST_CASE("faults are named, and the third closes with 1008") {
    const std::vector<std::pair<std::string, std::string>> faults{
        {"", "bad_json"},
        {"{", "bad_json"},
        {"[]", "bad_json"},
        {"17", "bad_json"},
        {"{} {}", "bad_json"},
        {"{}", "bad_request"},
        {R"({"type":1})", "bad_request"},
        {R"({"type":"nothing"})", "unknown_type"},
        {R"({"type":"Subscribe"})", "unknown_type"},
        {R"({"type":"subscribe"})", "bad_request"},
        {R"({"type":"subscribe","channel":7})", "bad_request"},
        {R"({"type":"subscribe","channel":"a","recover":1})", "bad_request"},
        {R"({"type":"subscribe","channel":"a","recover":{}})", "bad_request"},
        {R"({"type":"subscribe","channel":"a","recover":{"epoch":"e"}})", "bad_request"},
        {R"({"type":"subscribe","channel":"a","recover":{"epoch":"e","offset":-1}})", "bad_request"},
        {R"({"type":"subscribe","channel":"a","recover":{"epoch":"e","offset":1.5}})", "bad_request"},
        {R"({"type":"subscribe","channel":"a","recover":{"epoch":1,"offset":1}})", "bad_request"},
        {R"({"type":"publish","channel":"a"})", "bad_request"},
        {R"({"type":"history","channel":"a","limit":"1"})", "bad_request"},
        {R"({"type":"history","channel":"a","limit":-1})", "bad_request"},
        {R"({"type":"ack"})", "bad_request"},
        {R"({"type":"ack","id":"1"})", "bad_request"},
        {R"({"type":"ack","id":[1,"2"]})", "bad_request"},
    };
    for (const auto& [request, code] : faults) {
      protocol_fixture f;
      auto& client = f.welcomed("alice");
      INFO(request);
      CHECK(code_of(f.ask(client, request)) == code);
      CHECK(code_of(f.ask(client, request)) == code);
      CHECK(!client.close_received());
      CHECK(code_of(f.ask(client, request)) == code);
      CHECK(client.close_received() == close_code::policy_violation);
      CHECK(f.protocol->stats().faults == 3);
      CHECK(f.protocol->stats().errors == 3);
    }
    protocol_fixture f;
    auto& client = f.welcomed();
    client.send(message::binary("{}"));
    f.settle();
    CHECK(code_of(f.heard(client).at(0)) == "bad_json");
  }

  TEST_CASE("channels that are none, and too many subscriptions: the third closes with 4503") {
    for (const std::string bad : {"", "a..b", ".a", "a.", "a b", "a.>.b", "a*", "\\u0007"}) {
      protocol_fixture f;
      auto& client = f.welcomed();
      const auto request = R"({"type":"subscribe","channel":")" + bad + "\"}";
      INFO(request);
      for (int i = 0; i < 3; ++i) {
        CHECK(!client.close_received());
        CHECK(code_of(f.ask(client, request)) == "bad_channel");
      }
      CHECK(client.close_received() == static_cast<close_code>(4503));
    }
    for (const std::string type : {"publish", "history", "presence"}) {
      protocol_fixture f;
      CHECK(code_of(f.ask(f.welcomed(), "{\"type\":\"" + type + R"(","channel":"a.*","data":1})")) ==
            "bad_channel");
    }
    protocol_fixture::parts with;
    with.max_subscriptions = 3;
    protocol_fixture f{std::move(with)};
    auto& client = f.welcomed();
    const auto subscribe = [&](int n) {
      return f.ask(client, R"({"type":"subscribe","channel":"c)" + std::to_string(n) + "\"}");
    };
    for (int i = 1; i <= 3; ++i) CHECK(subscribe(i).at("type") == "subscribed");
    CHECK(code_of(subscribe(4)) == "too_many_subscriptions");
    CHECK(code_of(subscribe(5)) == "too_many_subscriptions");
    CHECK(f.ask(client, R"({"type":"unsubscribe","channel":"c1"})").at("type") == "unsubscribed");
    CHECK(subscribe(6).at("type") == "subscribed");
    CHECK(code_of(subscribe(7)) == "too_many_subscriptions");
    CHECK(client.close_received() == static_cast<close_code>(4503));
  }

  TEST_CASE("nesting: 16 levels, not 17") {
    topic_rule rule{"t"};
    rule.clients_publish = topic_publishers::everybody;
    protocol_fixture f{rules({rule})};
    auto& client = f.welcomed();
    const auto nested = [&](int levels) {
      const auto inside = static_cast<std::size_t>(levels - 1);
      return f.ask(client, R"({"type":"publish","channel":"t","data":)" + std::string(inside, '[') +
                               std::string(inside, ']') + "}");
    };
    CHECK(nested(15).at("type") == "published");
    CHECK(nested(16).at("type") == "published");
    CHECK(code_of(nested(17)) == "bad_json");
  }

  TEST_CASE("a number that is too large for a double reaches nobody") {
    topic_rule open{"t"};
    open.clients_publish = topic_publishers::everybody;
    for (const std::string number : {"1e309", "-1e309", "1e99999"}) {
      protocol_fixture f{rules({open})};
      auto& client = f.welcomed();
      auto& other = f.welcomed();
      CHECK(f.ask(other, R"({"type":"subscribe","channel":"t"})").at("type") == "subscribed");
      CHECK(code_of(f.ask(client, R"({"type":"ping","id":)" + number + "}")) == "bad_json");
      CHECK(code_of(f.ask(client, R"({"type":"publish","channel":"t","data":{"a":[0,)" + number + "]}}")) ==
            "bad_json");
      CHECK(f.heard(other).empty());
    }
    protocol_fixture f{rules({open})};
    auto& client = f.welcomed();
    const auto published = [&](const std::string& data) {
      protocol_fixture one{rules({open})};
      const auto answer = one.ask(one.welcomed(), R"({"type":"publish","channel":"t","data":)" + data + "}");
      return std::string{answer.at(answer.at("type") == "error" ? "code" : "type").as_string()};
    };
    // Also where another field of the same name comes behind it, and without an exponent.
    CHECK(published(R"({"a":1e400,"a":1})") == "bad_json");
    CHECK(published(R"({"a":[{"b":-1E+400}],"a":1})") == "bad_json");
    CHECK(published("[" + std::string(400, '9') + "]") == "bad_json");
    CHECK(published("[" + std::string(400, '9') + ".5]") == "bad_json");
    CHECK(published(R"(["1e400","\"1e400",1e-400,0.1e5,1E5])") == "published");
    CHECK(published("[" + std::string(308, '9') + "]") == "published");
    CHECK(f.ask(client, R"({"type":"publish","channel":"t","data":{"a":[1e308]}})").at("type") ==
          "published");
    CHECK(f.ask(client, R"({"type":"ping","id":-1e308})").at("id") == -1e308);
  }

  TEST_CASE("what is published arrives as it was written, to the last digit") {
    auto rule = remembering("t");
    rule.clients_publish = topic_publishers::everybody;
    protocol_fixture f{rules({rule})};
    auto& reader = f.welcomed();
    auto& plain = f.connect();
    f.ask(reader, R"({"type":"subscribe","channel":"t"})");
    CHECK(*f.start(f.topics->subscribe(*plain.other_end(), "t")) == subscribed::yes);
    const std::string data = R"({"a" : [0.1234567890123456789,187.20, 18446744073709551616, 1E5,-0.0],
      "s":"\u00e9 \" ] } ,", "o":{"data":{}}})";
    for (const std::string& request :
         {R"({"type":"publish","channel":"t","data":)" + data + "}",
          R"( { "data" : 1, "d\u0061ta":)" + data + R"( , "type":"publish", "x":["}"],"channel":"t" } )"}) {
      INFO(request);
      f.say(reader, request);
      const auto got = drink(f, plain);
      REQUIRE(got.size() == 1);
      CHECK(got[0].payload() == data);
      CHECK(f.heard(reader).size() == 2);
    }
    for (const std::string scalar : {"1.50", "true", "null", "\"x\"", "[ ]", "{}"}) {
      f.say(reader, R"({"type":"publish","channel":"t","data": )" + scalar + " }");
      const auto got = drink(f, plain);
      REQUIRE(got.size() == 1);
      CHECK(got[0].payload() == scalar);
    }
  }

  TEST_CASE("info: 256 bytes, not 257") {
    protocol_fixture f;
    auto& client = f.welcomed();
    const auto with = [&](std::size_t bytes) {
      return f.ask(client,
                   R"({"type":"subscribe","channel":"t","info":")" + std::string(bytes - 2, 'x') + "\"}");
    };
    CHECK(with(257).at("field") == "info");
    CHECK(with(256).at("type") == "subscribed");
  }

  TEST_CASE("acknowledgements: 100 at once, not 101") {
    protocol_fixture f;
    auto& client = f.welcomed("alice");
    const auto with = [&](int many) {
      std::string list = "1";
      for (int i = 1; i < many; ++i) list += ",1";
      return f.ask(client, R"({"type":"ack","id":[)" + list + "]}");
    };
    CHECK(with(100).at("type") == "acked");
    const auto refused = with(101);
    CHECK(refused.at("field") == "id");
    CHECK(refused.at("id").as_array().size() == 101);
  }

  TEST_CASE("rights: a callback is asked for each, with the channel") {
    std::vector<std::pair<topic_action, std::string>> asked;
    auto rule = remembering(">");
    rule.clients_publish = topic_publishers::everybody;
    rule.presence = true;
    protocol_fixture::parts with;
    with.rules = {rule};
    with.protocol.authorize = [&](connection&, topic_action what,
                                  std::string channel) -> asio::awaitable<bool> {
      asked.emplace_back(what, channel);
      if (channel == "fails") throw std::runtime_error{"the database is away"};
      co_return channel != "secret";
    };
    protocol_fixture f{std::move(with)};
    auto& client = f.welcomed();
    const std::vector<std::pair<std::string, topic_action>> all{{"subscribe", topic_action::subscribe},
                                                                {"publish", topic_action::publish},
                                                                {"history", topic_action::history},
                                                                {"presence", topic_action::presence}};
    for (const auto& [type, action] : all) {
      const auto request = [&](const std::string& channel) {
        return f.ask(client, "{\"type\":\"" + type + R"(","data":{},"channel":")" + channel + "\"}");
      };
      CHECK(code_of(request("secret")) == "not_allowed");
      CHECK(asked.back() == std::pair{action, std::string{"secret"}});
      CHECK(code_of(request("fails")) == "internal_error");
      CHECK(request("open").at("type") != "error");
      f.heard(client);
      if (action == topic_action::subscribe) f.ask(client, R"({"type":"unsubscribe","channel":"open"})");
    }
    CHECK(f.topics->stats().subscriptions == 0);
    CHECK(f.problems.size() == 4);
    CHECK(!client.close_received());
  }

  TEST_CASE("rights: whoever may not read the history recovers nothing, and is told so") {
    protocol_fixture::parts with;
    with.rules = {remembering("t")};
    with.protocol.authorize = [](connection&, topic_action what, std::string) -> asio::awaitable<bool> {
      co_return what == topic_action::subscribe;
    };
    protocol_fixture f{std::move(with)};
    const auto start = f.publish("t", R"({"n":1})").position;
    f.publish("t", R"({"n":2})");
    auto& client = f.welcomed();
    f.say(client,
          R"({"type":"subscribe","channel":"t","recover":{"offset":0,"epoch":")" + start.epoch + "\"}}");
    const auto all = f.heard(client);
    REQUIRE(all.size() == 1);
    CHECK(all[0].at("type") == "subscribed");
    CHECK(all[0].at("recovered") == false);
    CHECK(all[0].at("offset") == 2);
    f.publish("t", R"({"n":3})");
    CHECK(f.heard(client).size() == 1);
  }

  TEST_CASE("rights from the token's claims") {
    auto rule = remembering(">");
    rule.clients_publish = topic_publishers::everybody;
    rule.presence = true;
    protocol_fixture::parts with;
    with.rules = {rule};
    with.protocol.authorize = authorize_by_claim();
    protocol_fixture f{std::move(with)};
    auto& client = f.welcomed(
        "alice",
        json::parse(R"({"topics":{"subscribe":["orders.alice.>","market.*"],"publish":["chat.room"]}})"));
    const auto may = [&](const std::string& type, const std::string& channel) {
      const auto answer =
          f.ask(client, "{\"type\":\"" + type + R"(","data":{},"channel":")" + channel + "\"}");
      return answer.at("type") != "error";
    };
    CHECK(may("subscribe", "orders.alice.1"));
    CHECK(may("subscribe", "orders.alice.>"));
    CHECK(may("subscribe", "orders.alice.*.x"));
    CHECK(may("subscribe", "market.AAPL"));
    CHECK(may("subscribe", "market.*"));
    CHECK(!may("subscribe", "orders.alice"));
    CHECK(!may("subscribe", "orders.>"));
    CHECK(!may("subscribe", "orders.*.1"));
    CHECK(!may("subscribe", ">"));
    CHECK(!may("subscribe", "market.>"));
    CHECK(!may("subscribe", "orders.bob.1"));
    CHECK(may("history", "market.A"));
    CHECK(!may("history", "chat.room"));
    CHECK(may("presence", "market.A"));
    CHECK(may("publish", "chat.room"));
    CHECK(!may("publish", "market.A"));
    auto& nobody = f.welcomed();
    CHECK(code_of(f.ask(nobody, R"({"type":"subscribe","channel":"market.A"})")) == "not_allowed");
    for (const std::string odd : {"null", "[]", R"({"topics":[]})", R"({"topics":{"subscribe":"market.A"}})",
                                  R"({"topics":{"subscribe":[1,null,"a..b"]}})"}) {
      auto& other = f.welcomed("bob", json::parse(odd));
      INFO(odd);
      CHECK(code_of(f.ask(other, R"({"type":"subscribe","channel":"market.A"})")) == "not_allowed");
    }
  }

  TEST_CASE("which patterns cover which") {
    struct row {
      const char* allowed;
      const char* wanted;
      bool covers;
    };
    for (const auto& [allowed, wanted, covers] : {
             row{"a", "a", true},      row{"a", "b", false},        row{"a.b", "a", false},
             row{"a", "a.b", false},   row{"*", "a", true},         row{"*", "*", true},
             row{"*", ">", false},     row{">", ">", true},         row{">", "a.b.c", true},
             row{">", "*.b", true},    row{"a.*", "a.*", true},     row{"a.*", "a.>", false},
             row{"a.>", "a.*", true},  row{"a.>", "a", false},      row{"a.>", "a.b.>", true},
             row{"a.b", "a.*", false}, row{"a.b", "*.b", false},    row{"*.b", "a.b", true},
             row{"*.*", "a.>", false}, row{"a.*.c", "a.b.c", true}, row{"a.*.c", "a.*.*", false},
         }) {
      INFO(allowed << " " << wanted);
      CHECK(topic_covers(allowed, wanted) == covers);
    }
  }

  TEST_CASE("requests of one's own") {
    protocol_fixture f;
    f.protocol
        ->on("place_order",
             [](connection& who, const json::object& request) -> asio::awaitable<void> {
               json::object fields{{"type", "order_accepted"}, {"user", who.user().user}};
               co_await who.write(answer_to(request, std::move(fields)));
             })
        .on("refuse",
            [](connection&, const json::object&) -> asio::awaitable<void> {
              request_error no{"market_closed", "come back tomorrow"};
              no.retry_after = 90ms;
              throw no;
              co_return;
            })
        .on("give_up",
            [](connection&, const json::object&) -> asio::awaitable<void> {
              throw boost::system::system_error{asio::error::operation_aborted};  // of something else
              co_return;
            })
        .on("break", [](connection&, const json::object&) -> asio::awaitable<void> {
          throw std::logic_error{"secret details"};
          co_return;
        });
    auto& client = f.welcomed("alice");
    CHECK(plain(f.ask(client, R"({"type":"place_order","id":5})")) ==
          R"({"id":5,"type":"order_accepted","user":"alice"})");
    const auto refused = f.ask(client, R"({"type":"refuse","id":6})");
    CHECK(code_of(refused) == "market_closed");
    CHECK(refused.at("retry_after_ms") == 90);
    CHECK(refused.at("id") == 6);
    const auto broken = f.ask(client, R"({"type":"break"})");
    CHECK(code_of(broken) == "internal_error");
    CHECK(broken.at("message") == "the server failed");
    REQUIRE(f.problems.size() == 1);
    CHECK(f.problems[0].find("secret details") != std::string::npos);
    CHECK(code_of(f.ask(client, R"({"type":"give_up"})")) == "internal_error");
    CHECK(f.ask(client, R"({"type":"ping"})").at("type") == "pong");
    CHECK_THROWS_AS(
        f.protocol->on("publish",
                       [](connection&, const json::object&) -> asio::awaitable<void> { co_return; }),
        std::invalid_argument);
    CHECK_THROWS_AS(
        f.protocol->on("refuse",
                       [](connection&, const json::object&) -> asio::awaitable<void> { co_return; }),
        std::invalid_argument);
  }

  TEST_CASE("other connections get messages as they are, those of the protocol what it says") {
    protocol_fixture f;
    auto& other = f.connect();
    CHECK(*f.start(f.topics->subscribe(*other.other_end(), "t")) == subscribed::yes);
    f.publish("t", "before");  // nobody speaks the protocol yet
    auto& client = f.welcomed("alice");
    f.ask(client, R"({"type":"subscribe","channel":"t"})");
    f.publish("t", "hello");
    CHECK(other.received() == std::vector{text("before"), text("hello")});
    CHECK(plain(f.heard(client).at(0)) == R"({"channel":"t","data":"hello"})");
    CHECK((*f.start(f.users->send("alice", text("x"))))->written == 1);
    CHECK(plain(f.heard(client).at(0)) == R"({"data":"x"})");
  }

  TEST_CASE("options that are not allowed are refused") {
    protocol_fixture f;
    protocol_options options;
    options.max_depth = 0;
    CHECK_THROWS_AS(json_protocol(f.topics, f.users, options), std::invalid_argument);
    options.max_depth = 257;
    CHECK_THROWS_AS(json_protocol(f.topics, f.users, options), std::invalid_argument);
    options = {};
    options.max_faults = 0;
    CHECK_THROWS_AS(json_protocol(f.topics, f.users, options), std::invalid_argument);
    CHECK_THROWS_AS(json_protocol(nullptr, f.users), std::invalid_argument);
  }
}
