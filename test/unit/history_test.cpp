// Topics that remember, presence, and messages that wait for their user.

#include "connection/connection_impl.hpp"
#include "protocol_fixture.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <stdexcept>

using namespace hub_test;

namespace {

std::string data(int n) {
  return "{\"n\":" + std::to_string(n) + "}";
}

/// The offsets of the publications among these messages.
std::vector<std::uint64_t> offsets(const std::vector<json::object>& all) {
  std::vector<std::uint64_t> found;
  for (const auto& each : all) {
    if (each.contains("n")) found.push_back(each.at("offset").to_number<std::uint64_t>());
  }
  return found;
}

using numbers = std::vector<std::uint64_t>;

std::string recover(const std::string& channel, const topic_position& at) {
  json::object request{{"type", "subscribe"}, {"channel", channel}};
  request["recover"] = json::object{{"epoch", at.epoch}, {"offset", at.offset}};
  return json::serialize(request);
}

}  // namespace

TEST_SUITE("history") {
  TEST_CASE("publications of a topic with history are numbered, and those who speak the protocol are told") {
    protocol_fixture f{rules({remembering("orders.>")})};
    auto& json_client = f.welcomed();
    auto& other = f.connect();
    CHECK(f.ask(json_client, R"({"type":"subscribe","channel":"orders.a"})").at("offset") == 0);
    CHECK(*f.start(f.topics->subscribe(*other.other_end(), "orders.a")) == subscribed::yes);
    const auto first = f.publish("orders.a", data(1));
    CHECK(first.position.offset == 1);
    CHECK(first.matched == 2);
    CHECK(first.written == 2);
    CHECK(f.publish("orders.a", data(2)).position == topic_position{first.position.epoch, 2});
    CHECK(f.publish("orders.b", data(3)).position.offset == 1);
    const auto plainly = f.publish("news", data(4));
    CHECK(plainly.position == topic_position{});
    CHECK(f.heard(json_client).size() == 2);
    CHECK(other.received() == std::vector{text(data(1)), text(data(2))});

    const auto page = f.start(f.topics->history("orders.a", {first.position.epoch, 0}, {}));
    REQUIRE(*page);
    REQUIRE((*page)->publications.size() == 2);
    CHECK((*page)->publications[1].what.payload() == data(2));
    const auto last = f.start(f.topics->latest("orders.a", {1, 0}));
    REQUIRE((*last)->publications.size() == 1);
    CHECK((*last)->publications[0].offset == 2);
    CHECK(!*f.start(f.topics->history("news", {}, {})));  // it keeps none
  }

  TEST_CASE("whoever comes back gets what was missed, then what comes live") {
    protocol_fixture f{rules({remembering("t")})};
    const auto start = f.publish("t", data(1)).position;
    for (int i = 2; i <= 5; ++i) f.publish("t", data(i));
    auto& client = f.welcomed();
    f.say(client, recover("t", start));
    f.publish("t", data(6));
    const auto all = f.heard(client);
    REQUIRE(all.size() == 6);
    CHECK(all[0].at("type") == "subscribed");
    CHECK(all[0].at("recovered") == true);
    CHECK(all[0].at("offset") == 5);
    CHECK(offsets(all) == numbers{2, 3, 4, 5, 6});
    CHECK(all[1].at("channel") == "t");
    CHECK(all[1].at("epoch").as_string() == start.epoch);
    const auto stats = f.topics->stats();
    CHECK(stats.recovered == 1);
    CHECK(stats.replayed == 4);
    CHECK(stats.not_recovered == 0);
  }

  TEST_CASE("nothing to recover is recovered too") {
    protocol_fixture f{rules({remembering("t")})};
    const auto at = f.publish("t", data(1)).position;
    auto& client = f.welcomed();
    const auto answer = f.ask(client, recover("t", at));
    CHECK(answer.at("recovered") == true);
    CHECK(answer.at("offset") == 1);
  }

  TEST_CASE(
      "what is not kept any more, of another time or not yet there: the client is told, and only live ones "
      "follow") {
    protocol_fixture f{rules({remembering("t", 3)})};
    const auto start = f.publish("t", data(1)).position;
    for (int i = 2; i <= 5; ++i) f.publish("t", data(i));
    struct row {
      topic_position at;
      bool recovered;
      numbers then;
    };
    std::vector<row> rows;
    rows.push_back({{start.epoch, 1}, false, {6}});
    rows.push_back({{start.epoch, 2}, true, {3, 4, 5, 6}});
    rows.push_back({{start.epoch, 5}, true, {6}});
    rows.push_back({{start.epoch, 6}, false, {6}});
    rows.push_back({{"another", 4}, false, {6}});
    rows.push_back({{"", 0}, false, {6}});
    std::vector<testing::memory_peer*> clients;
    for (const auto& row : rows) {
      clients.push_back(&f.welcomed());
      f.say(*clients.back(), recover("t", row.at));
    }
    f.publish("t", data(6));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto all = f.heard(*clients[i]);
      INFO(i);
      REQUIRE(!all.empty());
      CHECK(all[0].at("recovered") == rows[i].recovered);
      CHECK(all[0].at("offset") == 5);
      CHECK(offsets(all) == rows[i].then);
    }
    CHECK(f.topics->stats().not_recovered == 4);
  }

  TEST_CASE("what is published while the history is read comes after it, once") {
    protocol_fixture f{rules({remembering("t")})};
    const auto start = f.publish("t", data(1)).position;
    f.publish("t", data(2));
    auto& client = f.welcomed();
    f.store->closed = true;
    f.say(client, recover("t", start));  // has read 2, but does not know it yet
    REQUIRE(f.store->waiting() == 1);
    f.store->closed = false;
    const auto report = f.start(f.topics->publish("t", text(data(3))));
    CHECK(!*report);  // the client's copy is held back
    CHECK(f.heard(client).empty());
    f.store->open();
    f.settle();
    REQUIRE(*report);
    CHECK((*report)->matched == 1);
    CHECK((*report)->written == 1);
    CHECK((*report)->balanced());
    const auto all = f.heard(client);
    CHECK(all.at(0).at("offset") == 2);
    CHECK(offsets(all) == numbers{2, 3});
  }

  TEST_CASE("what the history has told already does not come again when its delivery is late") {
    protocol_fixture f{rules({remembering("t")})};
    const auto start = f.publish("t", data(1)).position;
    f.store->closed = true;
    const auto late = f.start(f.topics->publish("t", text(data(2))));  // kept, but not yet delivered
    f.store->closed = false;
    auto& client = f.welcomed();
    f.say(client, recover("t", start));
    CHECK(offsets(f.heard(client)) == numbers{2});
    f.store->open();
    f.settle();
    REQUIRE(*late);
    CHECK((*late)->matched == 0);
    CHECK(f.heard(client).empty());
    f.publish("t", data(3));
    CHECK(offsets(f.heard(client)) == numbers{3});
  }

  TEST_CASE("what is unsubscribed leaves nothing behind, however often") {
    protocol_fixture f{rules({remembering("t")})};
    const auto start = f.publish("t", data(1)).position;
    auto& client = f.welcomed();
    const auto& mine = dynamic_cast<const detail::connection_impl&>(*client.other_end());
    for (int i = 0; i < 20; ++i) {
      f.say(client, i % 2 == 0 ? recover("t", start) : std::string{R"({"type":"subscribe","channel":"t"})"});
      CHECK(mine.catching_up <= 1);
      f.say(client, R"({"type":"unsubscribe","channel":"t"})");
      CHECK(mine.catching_up == 0);
    }
    f.heard(client);
    f.say(client, recover("t", start));
    f.publish("t", data(2));
    CHECK(offsets(f.heard(client)) == numbers{2});
  }

  TEST_CASE("whoever unsubscribes while the past is told gets no more of it, and may subscribe again") {
    protocol_fixture f{rules({remembering("t")})};
    const auto start = f.publish("t", data(1)).position;
    for (int i = 2; i <= 5; ++i) f.publish("t", data(i));
    auto& client = f.welcomed();
    const auto who = client.other_end();
    f.store->closed = true;
    subscription all;
    all.recover(start);
    const auto first = f.start(f.topics->subscribe(*who, "t", all));
    const auto held = f.start(f.topics->publish("t", text(data(6))));
    REQUIRE(f.store->waiting() == 2);
    CHECK(**f.start(f.topics->unsubscribe(*who, "t")));
    const auto second = f.start(f.topics->subscribe(*who, "t", all));
    f.store->open();
    f.settle();
    REQUIRE(*first);
    CHECK((*first)->what == subscribed::withdrawn);
    CHECK((*first)->replayed == 0);
    REQUIRE(*second);
    CHECK((*second)->what == subscribed::yes);
    REQUIRE(*held);
    CHECK((*held)->balanced());
    CHECK(offsets(f.heard(client)) == numbers{2, 3, 4, 5, 6});
    CHECK(**f.start(f.topics->unsubscribe(*who, "t")));
  }

  TEST_CASE("what is held for a subscription that ends is dropped, and its report says so") {
    protocol_fixture f{rules({remembering("t")})};
    auto& client = f.welcomed();
    const auto who = client.other_end();
    f.store->closed = true;
    const auto first = f.start(f.topics->subscribe(*who, "t", subscription{}));
    f.store->closed = false;
    const auto held = f.start(f.topics->publish("t", text(data(1))));
    CHECK(!*held);
    CHECK(**f.start(f.topics->unsubscribe(*who, "t")));
    REQUIRE(*held);
    CHECK((*held)->dropped == 1);
    CHECK((*held)->balanced());
    f.store->open();
    f.settle();
    CHECK((*first)->what == subscribed::withdrawn);
    CHECK(f.heard(client).empty());
    CHECK(client.other_end()->is_open());
  }

  TEST_CASE("whoever has a subscription already is told where it is") {
    protocol_fixture f{rules({remembering("t")})};
    const auto start = f.publish("t", data(1)).position;
    f.publish("t", data(2));
    auto& client = f.welcomed();
    f.ask(client, R"({"type":"subscribe","channel":"t"})");
    const auto again = f.ask(client, recover("t", start));
    CHECK(again.at("already") == true);
    CHECK(again.at("recovered") == false);
    CHECK(again.at("offset") == 2);
    CHECK(again.at("epoch").as_string() == start.epoch.c_str());
  }

  TEST_CASE("publications are delivered in the order of their numbers, however their answers come") {
    protocol_fixture f{rules({remembering("t")})};
    auto& client = f.welcomed();
    f.say(client, R"({"type":"subscribe","channel":"t"})");
    f.heard(client);
    f.store->closed = true;
    std::vector<std::shared_ptr<std::optional<publish_report>>> reports;
    for (int i = 1; i <= 4; ++i) reports.push_back(f.start(f.topics->publish("t", text(data(i)))));
    REQUIRE(f.store->waiting() == 4);
    for (const std::size_t which : {2U, 1U}) {
      f.store->let_through(which);
      f.settle();
      CHECK(f.heard(client).empty());
    }
    f.store->let_through(0);
    f.settle();
    CHECK(offsets(f.heard(client)) == numbers{1, 2, 3});
    f.store->open();
    f.settle();
    CHECK(offsets(f.heard(client)) == numbers{4});
    for (std::size_t i = 0; i < 4; ++i) CHECK((*reports[i])->position.offset == i + 1);
  }

  TEST_CASE("more than may be held back is read again from the history") {
    protocol_fixture::parts with;
    with.rules = {remembering("t", 1000)};
    with.manager.limits.send_queue_messages = 8;
    protocol_fixture f{std::move(with)};
    const auto start = f.publish("t", data(1)).position;
    for (const int more : {7, 8, 9, 30}) {
      auto& client = f.welcomed();
      f.store->closed = true;
      f.say(client, recover("t", start));
      f.store->closed = false;
      std::vector<std::shared_ptr<std::optional<publish_report>>> reports;
      for (int i = 0; i < more; ++i) reports.push_back(f.start(f.topics->publish("t", text(data(i)))));
      f.store->open();
      f.settle();
      const auto seen = offsets(f.heard(client));
      INFO(more);
      const auto last = f.topics->stats().publications;
      REQUIRE(seen.size() == last - 1);
      for (std::size_t i = 0; i < seen.size(); ++i) CHECK(seen[i] == i + 2);
      std::size_t pending = 0;
      for (const auto& each : reports) {
        REQUIRE(*each);
        CHECK((*each)->balanced());
        pending += (*each)->pending;
      }
      CHECK((pending > 0) == (more > 8));
      client.cut();
      f.settle();
    }
  }

  TEST_CASE("what was promised and is gone before it could be sent ends the connection") {
    protocol_fixture::parts with;
    with.rules = {remembering("t", 300)};  // more than one page
    with.manager.limits.send_queue_messages = 8;
    protocol_fixture f{std::move(with)};
    const auto start = f.publish("t", data(0)).position;
    for (int i = 1; i <= 300; ++i) f.publish("t", data(i));
    auto& client = f.welcomed();
    client.set_capacity(0);
    f.say(client, recover("t", start));
    for (int i = 0; i < 299; ++i) f.topics->post_publish("t", text(data(i)));
    f.settle();
    client.set_capacity(1 << 20);
    const auto seen = offsets(f.heard(client));
    CHECK(seen.size() <= 256);  // of the page that was read; what was still in the channel is discarded
    for (std::size_t i = 0; i < seen.size(); ++i) CHECK(seen[i] == i + 2);
    CHECK(client.close_received() == close_code::slow_consumer);
  }

  TEST_CASE("a connection that ends while it catches up leaves nothing behind, and the report is told") {
    protocol_fixture f{rules({remembering("t")})};
    const auto start = f.publish("t", data(1)).position;
    auto& client = f.welcomed();
    f.store->closed = true;
    f.say(client, recover("t", start));
    f.store->closed = false;
    const auto report = f.start(f.topics->publish("t", text(data(2))));
    CHECK(!*report);
    client.cut();
    f.settle();
    REQUIRE(*report);
    CHECK((*report)->closed == 1);
    f.store->open();
    f.settle();
    CHECK(f.topics->stats().subscriptions == 0);
    CHECK(f.publish("t", data(3)).matched == 0);
  }

  TEST_CASE("a store that fails: nobody gets what is not kept, unless the rule says so; the rest goes on") {
    auto unkept = remembering("free.*");
    unkept.history->deliver_unkept = true;
    protocol_fixture f{rules({remembering("strict.*"), unkept})};
    auto& client = f.welcomed();
    f.ask(client, R"({"type":"subscribe","channel":">"})");
    f.store->failure = errc::store_full;
    std::exception_ptr error;
    asio::co_spawn(f.context, f.topics->publish("strict.a", text(data(1))),
                   [&](const std::exception_ptr& e, const publish_report&) { error = e; });
    f.settle();
    try {
      REQUIRE(error);
      std::rethrow_exception(error);
    } catch (const boost::system::system_error& e) {
      CHECK(e.code() == errc::store_full);
    }
    f.topics->post_publish("strict.a", text(data(2)));
    f.settle();
    CHECK(f.problems.size() == 1);
    CHECK(f.heard(client).empty());
    const auto free = f.publish("free.a", data(3));
    CHECK(free.matched == 1);
    CHECK(free.position == topic_position{});
    CHECK(f.publish("live", data(4)).matched == 1);
    const auto got = f.heard(client);
    REQUIRE(got.size() == 2);
    CHECK(!got[0].contains("offset"));
    CHECK(f.topics->stats().unkept == 3);

    const auto answer = f.ask(client, recover("strict.a", {"e", 1}));
    CHECK(answer.at("recovered") == false);
    CHECK(!answer.contains("epoch"));
    f.store->failure.reset();
    CHECK(f.publish("strict.a", data(5)).matched == 1);
    CHECK(f.heard(client).size() == 1);
  }

  TEST_CASE("what is kept cannot be cancelled; who has waited for it can be all the same") {
    protocol_fixture f{rules({remembering("t")})};
    const auto where = f.connect().other_end()->executor();
    asio::cancellation_signal cancel;
    bool done = false;
    bool kept = false;
    const auto wait = [&](auto task) -> asio::awaitable<void> {
      co_await std::move(task);
      kept = true;
      asio::steady_timer never{co_await asio::this_coro::executor, asio::steady_timer::time_point::max()};
      co_await never.async_wait(asio::use_awaitable);
    };
    const auto note = [&done](const std::exception_ptr& error) { done = error != nullptr; };
    f.store->closed = true;
    SUBCASE("a publication") {
      asio::co_spawn(where, wait(f.topics->publish("t", text(data(1)))),
                     asio::bind_cancellation_slot(cancel.slot(), note));
    }
    SUBCASE("a message of a user") {
      asio::co_spawn(where, wait(f.users->send("ada", text(data(1)), delivery().stored())),
                     asio::bind_cancellation_slot(cancel.slot(), note));
    }
    f.settle();
    cancel.emit(asio::cancellation_type::terminal);
    f.settle();
    CHECK(!done);
    f.store->open();
    f.settle();
    CHECK(kept);
    cancel.emit(asio::cancellation_type::terminal);
    f.settle();
    CHECK(done);
  }

  TEST_CASE("rules that cannot be are refused") {
    fixture f;
    const auto refused = [&](topic_rule rule) {
      topics_options options;
      options.rules = {std::move(rule)};
      CHECK_THROWS_AS(static_cast<void>(make_topics(f.hub, options)), std::invalid_argument);
    };
    auto durable = remembering("t");
    durable.history->durable = true;
    refused(durable);
    topic_rule field{"t"};
    field.conflate_by = "symbol";
    refused(field);
    refused(topic_rule{"a..b"});
    auto both = remembering("t");
    both.policy = overflow::conflate;
    topics_options options;
    options.rules = {both};
    {
      fixture other;
      CHECK(make_topics(other.hub, options));
    }
    both.conflate_by = "symbol";
    refused(both);
  }

  TEST_CASE("a topic with a history is conflated by topic, so that its numbers ascend") {
    auto rule = remembering("t");
    rule.policy = overflow::conflate;
    protocol_fixture f{rules({rule})};
    auto& client = f.connect();
    CHECK(*f.start(f.topics->subscribe(*client.other_end(), "t")) == subscribed::yes);
    CHECK_THROWS_AS(f.topics->post_publish("t", text(data(1)), delivery().conflate("A")),
                    std::invalid_argument);
    CHECK(!*f.start(f.topics->publish("t", text(data(1)), delivery().conflate("A"))));
    CHECK(*f.start(f.topics->publish("t", text(data(1)), delivery().conflate("t"))));
    f.publish("t", data(2));
    CHECK(drink(f, client).size() == 2);
  }

  TEST_CASE("conflation by a field of the object") {
    topic_rule rule{"prices", overflow::conflate};
    rule.conflate_by = "symbol";
    protocol_fixture f{rules({rule})};
    auto& client = f.connect();
    CHECK(*f.start(f.topics->subscribe(*client.other_end(), "prices")) == subscribed::yes);
    client.set_capacity(0);
    f.topics->post_publish("prices", text("first"));  // what is being written is not replaced
    f.settle();
    for (const auto* const what :
         {R"({"symbol":"A","p":1})", R"({"symbol":"B","p":2})", R"({"symbol":"A","p":3})"})
      f.topics->post_publish("prices", text(what));
    f.settle();
    client.set_capacity(1 << 20);
    CHECK(drink(f, client) ==
          std::vector{text("first"), text(R"({"symbol":"A","p":3})"), text(R"({"symbol":"B","p":2})")});
  }
}

TEST_SUITE("presence") {
  topic_rule present(std::string pattern) {
    topic_rule rule{std::move(pattern)};
    rule.presence = true;
    return rule;
  }

  TEST_CASE("who is on a topic, and who comes and goes") {
    protocol_fixture f{rules({present("room.*")})};
    auto& alice = f.welcomed("alice");
    auto& nobody = f.welcomed();
    auto& watcher = f.welcomed();
    f.ask(watcher, R"({"type":"subscribe","channel":"room.>"})");
    f.ask(alice, R"({"type":"subscribe","channel":"room.1","info":{"mood":"bullish"}})");
    f.ask(nobody, R"({"type":"subscribe","channel":"room.1"})");
    const auto id_of = [](testing::memory_peer& of) { return std::to_string(of.other_end()->id()); };
    const auto seen = f.ask(watcher, R"({"type":"presence","id":1,"channel":"room.1"})");
    CHECK(seen.at("count") == 2);
    CHECK(seen.at("id") == 1);
    CHECK(seen.at("members").as_array().size() == 2);
    CHECK(json::serialize(seen.at("members").at(0)) ==
          "{\"connection\":\"" + id_of(alice) + R"(","user":"alice","info":{"mood":"bullish"}})");
    CHECK(f.heard(watcher).empty());  // nothing is told before the interval is over
    f.advance(1s);
    for (auto* const each : {&alice, &nobody, &watcher}) {
      const auto told = f.heard(*each);
      REQUIRE(told.size() == 1);
      CHECK(told[0].at("type") == "presence_change");
      CHECK(told[0].at("channel") == "room.1");
      CHECK(told[0].at("count") == 2);
      CHECK(told[0].at("joined").as_array().size() == 2);
      CHECK(!told[0].contains("left"));
    }
    nobody.cut();
    f.settle();
    f.advance(1s);
    const auto told = f.heard(alice);
    REQUIRE(told.size() == 1);
    CHECK(told[0].at("count") == 1);
    CHECK(told[0].at("left").as_array().size() == 1);
    f.ask(alice, R"({"type":"unsubscribe","channel":"room.1"})");
    f.advance(1s);
    CHECK(f.heard(watcher).size() == 2);
    CHECK(f.ask(watcher, R"({"type":"presence","channel":"room.1"})").at("count") == 0);
  }

  TEST_CASE("joins and leaves are told only to those who may see them") {
    protocol_fixture::parts with;
    with.rules = {present("room.*")};
    with.protocol.authorize = authorize_by_claim();
    protocol_fixture f{std::move(with)};
    auto& blind = f.welcomed("b", json::parse(R"({"topics":{"subscribe":["room.>"],"presence":[]}})"));
    auto& one_room =
        f.welcomed("o", json::parse(R"({"topics":{"subscribe":["room.>"],"presence":["room.1"]}})"));
    f.ask(blind, R"({"type":"subscribe","channel":"room.1"})");
    f.ask(blind, R"({"type":"subscribe","channel":"room.>"})");
    f.ask(one_room, R"({"type":"subscribe","channel":"room.*"})");
    f.advance(1s);
    CHECK(f.heard(blind).empty());
    CHECK(f.heard(one_room).empty());  // by the pattern it would see all rooms
    f.ask(one_room, R"({"type":"subscribe","channel":"room.1"})");
    f.advance(1s);
    CHECK(f.heard(blind).empty());
    CHECK(f.heard(one_room).size() == 1);
    f.ask(one_room, R"({"type":"unsubscribe","channel":"room.1"})");
    f.advance(1s);
    CHECK(f.heard(one_room).empty());
    // What is published reaches both.
    f.publish("room.1", data(1));
    CHECK(f.heard(blind).size() == 1);
    CHECK(f.heard(one_room).size() == 1);
  }

  TEST_CASE("who came and went within the interval is not mentioned") {
    protocol_fixture f{rules({present("r")})};
    auto& stays = f.welcomed();
    f.ask(stays, R"({"type":"subscribe","channel":"r"})");
    f.advance(1s);
    f.heard(stays);
    for (int i = 0; i < 100; ++i) {
      auto& passing = f.welcomed();
      f.ask(passing, R"({"type":"subscribe","channel":"r"})");
      if (i % 2 == 0) {
        passing.cut();
      } else {
        f.ask(passing, R"({"type":"unsubscribe","channel":"r"})");
      }
      f.settle();
    }
    f.advance(1s);
    CHECK(f.heard(stays).empty());
  }

  TEST_CASE("of many only the number is told") {
    protocol_fixture::parts with;
    with.rules = {present("r")};
    with.presence_members = 3;
    protocol_fixture f{std::move(with)};
    auto& watcher = f.welcomed();
    f.ask(watcher, R"({"type":"subscribe","channel":">"})");
    for (std::size_t count = 1; count <= 5; ++count) {
      f.ask(f.welcomed(), R"({"type":"subscribe","channel":"r"})");
      f.advance(1s);
      const auto told = f.heard(watcher);
      REQUIRE(told.size() == 1);
      CHECK(told[0].at("count") == count);
      CHECK(told[0].contains("joined") == (count <= 3));
      const auto answer = f.ask(watcher, R"({"type":"presence","channel":"r"})");
      CHECK(answer.at("count") == count);
      CHECK(answer.contains("members") == (count <= 3));
    }
  }

  TEST_CASE("a topic without presence tells nobody") {
    protocol_fixture f;
    auto& client = f.welcomed();
    f.ask(client, R"({"type":"subscribe","channel":"r"})");
    f.advance(5s);
    CHECK(f.heard(client).empty());
    CHECK(f.ask(client, R"({"type":"presence","channel":"r"})").at("code") == "not_available");
    CHECK((*f.start(f.topics->presence("r")))->count == 1);
  }
}

TEST_SUITE("mailbox") {
  user_report stored(protocol_fixture & f, const std::string& user, const std::string& what) {
    const auto report = f.start(f.users->send(user, text(what), delivery().stored()));
    REQUIRE(*report);
    CHECK((*report)->balanced());
    return **report;
  }
  std::string ack(std::uint64_t id) {
    return "{\"type\":\"ack\",\"id\":" + std::to_string(id) + "}";
  }

  TEST_CASE("what nobody received waits for the user, and is sent before anything else") {
    protocol_fixture f;
    const auto first = stored(f, "alice", data(1));
    CHECK(first.matched == 0);
    CHECK(first.id != 0);
    const auto second = stored(f, "alice", data(2));
    CHECK(second.id > first.id);
    stored(f, "bob", data(9));
    auto& alice = f.join("alice");
    f.users->post_send("alice", text(data(3)));
    f.settle();
    const auto all = f.heard(alice);
    REQUIRE(all.size() == 4);
    CHECK(all[0].at("type") == "welcome");
    CHECK(all[0].at("user") == "alice");
    CHECK(plain(all[1]) == "{\"message_id\":" + std::to_string(first.id) + ",\"n\":1}");
    CHECK(plain(all[2]) == "{\"message_id\":" + std::to_string(second.id) + ",\"n\":2}");
    CHECK(plain(all[3]) == "{\"n\":3}");
    CHECK(f.users->stats().replayed == 2);
  }

  TEST_CASE("until it is acknowledged it comes again") {
    protocol_fixture f;
    auto& there = f.welcomed("alice");
    const auto live = stored(f, "alice", data(1));
    CHECK(live.written == 1);
    CHECK(plain(f.heard(there).at(0)) == "{\"message_id\":" + std::to_string(live.id) + ",\"n\":1}");
    auto& again = f.join("alice");
    REQUIRE(f.heard(again).size() == 2);
    const auto answer = f.ask(again, ack(live.id));
    CHECK(answer.at("type") == "acked");
    CHECK(answer.at("id") == live.id);
    CHECK(f.ask(there, ack(live.id)).at("type") == "acked");  // twice is no error
    CHECK(f.heard(f.join("alice")).size() == 1);
    CHECK(f.users->stats().acknowledged == 1);
  }

  TEST_CASE("several at once; one cannot acknowledge what is another's") {
    protocol_fixture f;
    std::string list;
    for (int i = 0; i < 3; ++i) list += (i == 0 ? "" : ",") + std::to_string(stored(f, "alice", data(i)).id);
    auto& bob = f.welcomed("bob");
    CHECK(f.ask(bob, "{\"type\":\"ack\",\"id\":[" + list + "]}").at("type") == "acked");
    auto& alice = f.join("alice");
    CHECK(f.heard(alice).size() == 4);
    CHECK(json::serialize(f.ask(alice, "{\"type\":\"ack\",\"id\":[" + list + "]}").at("id")) ==
          "[" + list + "]");
    CHECK(f.heard(f.join("alice")).size() == 1);
    CHECK(f.ask(f.welcomed(), ack(1)).at("code") == "not_available");
  }

  TEST_CASE("what comes while the messages are read is held back, and comes after them, once") {
    protocol_fixture f;
    const auto first = stored(f, "alice", data(1));
    f.store->closed = true;
    auto& alice = f.join("alice");
    CHECK(f.heard(alice).size() == 1);
    f.store->closed = false;
    const auto second = f.start(f.users->send("alice", text(data(2)), delivery().stored()));
    f.users->post_send("alice", text(data(3)));
    f.settle();
    CHECK(f.heard(alice).empty());
    f.store->open();
    f.settle();
    const auto all = f.heard(alice);
    REQUIRE(all.size() == 3);
    CHECK(all[0].at("message_id") == first.id);
    CHECK(all[1].at("n") == 2);
    CHECK(all[2].at("n") == 3);
    REQUIRE(*second);
    CHECK((*second)->matched == 1);
    CHECK((*second)->balanced());
  }

  TEST_CASE("an evicting message too many for one who is told of the past closes the connection") {
    protocol_fixture::parts with;
    with.manager.limits.send_queue_messages = 4;
    for (const int many : {3, 4, 5}) {
      protocol_fixture f{with};
      stored(f, "alice", data(0));
      f.store->closed = true;
      auto& alice = f.join("alice");
      f.store->closed = false;
      for (int i = 1; i <= many; ++i) f.users->post_send("alice", text(data(i)));
      f.settle();
      f.store->open();
      f.settle();
      const auto all = f.heard(alice);
      INFO(many);
      CHECK(alice.close_received().has_value() == (many > 4));
      CHECK(f.hub->stats().evictions == (many > 4 ? 1U : 0U));
      if (many <= 4) CHECK(all.size() == static_cast<std::size_t>(many + 2));
    }
  }

  TEST_CASE("bounded for each user: the oldest goes, and is counted") {
    protocol_fixture::parts with;
    with.offline.max_messages = 2;
    protocol_fixture f{std::move(with)};
    CHECK(stored(f, "alice", data(1)).pushed_out == 0);
    CHECK(stored(f, "alice", data(2)).pushed_out == 0);
    CHECK(stored(f, "alice", data(3)).pushed_out == 1);
    CHECK(stored(f, "bob", data(1)).pushed_out == 0);
    CHECK(f.users->stats().pushed_out == 1);
    const auto all = f.heard(f.join("alice"));
    REQUIRE(all.size() == 3);
    CHECK(all[1].at("n") == 2);
  }

  TEST_CASE("a store that fails refuses, and what needs no store goes on") {
    protocol_fixture f;
    auto& alice = f.welcomed("alice");
    f.store->failure = errc::store_unavailable;
    CHECK(!*f.start(f.users->send("alice", text(data(1)), delivery().stored())));
    f.users->post_send("alice", text(data(2)), delivery().stored());
    f.settle();
    CHECK(f.problems.size() == 1);
    CHECK((*f.start(f.users->send("alice", text(data(3)))))->written == 1);
    CHECK(f.heard(alice).size() == 1);
    CHECK(f.users->stats().unkept == 2);
    const auto late = f.heard(f.join("alice"));
    REQUIRE(late.size() == 2);
    CHECK(late[1].at("code") == "store_unavailable");
    CHECK(late[1].at("retry_after_ms") == 5000);
    const auto refused = f.ask(alice, ack(1));
    CHECK(refused.at("code") == "store_unavailable");
    CHECK(refused.at("retry_after_ms") == 5000);
  }

  TEST_CASE("what could not be replayed at first is when the store can be read again") {
    protocol_fixture f;
    CHECK(*f.start(f.users->send("alice", text(data(1)), delivery().stored())));
    f.store->failure = errc::store_unavailable;
    auto& alice = f.join("alice");
    CHECK(f.heard(alice).size() == 2);  // welcome, error
    CHECK(f.problems.size() == 1);
    const std::string ping = R"({"type":"ping"})";
    f.advance(5s);
    CHECK(f.ask(alice, ping).at("type") == "pong");  // tried in vain, and not told again
    f.store->failure.reset();
    f.advance(4s);
    CHECK(f.ask(alice, ping).at("type") == "pong");
    f.advance(1s);
    f.say(alice, ping);
    const auto all = f.heard(alice);
    REQUIRE(all.size() == 2);
    CHECK(all[0].contains("message_id"));
    CHECK(all[1].at("type") == "pong");
    CHECK(f.ask(alice, ping).at("type") == "pong");
    CHECK(f.problems.size() == 1);
  }

  TEST_CASE("without a user nothing can be stored") {
    protocol_fixture f;
    CHECK(!*f.start(f.users->send("", text("x"), delivery().stored())));
    CHECK(*f.start(f.users->replay(*f.connect().other_end())) == 0U);
  }
}
