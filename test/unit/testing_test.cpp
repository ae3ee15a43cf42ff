#include <skein/error.hpp>
#include <skein/testing.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <doctest/doctest.h>

#include <stdexcept>

namespace {

using namespace std::chrono_literals;
using namespace skein;
using testing::mock_manager;
using testing::mock_websocket;
using testing::virtual_clock;

asio::awaitable<void> wait_for_ever() {
  asio::steady_timer never{co_await asio::this_coro::executor, asio::steady_timer::time_point::max()};
  co_await never.async_wait(asio::use_awaitable);
}

asio::awaitable<void> fail() {
  co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  throw std::domain_error("no");
}

asio::awaitable<int> three() {
  co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  co_return 3;
}

asio::awaitable<void> echo(websocket& client) {
  while (auto received = co_await client.read()) co_await client.write(std::move(*received));
}

asio::awaitable<void> close_with(websocket& client, close_code code) {
  co_await client.close(code);
}

auto times_out() {
  return [](const boost::system::system_error& e) { return e.code() == errc::timed_out; };
}

struct observed {
  std::optional<outcome> write, send;
};

asio::awaitable<void> write_and_send(connection& client, observed& into) {
  into.write = co_await client.write(message::text("a"));
  into.send = co_await client.send(message::text("b"), delivery().until_written());
}

}  // namespace

TEST_SUITE("testing::run") {
  TEST_CASE("run returns what the coroutine returns") {
    CHECK(testing::run(three()) == 3);
  }

  TEST_CASE("run rethrows the coroutine's exception") {
    CHECK_THROWS_AS(testing::run(fail()), std::domain_error);
  }

  TEST_CASE("run gives up on a coroutine that waits for ever") {
    bool right = false;
    try {
      testing::run(wait_for_ever(), 1ms);
    } catch (const boost::system::system_error& e) {
      right = times_out()(e);
    }
    CHECK(right);
  }

  TEST_CASE("run cancels what it gives up on") {
    asio::io_context context{1};
    bool ended = false;
    struct mark_end {
      bool& ended;
      ~mark_end() { ended = true; }
    };
    auto waits = [](bool& flag) -> asio::awaitable<void> {
      const mark_end mark{flag};
      co_await wait_for_ever();
    };
    CHECK_THROWS_AS(testing::run(context, waits(ended), 1ms), boost::system::system_error);
    CHECK(ended);
  }

  TEST_CASE("run also runs what else is ready on the context") {
    asio::io_context context{1};
    int posted = 0;
    asio::post(context, [&] { asio::post(context, [&] { ++posted; }); });
    CHECK(testing::run(context, three()) == 3);
    CHECK(posted == 1);
  }

  TEST_CASE("a context can be run again after its work had run out") {
    asio::io_context context{1};
    CHECK(testing::run(context, three()) == 3);
    CHECK(testing::run(context, three()) == 3);
  }

  TEST_CASE("settle does not wait") {
    asio::io_context context{1};
    bool rung = false;
    asio::steady_timer never{context, asio::steady_timer::time_point::max()};
    never.async_wait([&](error_code) { rung = true; });
    int ran = 0;
    asio::post(context, [&] { ++ran; });
    testing::settle(context);
    CHECK(ran == 1);
    CHECK_FALSE(rung);
  }
}

TEST_SUITE("testing::virtual_clock") {
  struct with_clock {
    asio::io_context context{1};
    virtual_clock time;
    std::vector<int> rung;
    std::unique_ptr<skein::alarm> make(int number) {
      return time.make_alarm(context.get_executor(), [this, number] { rung.push_back(number); });
    }
    void advance(duration by) {
      time.advance(by);
      testing::settle(context);
    }
  };

  TEST_CASE_FIXTURE(with_clock, "time stands still until it is moved") {
    const auto before = time.now();
    CHECK(time.now() == before);
    time.advance(3s);
    CHECK(time.now() == before + 3s);
  }

  TEST_CASE_FIXTURE(with_clock, "an alarm rings when it is due and not before") {
    auto one = make(1);
    one->set(time.now() + 2s);
    advance(1999ms);
    CHECK(rung.empty());
    advance(1ms);
    CHECK(rung == std::vector{1});
    advance(1h);
    CHECK(rung == std::vector{1});
  }

  TEST_CASE_FIXTURE(with_clock, "alarms ring in the order in which they are due") {
    auto one = make(1);
    auto two = make(2);
    auto three = make(3);
    one->set(time.now() + 3s);
    two->set(time.now() + 1s);
    three->set(time.now() + 2s);
    advance(5s);
    CHECK(rung == std::vector{2, 3, 1});
  }

  TEST_CASE_FIXTURE(with_clock, "setting an alarm again replaces the earlier time") {
    auto one = make(1);
    one->set(time.now() + 1s);
    one->set(time.now() + 10s);
    advance(5s);
    CHECK(rung.empty());
    advance(5s);
    CHECK(rung == std::vector{1});
  }

  TEST_CASE_FIXTURE(with_clock, "an alarm that was set to a time gone by rings at once") {
    auto one = make(1);
    one->set(time.now() - 1s);
    testing::settle(context);
    CHECK(rung == std::vector{1});
  }

  TEST_CASE_FIXTURE(with_clock, "a cancelled alarm does not ring, even when it was due already") {
    auto one = make(1);
    one->set(time.now() + 1s);
    time.advance(1s);
    one->cancel();
    testing::settle(context);
    CHECK(rung.empty());
  }

  TEST_CASE_FIXTURE(with_clock, "an alarm that is gone does not ring") {
    auto one = make(1);
    one->set(time.now() + 1s);
    time.advance(1s);
    one.reset();
    testing::settle(context);
    CHECK(rung.empty());
  }

  TEST_CASE_FIXTURE(with_clock, "an alarm may set itself again when it rings") {
    std::unique_ptr<skein::alarm> again;
    int count = 0;
    again = time.make_alarm(context.get_executor(), [&] {
      if (++count < 3) again->set(time.now() + 1s);
    });
    again->set(time.now() + 1s);
    for (int i = 0; i < 5; ++i) advance(1s);
    CHECK(count == 3);
  }

  TEST_CASE_FIXTURE(with_clock, "the clock tells when its next alarm rings") {
    auto one = make(1);
    CHECK_FALSE(time.next().has_value());
    one->set(time.now() + 4s);
    CHECK(time.next() == time.now() + 4s);
    one->cancel();
    CHECK_FALSE(time.next().has_value());
  }
}

TEST_SUITE("testing::mock_websocket") {
  TEST_CASE("a handler reads the script and its writes are recorded") {
    mock_websocket client;
    client.will_read_text("a").will_read(message::binary("b"));
    testing::run(echo(client));
    CHECK(client.reads() == 2);
    CHECK(client.written() == std::vector{message::text("a"), message::binary("b")});
    CHECK(client.last_written().is_binary());
  }

  TEST_CASE("after the script the peer has closed") {
    mock_websocket client;
    client.then_peer_closes(close_code::going_away, "bye");
    CHECK(client.is_open());
    testing::run(echo(client));
    CHECK_FALSE(client.is_open());
    CHECK(client.close_reason().by == closed_by::peer);
    CHECK(client.close_reason().code == close_code::going_away);
    CHECK(client.close_reason().text == "bye");
    CHECK_FALSE(client.was_closed());
  }

  TEST_CASE("after the script read throws what it was told to") {
    mock_websocket client;
    client.will_read_text("a").then_read_throws(std::make_exception_ptr(std::domain_error("no")));
    CHECK_THROWS_AS(testing::run(echo(client)), std::domain_error);
    CHECK(client.writes() == 1);
  }

  TEST_CASE("a read that waits goes on when the peer sends, and ends when it closes") {
    asio::io_context context{1};
    mock_websocket client{context.get_executor()};
    client.then_read_waits();
    auto done = false;
    asio::co_spawn(context, echo(client), [&](std::exception_ptr) { done = true; });
    testing::settle(context);
    CHECK_FALSE(done);

    client.peer_sends(message::text("late"));
    testing::settle(context);
    CHECK(client.last_written().payload() == "late");
    CHECK_FALSE(done);

    client.peer_closes();
    testing::settle(context);
    CHECK(done);
  }

  TEST_CASE("a read that waits is ended by a time limit") {
    mock_websocket client;
    client.then_read_waits();
    CHECK_THROWS_AS(testing::run(echo(client), 1ms), boost::system::system_error);
  }

  TEST_CASE("a mock may be destroyed while a handler still reads from it") {
    asio::io_context context{1};
    auto done = false;
    {
      mock_websocket client;
      client.then_read_waits();
      asio::co_spawn(context, echo(client), [&](std::exception_ptr) { done = true; });
      testing::settle(context);
    }
    testing::settle(context);
    CHECK(done);
  }

  TEST_CASE("a mock may outlive the context on which a handler reads from it") {
    mock_websocket client;
    client.then_read_waits();
    {
      asio::io_context context{1};
      asio::co_spawn(context, echo(client), [](std::exception_ptr) {});
      testing::settle(context);
    }
    client.peer_sends(message::text("nobody reads this"));
    CHECK(client.writes() == 0);
  }

  TEST_CASE("the handler's close is recorded, and reading ends") {
    mock_websocket client;
    client.will_read_text("unread");
    testing::run(close_with(client, close_code::policy_violation));
    CHECK(client.was_closed());
    CHECK(client.closed_with() == close_code::policy_violation);
    CHECK(client.close_reason().by == closed_by::local);
    testing::run(echo(client));
    CHECK(client.reads() == 0);
  }

  TEST_CASE("writes have the outcomes of a channel that has room") {
    mock_websocket client;
    observed seen;
    testing::run(write_and_send(client, seen));
    CHECK(seen.write == outcome::queued);
    CHECK(seen.send == outcome::written);
    CHECK(client.deliveries().front().policy() == overflow::wait);
    CHECK(client.deliveries().back().waits_until_written());
  }

  TEST_CASE("writes fail from where the script says, and are not recorded") {
    mock_websocket client;
    client.will_fail_writes(1, outcome::dropped);
    observed seen;
    testing::run(write_and_send(client, seen));
    CHECK(seen.write == outcome::queued);
    CHECK(seen.send == outcome::dropped);
    CHECK(client.writes() == 1);
  }

  TEST_CASE("what is posted is recorded too") {
    mock_websocket client;
    client.post_send(message::text("a"), delivery().conflate("key"));
    client.post_close(close_code::normal, {});
    client.post_send(message::text("too late"), {});
    CHECK(client.written() == std::vector{message::text("a")});
    CHECK(*client.deliveries().front().key() == "key");
    CHECK(client.closed_with() == close_code::normal);
  }

  TEST_CASE("identity and request are what the script says") {
    identity ada;
    ada.user = "ada";
    mock_websocket client;
    client.with_id(7).with_route("/ws").with_user(ada).with_request(
        {"GET", "/ws?a=1", {{"Host", "here"}}, "127.0.0.1:1"});
    CHECK(client.id() == 7);
    CHECK(client.route() == "/ws");
    CHECK(client.user().user == "ada");
    CHECK(client.request().header("host") == "here");
    CHECK(client.remote_address() == "127.0.0.1:1");
  }

  TEST_CASE("asking for the last message when there is none throws") {
    const mock_websocket client;
    CHECK_THROWS_AS((void)client.last_written(), std::out_of_range);
  }
}

TEST_SUITE("testing::mock_manager") {
  TEST_CASE("a broadcast is recorded with its options and answered with the report that was given") {
    mock_manager hub;
    delivery_report two;
    two.matched = 2;
    two.written = 2;
    hub.will_report(two);
    const auto report = testing::run(hub.broadcast(message::text("a"), delivery().on_route("/ws")));
    CHECK(report.written == 2);
    CHECK(hub.record().at(0).what == message::text("a"));
    CHECK(hub.record().at(0).how.route() == "/ws");
    CHECK_FALSE(hub.record().at(0).to.has_value());
    CHECK(hub.stats().broadcasts == 1);
  }

  TEST_CASE("what is sent to one connection is recorded with its address") {
    mock_manager hub;
    hub.will_answer(outcome::dropped);
    CHECK(testing::run(hub.send_to(4, message::text("a"), {})) == outcome::dropped);
    CHECK(hub.record().at(0).to == connection_id{4});
  }

  TEST_CASE("closed connections are recorded") {
    mock_manager hub;
    CHECK(testing::run(hub.close(4, close_code::normal, {})));
    CHECK(hub.closed() == std::vector<connection_id>{4});
  }

  TEST_CASE("a broadcast that a real manager would refuse is refused") {
    mock_manager hub;
    CHECK_THROWS_AS(hub.post_broadcast({}, {}), std::invalid_argument);
    CHECK_THROWS_AS(hub.post_broadcast(message::text("a"), delivery().wait()), std::invalid_argument);
  }
}

TEST_SUITE("testing::mock_topics") {
  TEST_CASE("publications are recorded, subscriptions kept, and what real topics refuse is refused") {
    testing::mock_topics topics;
    delivery_report two;
    two.matched = 2;
    two.written = 2;
    topics.will_report(two);
    CHECK(testing::run(topics.publish("a.b", message::text("1"))).written == 2);
    topics.post_publish("a.c", message::text("2"), delivery().conflate("k"));
    REQUIRE(topics.record().size() == 2);
    CHECK(topics.record()[0].topic == "a.b");
    CHECK(topics.record()[0].what == message::text("1"));
    CHECK(*topics.record()[1].how.key() == "k");
    CHECK_THROWS_AS(topics.post_publish("a.*", message::text("3")), std::invalid_argument);
    CHECK_THROWS_AS(topics.post_publish("a", message::text("3"), delivery().wait()), std::invalid_argument);

    mock_websocket client;
    client.with_id(7);
    CHECK(testing::run(topics.subscribe(client, "a.>")) == subscribed::yes);
    CHECK(testing::run(topics.subscribe(client, "a.>")) == subscribed::already);
    CHECK(testing::run(topics.subscribe(client, "a..b")) == subscribed::invalid);
    CHECK(testing::run(topics.subscriptions(client)) == std::vector<std::string>{"a.>"});
    CHECK(topics.stats().subscriptions == 1);
    CHECK(testing::run(topics.unsubscribe(client, "a.>")));
    CHECK(!testing::run(topics.unsubscribe(client, "a.>")));
    topics.will_answer(subscribed::limit);
    CHECK(testing::run(topics.subscribe(client, "b")) == subscribed::limit);
  }
}

TEST_SUITE("testing::mock_users") {
  TEST_CASE("what is sent to users is recorded") {
    testing::mock_users users;
    users.with_connections("alice", {1, 2});
    CHECK(testing::run(users.send("alice", message::text("1"), {})).matched == 0);
    users.post_send("bob", message::text("2"), delivery().drop());
    REQUIRE(users.record().size() == 2);
    CHECK(users.record()[0].user == "alice");
    CHECK(users.record()[1].how.policy() == overflow::drop);
    CHECK(testing::run(users.connections("alice")) == std::vector<connection_id>{1, 2});
    CHECK(testing::run(users.close("alice", close_code::normal, {})) == 2);
    CHECK(users.closed() == std::vector<std::string>{"alice"});
    CHECK_THROWS_AS(users.post_send("bob", {}, {}), std::invalid_argument);
  }
}
