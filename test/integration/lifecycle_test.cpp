// From the first byte of a connection to its one closed event: handlers, closing from either side, crowds of
// senders, peers that vanish, and the shutdown.

#include "test_server.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <set>
#include <stdexcept>
#include <thread>

namespace {

using namespace skein::test;
using namespace std::chrono_literals;
using namespace std::string_literals;

namespace asio = boost::asio;

using skein::close_code;
using skein::closed_by;

/// What a handler and its test share.
struct shared {
  std::mutex mutex;
  std::vector<std::string> messages;
  std::vector<std::string> events;
  std::atomic<int> running{0};

  void note(std::string event) {
    const std::lock_guard lock{mutex};
    events.push_back(std::move(event));
  }
  [[nodiscard]] std::vector<std::string> noted() {
    const std::lock_guard lock{mutex};
    return events;
  }
};

struct running_guard {
  explicit running_guard(shared& s) : where(s) { ++where.running; }
  running_guard(const running_guard&) = delete;
  running_guard& operator=(const running_guard&) = delete;
  ~running_guard() { --where.running; }
  shared& where;
};

/// Waits on the connection's executor until it has ended.
asio::awaitable<void> outlive(skein::connection& client) {
  asio::steady_timer timer{co_await asio::this_coro::executor};
  while (client.close_reason().by == closed_by::nobody) {
    timer.expires_after(1ms);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

asio::awaitable<void> throw_at_the_third(skein::connection& client) {
  for (int i = 0; i < 2; ++i) {
    auto received = co_await client.read();
    if (!received) co_return;
    co_await client.write(std::move(*received));
  }
  co_await client.read();
  throw std::runtime_error{"three is too many"};
}

asio::awaitable<void> throw_at_once(skein::connection&) {
  throw std::runtime_error{"no"};
  co_return;
}

asio::awaitable<void> throw_a_number(skein::connection& client) {
  co_await client.read();
  throw 42;
}

asio::awaitable<void> return_at_once(skein::connection&) {
  co_return;
}

asio::awaitable<void> greet_and_return(skein::connection& client) {
  co_await client.write(skein::message::text("welcome"));
  co_await client.write(skein::message::binary(std::string(200'000, 'x')));
}

asio::awaitable<void> close_with_4321(skein::connection& client) {
  co_await client.read();
  co_await client.close(static_cast<close_code>(4321), "enough");
}

asio::awaitable<void> read_until_the_end(skein::connection& client) {
  while (const auto received = co_await client.read()) {
  }
}

asio::awaitable<void> note_reason(skein::connection& client, shared& notes) {
  const running_guard guard{notes};
  while (auto received = co_await client.read()) notes.note("message " + received->release());
  const auto& why = client.close_reason();
  notes.note("by " + std::to_string(static_cast<int>(why.by)) + " code " +
             std::to_string(static_cast<int>(why.code)) + " " + why.text);
  const auto more = co_await client.read();
  if (more) notes.note("a message behind the end");
}

asio::awaitable<void> read_after_the_end(skein::connection& client, shared& notes) {
  co_await outlive(client);
  co_await note_reason(client, notes);
}

std::string reason(closed_by by, unsigned code, const std::string& text = {}) {
  return "by " + std::to_string(static_cast<int>(by)) + " code " + std::to_string(code) + " " + text;
}

/// Hands each connection to the test.
class collector {
 public:
  [[nodiscard]] std::function<void(skein::connection&)> on_open() {
    return [this](skein::connection& who) {
      const std::lock_guard lock{mutex_};
      connections_.push_back(who.shared_from_this());
    };
  }
  [[nodiscard]] std::vector<std::shared_ptr<skein::connection>> all() {
    const std::lock_guard lock{mutex_};
    return connections_;
  }
  [[nodiscard]] std::shared_ptr<skein::connection> wait_for(std::size_t index) {
    REQUIRE(eventually([&] { return all().size() > index; }));
    return all()[index];
  }

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<skein::connection>> connections_;
};

raw_client connected(const test_server& server, std::string_view path = "/echo", int receive_buffer = 0) {
  raw_client client{server.port(), receive_buffer};
  REQUIRE(client.open(path).status == 101);
  return client;
}

std::function<void(skein::server&)> route(std::string path, skein::handler what) {
  return
      [path = std::move(path), what = std::move(what)](skein::server& server) { server.route(path, what); };
}

void check_settled(const test_server& server) {
  CHECK(eventually([&] { return server.stats().active == 0 && server.stats().handshaking == 0; }));
  CHECK(eventually([&] { return server.closed().size() == server.opened().size(); }));
  const auto now = server.stats();
  CHECK(now.open == 0);
  CHECK(now.closing == 0);
  CHECK(now.queued_messages == 0);
  CHECK(now.queued_bytes == 0);
  CHECK(now.total == now.closed);
  CHECK(now.total == server.opened().size());
  // Exactly one closed event for each that was opened.
  const auto opened = server.opened();
  std::multiset<skein::connection_id> first{opened.begin(), opened.end()}, second;
  for (const auto& one : server.closed()) second.insert(one.id);
  CHECK(first == second);
  CHECK(std::set<skein::connection_id>(opened.begin(), opened.end()).size() == opened.size());
}

std::string repeated_text(std::string_view payload, int times) {
  std::string bytes;
  for (int i = 0; i < times; ++i) bytes += text_frame(payload);
  return bytes;
}

std::string repeated_continuation(int times) {
  std::string bytes;
  for (int i = 0; i < times; ++i) bytes += continuation_frame("x", false);
  return bytes;
}

/// Whether an operation throws `std::invalid_argument`. It is caught where it is thrown: the thread sanitizer
/// does not see through the counting of an exception that travels to another thread.
template <class T>
asio::awaitable<bool> refuses(asio::awaitable<T> operation) {
  try {
    co_await std::move(operation);
  } catch (const std::invalid_argument&) {
    co_return true;
  }
  co_return false;
}

skein::message text(std::string payload) {
  return skein::message::text(std::move(payload));
}

}  // namespace

TEST_SUITE("handlers") {
  TEST_CASE("a handler that throws closes with 1011, is counted and reported, and harms nobody else") {
    const std::vector<std::pair<std::string, skein::handler>> handlers{
        {"/at-the-third", throw_at_the_third},
        {"/at-once", throw_at_once},
        {"/a-number", throw_a_number},
        {"/no-coroutine",
         [](skein::connection&) -> asio::awaitable<void> { throw std::logic_error{"before it began"}; }},
    };
    test_server server{quiet_options(), {}, [&](skein::server& one) {
                         for (const auto& [path, what] : handlers) one.route(path, what);
                       }};
    auto bystander = connected(server);
    std::uint64_t thrown = 0;
    for (const auto& [path, what] : handlers) {
      CAPTURE(path);
      auto client = connected(server, path);
      client.send(text_frame("1") + text_frame("2") + text_frame("3"));
      std::optional<frame> next;
      do {
        next = client.read_message();
        REQUIRE(next);
      } while (next->opcode != op::close);
      CHECK(close_code_of(next->payload) == 1011);
      CHECK(next->payload.size() == 2);  // what went wrong is not the peer's business
      client.send(close_frame(1011));
      CHECK(client.read_to_end() == stream_end::closed);
      ++thrown;
      CHECK(server.stats().handler_exceptions == thrown);
      CHECK(server.problems() == thrown);
    }
    REQUIRE(server.wait_for_closed(thrown));
    for (const auto& one : server.closed()) {
      CHECK(one.reason.by == closed_by::local);
      CHECK(one.reason.code == close_code::internal_error);
    }
    bystander.send(text_frame("still here"));
    CHECK(bystander.read_message()->payload == "still here");
    bystander.close();
    check_settled(server);
  }

  TEST_CASE("a handler that returns closes with 1000, behind everything that it wrote") {
    test_server server{quiet_options(), {}, [](skein::server& one) {
                         one.route("/at-once", return_at_once);
                         one.route("/greeting", greet_and_return);
                       }};
    auto client = connected(server, "/greeting");
    CHECK(client.read_message()->payload == "welcome");
    CHECK(client.read_message()->payload == std::string(200'000, 'x'));
    const auto close = client.read_message();
    REQUIRE(close);
    CHECK(close->opcode == op::close);
    CHECK(close_code_of(close->payload) == 1000);
    client.send(close_frame(1000));
    CHECK(client.read_to_end() == stream_end::closed);

    auto other = connected(server, "/at-once");
    const auto at_once = other.read_message();
    REQUIRE(at_once);
    CHECK(close_code_of(at_once->payload) == 1000);
    other.send(close_frame(1000));
    CHECK(other.read_to_end() == stream_end::closed);
    CHECK(server.stats().handler_exceptions == 0);
    check_settled(server);
  }

  TEST_CASE("a handler closes with a code and a text of its own, and waits for the end") {
    test_server server{quiet_options(), {}, route("/close", close_with_4321)};
    auto client = connected(server, "/close");
    client.send(text_frame("x"));
    const auto close = client.read_message();
    REQUIRE(close);
    CHECK(close_code_of(close->payload) == 4321);
    CHECK(close->payload.substr(2) == "enough");
    client.send(close_frame(4321));
    CHECK(client.read_to_end() == stream_end::closed);
    REQUIRE(server.wait_for_closed(1));
    const auto ended = server.closed().front();
    CHECK(ended.reason.by == closed_by::local);
    CHECK(static_cast<int>(ended.reason.code) == 4321);
    CHECK(ended.reason.text == "enough");
    check_settled(server);
  }

  TEST_CASE("read hands out what arrived before the peer's close, then nothing, and says who closed") {
    shared notes;
    test_server server{quiet_options(), {}, route("/late", [&notes](skein::connection& who) {
                         return read_after_the_end(who, notes);
                       })};
    auto client = connected(server, "/late");
    client.send(text_frame("1") + text_frame("2") + binary_frame("3") + close_frame(4001, "moving on"));
    const auto rest = client.read_conclusion();
    CHECK(rest.code() == 4001);
    REQUIRE(eventually([&] { return notes.noted().size() == 4; }));
    CHECK(notes.noted() == std::vector<std::string>{"message 1", "message 2", "message 3",
                                                    reason(closed_by::peer, 4001, "moving on")});
    CHECK(eventually([&] { return notes.running == 0; }));
    check_settled(server);
  }

  TEST_CASE("read hands out what arrived before a failed transport") {
    shared notes;
    test_server server{quiet_options(), {}, route("/late", [&notes](skein::connection& who) {
                         return read_after_the_end(who, notes);
                       })};
    auto client = connected(server, "/late");
    client.send(text_frame("1") + text_frame("2"));
    REQUIRE(eventually([&] { return server.stats().messages_in == 2; }));
    client.reset();
    REQUIRE(eventually([&] { return notes.noted().size() == 3; }));
    CHECK(notes.noted() ==
          std::vector<std::string>{"message 1", "message 2", reason(closed_by::transport, 1006)});
    check_settled(server);
  }

  TEST_CASE("close_reason tells the peer's close, the own one and the transport's apart") {
    shared notes;
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{
        options, {}, route("/note", [&notes](skein::connection& who) { return note_reason(who, notes); })};
    const auto next_note = [&](std::size_t count) {
      REQUIRE(eventually([&] { return notes.noted().size() == count; }));
      return notes.noted().back();
    };
    SUBCASE("the peer, with a code") {
      auto client = connected(server, "/note");
      client.send(close_frame(1001, "away"));
      CHECK(next_note(1) == reason(closed_by::peer, 1001, "away"));
    }
    SUBCASE("the peer, without a code") {
      auto client = connected(server, "/note");
      client.send(close_frame(0));
      const auto said = next_note(1);
      CHECK((said == reason(closed_by::peer, 0) || said == reason(closed_by::peer, 1005)));
    }
    SUBCASE("this side") {
      auto client = connected(server, "/note");
      all.wait_for(0)->post_close(static_cast<close_code>(4100), "go");
      CHECK(close_code_of(client.read_message()->payload) == 4100);
      client.send(close_frame(4100));
      CHECK(next_note(1) == reason(closed_by::local, 4100, "go"));
    }
    SUBCASE("this side, though the peer answers with another code") {
      auto client = connected(server, "/note");
      all.wait_for(0)->post_close(static_cast<close_code>(4100));
      CHECK(close_code_of(client.read_message()->payload) == 4100);
      client.send(close_frame(1000, "whatever"));
      CHECK(next_note(1) == reason(closed_by::local, 4100));
    }
    SUBCASE("this side, because of a rule that the peer broke") {
      auto client = connected(server, "/note");
      client.send(text_frame("\xff"));
      CHECK(client.read_conclusion().code() == 1007);
      client.close();
      CHECK(next_note(1) == reason(closed_by::local, 1007));
    }
    SUBCASE("a reset") {
      connected(server, "/note").reset();
      CHECK(next_note(1) == reason(closed_by::transport, 1006));
    }
    SUBCASE("the end of the stream without a close frame") {
      auto client = connected(server, "/note");
      client.finish_sending();
      CHECK(client.read_to_end() == stream_end::closed);
      CHECK(next_note(1) == reason(closed_by::transport, 1006));
    }
    SUBCASE("the end of the stream amid a frame") {
      auto client = connected(server, "/note");
      client.send("\x81\x85");
      client.finish_sending();
      CHECK(client.read_to_end() == stream_end::closed);
      CHECK(next_note(1) == reason(closed_by::transport, 1006));
    }
    CHECK(eventually([&] { return notes.running == 0; }));
    check_settled(server);
  }

  TEST_CASE(
      "on_open comes before the handler, on_closed once and behind both loops, both on the connection's "
      "executor") {
    shared notes;
    std::atomic<bool> stranger{false};
    auto options = quiet_options();
    options.on_open = [&](skein::connection& who) {
      notes.note("opened");
      who.attributes() = std::this_thread::get_id();
    };
    options.on_closed = [&](skein::connection& who, const skein::close_reason&) {
      notes.note("closed");
      if (std::any_cast<std::thread::id>(who.attributes()) != std::this_thread::get_id()) stranger = true;
      if (who.is_open()) stranger = true;
    };
    test_server server{
        options, {}, route("/note", [&notes](skein::connection& who) { return note_reason(who, notes); })};
    auto client = connected(server, "/note");
    client.send(text_frame("x") + close_frame(1000));
    client.read_to_end();
    REQUIRE(eventually([&] { return notes.noted().size() == 4; }));
    const auto order = notes.noted();
    CHECK(order[0] == "opened");
    CHECK(order[1] == "message x");
    CHECK(std::count(order.begin(), order.end(), "closed") == 1);
    CHECK_FALSE(stranger);
    check_settled(server);
  }
}

TEST_SUITE("closing") {
  TEST_CASE("a connection is closed from another thread") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    const auto connection = all.wait_for(0);
    auto closing = std::async(std::launch::async, [connection] {
      await(connection->close(static_cast<close_code>(4002), "from afar"));
    });
    const auto close = client.read_message();
    REQUIRE(close);
    CHECK(close_code_of(close->payload) == 4002);
    CHECK(close->payload.substr(2) == "from afar");
    CHECK(closing.wait_for(0s) == std::future_status::timeout);  // it waits for the peer
    client.send(close_frame(4002));
    CHECK(client.read_to_end() == stream_end::closed);
    closing.get();
    CHECK_FALSE(connection->is_open());
    // Closed is closed: at once, and without an effect.
    await(connection->close(close_code::normal, {}));
    connection->post_close();
    CHECK(await(connection->write(text("too late"))) == skein::outcome::closed);
    CHECK(await(connection->send(text("too late"), skein::delivery().until_written())) ==
          skein::outcome::closed);
    connection->post_send(text("too late"));
    check_settled(server);
  }

  TEST_CASE("the manager closes a connection by its id, once") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    const auto id = all.wait_for(0)->id();
    CHECK(await(server.manager().close(id, static_cast<close_code>(4003), {})));
    CHECK(close_code_of(client.read_message()->payload) == 4003);
    client.send(close_frame(4003));
    client.read_to_end();
    REQUIRE(server.wait_for_closed(1));
    CHECK_FALSE(await(server.manager().close(id, close_code::normal, {})));
    CHECK_FALSE(await(server.manager().close(0, close_code::normal, {})));
    CHECK(await(server.manager().send_to(id, text("x"), {})) == skein::outcome::closed);
  }

  TEST_CASE("a code that may not be sent is refused") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    const auto connection = all.wait_for(0);
    for (const int code : {1, 999, 1004, 1005, 1006, 1015, 2999, 5000}) {
      CHECK_THROWS_AS(connection->post_close(static_cast<close_code>(code)), std::invalid_argument);
    }
    CHECK(await(refuses(connection->close(close_code::abnormal, {}))));
    connection->post_close(close_code::none);
    const auto close = client.read_message();
    REQUIRE(close);
    CHECK(close->opcode == op::close);
    CHECK(close->payload.empty());
  }

  TEST_CASE("a text that is too long is cut at a character") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    all.wait_for(0)->post_close(close_code::normal, std::string(121, 'x') + "\xe2\x82\xac");
    const auto close = client.read_message();
    REQUIRE(close);
    CHECK(close->payload.substr(2) == std::string(121, 'x'));
  }

  TEST_CASE("both sides close at the same time") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options};
    for (std::size_t i = 0; i < 50; ++i) {
      auto client = connected(server);
      const auto connection = all.wait_for(i);
      std::thread other{[&] { connection->post_close(static_cast<close_code>(4004)); }};
      client.send(close_frame(4005));
      other.join();
      const auto rest = client.read_conclusion();
      CHECK((rest.code() == 4004 || rest.code() == 4005));
      CHECK(rest.bytes_after_close == 0);
      CHECK(rest.end == stream_end::closed);
    }
    check_settled(server);
  }

  TEST_CASE("a peer that does not answer a close frame is reset at the close timeout") {
    collector all;
    auto options = quiet_options();
    options.limits.close_timeout = 200ms;
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    all.wait_for(0)->post_close(close_code::going_away);
    const auto rest = client.read_conclusion();
    CHECK(rest.code() == 1001);
    CHECK(rest.end != stream_end::open);
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.by == closed_by::local);
    CHECK(server.stats().close_timeouts == 1);
    check_settled(server);
  }

  TEST_CASE("a peer that broke a rule and does not leave is reset at the close timeout") {
    auto options = quiet_options();
    options.limits.close_timeout = 200ms;
    test_server server{options};
    auto client = connected(server);
    client.send(text_frame("\xff"));
    REQUIRE(server.wait_for_closed(1));  // though the client keeps its half open
    CHECK(server.closed().front().reason.code == close_code::invalid_payload);
    check_settled(server);
  }

  TEST_CASE(
      "data that arrives behind the own close frame is not handed out, and the peer's close ends the "
      "connection") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    all.wait_for(0)->post_close(close_code::going_away);
    CHECK(close_code_of(client.read_message()->payload) == 1001);
    client.send(repeated_text("late ", 100) + close_frame(1001));
    CHECK(client.read_to_end() == stream_end::closed);
    REQUIRE(server.wait_for_closed(1));
    check_settled(server);
  }
}

TEST_SUITE("deadlines") {
  TEST_CASE("a peer that does not answer pings is gone: 4000") {
    auto options = quiet_options();
    options.limits.ping_interval = 150ms;
    options.limits.pong_timeout = 150ms;
    options.limits.close_timeout = 200ms;
    test_server server{options};
    auto client = connected(server);
    // Talking is no proof: only a pong is.
    while (server.closed().empty()) {
      if (!client.send(text_frame("I am here"))) break;
      client.take(1 << 20);
      skein::test::detail::pause_briefly();
    }
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.code == close_code::pong_timeout);
    CHECK(server.closed().front().reason.by == closed_by::local);
    CHECK(server.stats().pong_timeouts == 1);
    check_settled(server);
  }

  TEST_CASE("a peer that answers pings stays, though it says nothing else") {
    collector all;
    auto options = quiet_options();
    options.limits.ping_interval = 50ms;
    options.limits.pong_timeout = 10s;
    options.on_open = all.on_open();
    test_server server{options};
    auto client = connected(server);
    const auto begun = std::chrono::steady_clock::now();
    for (int i = 0; i < 5; ++i) {
      const auto ping = client.read_frame();
      REQUIRE(ping);
      REQUIRE(ping->opcode == op::ping);
      client.send(pong_frame(ping->payload));
    }
    CHECK(std::chrono::steady_clock::now() - begun <
          9s);  // the interval counts, not how long a pong may take
    CHECK(eventually([&] { return server.stats().pongs_received == 5; }));
    CHECK(server.stats().pings_sent >= 5);
    CHECK(all.wait_for(0)->is_open());
    client.send(close_frame());
    CHECK(client.read_conclusion().code() == 1000);
  }

  TEST_CASE(
      "behind a handler that does not read, a peer that has left is found, and one that is there stays") {
    auto options = quiet_options();
    options.limits.receive_queue_messages = 4;
    options.limits.ping_interval = 150ms;
    options.limits.pong_timeout = 150ms;
    test_server server{options, {}, route("/idle", outlive)};
    auto there = connected(server, "/idle");
    auto gone = connected(server, "/idle");
    for (auto* client : {&there, &gone}) {
      for (int i = 0; i < 8; ++i) client->send(text_frame("x"));
    }
    gone.finish_sending();  // behind what is never read
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.code == close_code::pong_timeout);
    const auto pings = server.stats().pings_sent;
    CHECK(eventually([&] { return server.stats().pings_sent >= pings + 3; }));
    CHECK(server.closed().size() == 1);
    CHECK(server.stats().active == 1);
  }

  TEST_CASE("a pong that answers no ping proves nothing") {
    auto options = quiet_options();
    options.limits.ping_interval = 100ms;
    options.limits.pong_timeout = 200ms;
    options.limits.close_timeout = 200ms;
    test_server server{options};
    auto client = connected(server);
    while (server.closed().empty()) {
      if (!client.send(pong_frame("guess"))) break;
      client.take(1 << 20);
      skein::test::detail::pause_briefly();
    }
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.code == close_code::pong_timeout);
    CHECK(server.stats().pongs_received == 0);
  }

  TEST_CASE("a message that takes too long to arrive closes with 1008, however often a byte comes") {
    auto options = quiet_options();
    options.limits.message_timeout = 200ms;
    test_server server{options};
    const auto trickle = [&](std::string_view bytes) {
      auto client = connected(server);
      client.send(bytes.substr(0, 2));
      bytes.remove_prefix(2);
      while (!client.readable_within(10ms) && !bytes.empty()) {
        client.send(bytes.substr(0, 1));
        bytes.remove_prefix(1);
      }
      CHECK(client.read_conclusion().code() == 1008);
    };
    trickle(text_frame(std::string(10'000, 'x')));
    trickle(text_frame("x", false) + repeated_continuation(1'000));
    // The deadline is a message's, not the connection's.
    auto client = connected(server);
    const auto until = std::chrono::steady_clock::now() + 400ms;
    while (std::chrono::steady_clock::now() < until) {
      client.send(text_frame("a", false));
      client.send(continuation_frame("b"));
      REQUIRE(client.read_message()->payload == "ab");
    }
    CHECK(server.serves());
  }

  TEST_CASE("a write that makes no progress ends the connection") {
    auto options = quiet_options();
    options.limits.write_timeout = 200ms;
    options.limits.close_timeout = 200ms;
    skein::server_options where;
    where.socket_write_buffer = 4'096;
    collector all;
    options.on_open = all.on_open();
    test_server server{options, where, route("/mute", read_until_the_end)};
    auto client = connected(server, "/mute", 4'096);
    all.wait_for(0)->post_send(skein::message::binary(std::string(8 << 20, 'x')));
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.code == close_code::slow_consumer);
    CHECK(server.stats().write_timeouts == 1);
    check_settled(server);
  }
}

TEST_SUITE("sending") {
  TEST_CASE("messages of many threads arrive whole and in each thread's order") {
    constexpr int threads = 6, each = 1'000;
    collector all;
    auto options = quiet_options();
    options.limits.send_queue_messages = threads * each;
    options.limits.send_queue_bytes = 64 << 20;
    options.on_open = all.on_open();
    test_server server{options, {}, route("/mute", read_until_the_end)};
    auto client = connected(server, "/mute");
    const auto connection = all.wait_for(0);
    std::vector<std::thread> senders;
    for (int t = 0; t < threads; ++t) {
      senders.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) {
          // Some so long that they need several writes.
          auto payload = std::to_string(t) + ' ' + std::to_string(i) + ' ' +
                         std::string(i % 100 == 0 ? 20'000 : 10, 'x');
          if (t % 3 == 0) {
            connection->post_send(text(std::move(payload)));
          } else if (t % 3 == 1) {
            server.manager().post_broadcast(text(std::move(payload)));
          } else {
            await(connection->write(text(std::move(payload))));
          }
        }
      });
    }
    std::vector<int> next(threads, 0);
    for (int i = 0; i < threads * each; ++i) {
      const auto got = client.read_message();
      REQUIRE(got);
      REQUIRE(got->opcode == op::text);
      const auto space = got->payload.find(' ');
      const auto sender = static_cast<std::size_t>(std::stoi(got->payload));
      REQUIRE(sender < next.size());
      REQUIRE(std::stoi(got->payload.substr(space + 1)) == next[sender]++);
      REQUIRE(got->payload.ends_with('x'));
    }
    for (auto& one : senders) one.join();
    CHECK(eventually([&] { return server.stats().messages_out == threads * each; }));
    client.close();
    check_settled(server);
  }

  TEST_CASE("a sender that waits for room is held back by a slow peer, and nothing is lost") {
    constexpr int messages = 300;
    auto options = quiet_options();
    options.limits.send_queue_messages = 4;
    options.limits.send_queue_bytes = 64 << 10;
    collector all;
    options.on_open = all.on_open();
    skein::server_options where;
    where.socket_write_buffer = 8'192;
    test_server server{options, where, route("/mute", read_until_the_end)};
    auto client = connected(server, "/mute", 8'192);
    const auto connection = all.wait_for(0);
    std::atomic<int> taken{0};
    std::thread sender{[&] {
      for (int i = 0; i < messages; ++i) {
        await(connection->send(text(std::to_string(i) + ' ' + std::string(10'000, 'x')),
                               skein::delivery().wait()));
        ++taken;
      }
    }};
    CHECK(eventually([&] { return server.stats().queued_messages >= 3; }));
    CHECK(taken < messages);
    for (int i = 0; i < messages; ++i) {
      const auto got = client.read_message();
      REQUIRE(got);
      REQUIRE(std::stoi(got->payload) == i);
    }
    sender.join();
    CHECK(server.stats().evictions == 0);
    client.close();
    check_settled(server);
  }

  TEST_CASE("a slow consumer is evicted with 4008, while others get everything") {
    constexpr int messages = 400;
    auto options = quiet_options();
    options.limits.send_queue_bytes = 128 << 10;
    options.limits.close_timeout = 20s;
    skein::server_options where;
    where.socket_write_buffer = 16'384;
    test_server server{options, where, route("/mute", read_until_the_end)};
    auto slow = connected(server, "/mute", 8'192);
    auto quick = connected(server, "/mute");
    skein::delivery_report sum;
    for (int i = 0; i < messages; ++i) {
      // Awaited until the quick one has it; the slow one is pending.
      const auto report = await(server.manager().broadcast(
          text(std::to_string(i) + ' ' + std::string(4'000, 'x')), skein::delivery().deadline(5ms)));
      REQUIRE(report.balanced());
      sum.matched += report.matched;
      sum.evicted += report.evicted;
      const auto got = quick.read_message();
      REQUIRE(got);
      REQUIRE(std::stoi(got->payload) == i);
    }
    CHECK(sum.evicted == 1);
    CHECK(server.stats().evictions == 1);
    CHECK(sum.matched > messages);
    CHECK(sum.matched < 2 * messages);
    // Waking up, it reads what was on its way, whole, and then why.
    int seen = 0;
    std::optional<frame> next;
    while ((next = slow.read_message()) && next->opcode == op::text)
      REQUIRE(std::stoi(next->payload) == seen++);
    REQUIRE(next);
    CHECK(next->opcode == op::close);
    CHECK(close_code_of(next->payload) == 4008);
    CHECK(seen < messages);
    slow.send(close_frame(4008));
    CHECK(slow.read_to_end() == stream_end::closed);
    REQUIRE(server.wait_for_closed(1));
    CHECK(server.closed().front().reason.code == close_code::slow_consumer);
    CHECK(server.closed().front().reason.by == closed_by::local);
    quick.close();
    check_settled(server);
  }

  TEST_CASE("a full channel drops or conflates if it is told to, and everything is counted") {
    collector all;
    auto options = quiet_options();
    options.shards = 1;
    options.limits.send_queue_messages = 8;
    skein::server_options where;
    where.socket_write_buffer = 8'192;
    options.on_open = all.on_open();
    test_server server{options, where, route("/mute", read_until_the_end)};
    auto client = connected(server, "/mute", 8'192);
    const auto connection = all.wait_for(0);
    const auto send = [&](int i, const skein::delivery& how) {
      return await(connection->send(text(std::to_string(i) + ' ' + std::string(30'000, 'x')), how));
    };
    skein::delivery dropping, conflating;
    dropping.drop();
    conflating.conflate("price");
    int sent = 0, queued = 0;
    skein::outcome last{};
    for (; sent < 2'000; ++sent) {
      last = send(sent, dropping);
      if (last == skein::outcome::dropped) break;
      ++queued;
    }
    REQUIRE(last == skein::outcome::dropped);
    CHECK(send(++sent, dropping) == skein::outcome::dropped);
    CHECK(send(++sent, conflating) == skein::outcome::dropped);  // full, and nothing to replace
    CHECK(server.stats().dropped_overflow == 3);
    CHECK(connection->is_open());
    for (int i = 0; i < queued; ++i) {
      const auto got = client.read_message();
      REQUIRE(got);
      REQUIRE(std::stoi(got->payload) == i);
    }
    // Now with messages that replace each other: the peer sees few of them, in order, and always the last.
    const auto before = server.stats();
    for (int i = 0; i < 200; ++i) REQUIRE(send(i, conflating) == skein::outcome::queued);
    int newest = -1, got = 0;
    while (newest < 199) {
      const auto next = client.read_message();
      REQUIRE(next);
      const auto value = std::stoi(next->payload);
      REQUIRE(value > newest);
      newest = value;
      ++got;
    }
    const auto after = server.stats();
    CHECK(after.dropped_conflated - before.dropped_conflated == static_cast<std::uint64_t>(200 - got));
    CHECK(eventually([&] {
      return server.stats().messages_out - before.messages_out == static_cast<std::uint64_t>(got);
    }));
    client.close();
    check_settled(server);
  }

  TEST_CASE("the report of a broadcast adds up, whoever stops reading or dies") {
    auto options = quiet_options();
    options.limits.send_queue_bytes = 64 << 10;
    skein::server_options where;
    where.socket_write_buffer = 8'192;
    test_server server{options, where, route("/mute", read_until_the_end)};
    std::vector<raw_client> readers, sleepers, doomed;
    for (int i = 0; i < 10; ++i) {
      readers.push_back(connected(server, "/mute"));
      sleepers.push_back(connected(server, "/mute", 8'192));
      doomed.push_back(connected(server, "/mute", 8'192));
    }
    std::atomic<bool> over{false};
    std::thread reading{[&] {
      while (!over) {
        for (auto& one : readers) one.take(1 << 20);
        skein::test::detail::pause_briefly();
      }
    }};
    skein::delivery_report sum;
    for (int i = 0; i < 60; ++i) {
      if (i >= 10 && i < 20) doomed[static_cast<std::size_t>(i - 10)].reset();
      skein::delivery how;
      how.deadline(20ms);
      if (i % 3 == 1) how.drop();
      if (i % 3 == 2) how.conflate("k");
      const auto report = await(server.manager().broadcast(text(std::string(20'000, 'x')), how));
      CAPTURE(i);
      CHECK(report.matched == report.written + report.dropped + report.closed + report.pending);
      CHECK(report.balanced());
      CHECK(report.conflated <= report.dropped);
      CHECK(report.evicted <= report.closed);
      CHECK(report.elapsed > 0ns);
      if (i == 0) CHECK(report.matched == 30);
      sum.evicted += report.evicted;
      sum.written += report.written;
      sum.pending += report.pending;
    }
    CHECK(sum.written >= 60 * 5);  // the readers', or nearly all of them
    CHECK(sum.evicted > 0);
    CHECK(sum.pending > 0);
    CHECK(server.stats().evictions == sum.evicted);
    over = true;
    reading.join();
    // To nobody.
    readers.clear();
    sleepers.clear();
    doomed.clear();
    REQUIRE(eventually([&] { return server.stats().active == 0; }));
    const auto empty = await(server.manager().broadcast(text("x"), {}));
    CHECK(empty.matched == 0);
    CHECK(empty.balanced());
    check_settled(server);
  }

  TEST_CASE("a broadcast reaches those that it is meant for") {
    collector all;
    auto options = quiet_options();
    options.on_open = all.on_open();
    test_server server{options, {}, [](skein::server& one) {
                         one.route("/a", read_until_the_end);
                         one.route("/b", read_until_the_end);
                       }};
    std::vector<raw_client> clients;
    for (int i = 0; i < 6; ++i) clients.push_back(connected(server, i % 2 == 0 ? "/a" : "/b"));
    REQUIRE(eventually([&] { return all.all().size() == 6; }));
    // Connections are opened one after the other, so the first is the first client's.
    const auto first = all.wait_for(0)->id();
    const auto count = [&](const skein::delivery& how, const char* what) {
      const auto report = await(server.manager().broadcast(text(what), how));
      CHECK(report.written == report.matched);
      return report.matched;
    };
    CHECK(count({}, "everybody") == 6);
    CHECK(count(skein::delivery().on_route("/a"), "a") == 3);
    CHECK(count(skein::delivery().on_route("/nowhere"), "nobody") == 0);
    CHECK(count(skein::delivery().except(first), "not the first") == 5);
    CHECK(count(skein::delivery().where([](const skein::connection& who) { return who.route() == "/b"; }),
                "b") == 3);
    CHECK(count(skein::delivery().on_route("/a").except(first), "a, not the first") == 2);
    const std::vector<std::vector<std::string>> expected{
        {"everybody", "a"},
        {"everybody", "not the first", "b"},
        {"everybody", "a", "not the first", "a, not the first"}};
    for (std::size_t i = 0; i < expected.size(); ++i) {
      for (const auto& one : expected[i]) CHECK(clients[i].read_message()->payload == one);
    }
    CHECK(await(refuses(server.manager().broadcast({}, {}))));
    CHECK(await(refuses(server.manager().broadcast(text("x"), skein::delivery().wait()))));
  }

  TEST_CASE("a handler that does not read stops the peer, not the server") {
    std::atomic<bool> go{false};
    auto options = quiet_options();
    options.limits.receive_queue_messages = 4;
    options.limits.receive_queue_bytes = 32 << 10;
    skein::server_options where;
    where.socket_read_buffer = 16'384;
    const auto held_back = [](skein::connection& client, std::atomic<bool>& until) -> asio::awaitable<void> {
      asio::steady_timer timer{co_await asio::this_coro::executor};
      while (!until) {
        timer.expires_after(1ms);
        co_await timer.async_wait(asio::use_awaitable);
      }
      co_await echo(client);
    };
    test_server server{options, where,
                       route("/later", [&](skein::connection& who) { return held_back(who, go); })};
    auto client = connected(server, "/later");
    constexpr int messages = 1'000;
    std::thread sending{[&] {
      for (int i = 0; i < messages; ++i)
        client.send(text_frame(std::to_string(i) + ' ' + std::string(2'000, 'x')));
    }};
    REQUIRE(eventually([&] { return server.stats().messages_in >= 4; }));
    CHECK(server.serves());
    CHECK(server.stats().messages_in < 100);
    go = true;
    // Reading and sending share the client, but each has a direction of its own.
    for (int i = 0; i < messages; ++i) {
      const auto next = client.read_message();
      REQUIRE(next);
      REQUIRE(std::stoi(next->payload) == i);
    }
    sending.join();
    client.close();
    check_settled(server);
  }
}

TEST_SUITE("churn") {
  TEST_CASE("peers that vanish at any stage leave nothing behind, and each has its one closed event") {
    auto options = quiet_options();
    options.limits.close_timeout = 500ms;
    skein::server_options where;
    where.handshake_timeout = 500ms;
    test_server server{options, where, [](skein::server& one) {
                         one.route("/mute", read_until_the_end);
                         one.route("/greeting", greet_and_return);
                         one.route("/throws", throw_at_once);
                       }};
    auto witness = connected(server);
    const auto request = upgrade_request("/echo");
    const std::vector<std::function<void(raw_client&)>> stages{
        [](raw_client&) {},
        [&](raw_client& c) { c.send(request.substr(0, 1)); },
        [&](raw_client& c) { c.send(request.substr(0, request.size() / 2)); },
        [&](raw_client& c) { c.send(request); },
        [&](raw_client& c) { c.send(request + text_frame("x")); },
        [](raw_client& c) { c.open(); },
        [](raw_client& c) {
          c.open();
          c.send("\x81");
        },
        [](raw_client& c) {
          c.open();
          c.send(text_frame("hello").substr(0, 4));
        },
        [](raw_client& c) {
          c.open();
          c.send(binary_frame(std::string(60'000, 'x')).substr(0, 30'000));
        },
        [](raw_client& c) {
          c.open();
          c.send(text_frame("half", false));
        },
        [](raw_client& c) {
          c.open();
          c.send(text_frame("x"));
          c.read_message();
        },
        [](raw_client& c) {
          c.open();
          c.send(repeated_text("y", 2'000));
        },
        [](raw_client& c) {
          c.open();
          c.send(close_frame());
        },
        [](raw_client& c) {
          c.open();
          c.send(close_frame());
          c.read_to_end();
        },
        [](raw_client& c) {
          c.open();
          c.send(text_frame("\xff"));
        },
        [](raw_client& c) {
          c.open();
          c.send(text_frame("\xff"));
          c.read_to_end();
        },
        [](raw_client& c) {
          c.open();
          c.send(ping_frame("p"));
        },
        [](raw_client& c) {
          c.open();
          c.finish_sending();
        },
        [](raw_client& c) {
          c.open();
          c.send(text_frame("x"));
          c.finish_sending();
        },
        [](raw_client& c) { c.open("/greeting"); },
        [](raw_client& c) {
          c.open("/greeting");
          c.read_frame();
        },
        [](raw_client& c) { c.open("/throws"); },
        [](raw_client& c) { c.open("/nowhere"); },
    };
    std::atomic<std::size_t> failures{0};
    std::vector<std::thread> pool;
    for (unsigned t = 0; t < 3; ++t) {
      pool.emplace_back([&, t] {
        for (unsigned round = 0; round < 8; ++round) {
          for (std::size_t i = 0; i < stages.size(); ++i) {
            try {
              raw_client client{server.port()};
              stages[(i + t * 7) % stages.size()](client);
              if ((round + i) % 3 != 0) {
                client.reset();
              } else {
                client.close();
              }
            } catch (const std::exception&) {
              ++failures;
            }
          }
        }
      });
    }
    // Meanwhile the others are served.
    for (int i = 0; i < 200; ++i) {
      witness.send(text_frame(std::to_string(i)));
      const auto echo_of_it = witness.read_message();
      REQUIRE(echo_of_it);
      REQUIRE(echo_of_it->payload == std::to_string(i));
    }
    for (auto& one : pool) one.join();
    CHECK(failures == 0);
    CHECK(server.serves());
    witness.close();
    check_settled(server);
    CHECK(server.stats().total > 3 * 8 * 15);
  }

  TEST_CASE("broadcasts while connections come and go") {
    test_server server{quiet_options(), {}, route("/mute", read_until_the_end)};
    std::atomic<bool> over{false};
    std::vector<std::thread> pool;
    for (unsigned t = 0; t < 2; ++t) {
      pool.emplace_back([&, t] {
        for (unsigned i = 0; !over; ++i) {
          raw_client client{server.port()};
          client.open("/mute");
          if (i % 2 == t) client.read_frame();
          if (i % 3 == 0) client.reset();
        }
      });
    }
    for (int i = 0; i < 500; ++i) {
      const auto report = await(server.manager().broadcast(text("tick"), {}));
      REQUIRE(report.balanced());
      REQUIRE(report.pending == 0);
    }
    over = true;
    // Nobody must wait for a message that does not come any more.
    std::atomic<bool> all_gone{false};
    std::thread ticking{[&] {
      while (!all_gone) {
        server.manager().post_broadcast(text("tick"));
        skein::test::detail::pause_briefly();
      }
    }};
    for (auto& one : pool) one.join();
    all_gone = true;
    ticking.join();
    check_settled(server);
  }
}

TEST_SUITE("drain") {
  TEST_CASE("a shutdown closes everybody with 1001, behind what was queued, and reports") {
    auto options = quiet_options();
    test_server server{options, {}, route("/mute", read_until_the_end)};
    std::vector<raw_client> clients;
    for (int i = 0; i < 30; ++i) clients.push_back(connected(server, i % 2 == 0 ? "/mute" : "/echo"));
    server.manager().post_broadcast(text("the last message"));
    auto draining = std::async(std::launch::async, [&] { return await(server.manager().drain(20s)); });
    for (auto& one : clients) {
      const auto last = one.read_message();
      REQUIRE(last);
      CHECK(last->payload == "the last message");
      const auto close = one.read_message();
      REQUIRE(close);
      CHECK(close->opcode == op::close);
      CHECK(close_code_of(close->payload) == 1001);
      one.send(close_frame(1001));
      CHECK(one.read_to_end() == stream_end::closed);
    }
    const auto report = draining.get();
    CHECK(report.clean == 30);
    CHECK(report.forced == 0);
    CHECK(report.undelivered == 0);
    CHECK(report.elapsed < 20s);
    for (const auto& one : server.closed()) CHECK(one.reason.code == close_code::going_away);
    check_settled(server);
  }

  TEST_CASE("those that do not answer are reset at the deadline, and counted") {
    auto options = quiet_options();
    options.limits.close_timeout = 60s;
    skein::server_options where;
    where.socket_write_buffer = 8'192;
    test_server server{options, where, route("/mute", read_until_the_end)};
    auto polite = connected(server, "/mute");
    auto mute = connected(server, "/mute");
    auto asleep = connected(server, "/mute", 8'192);
    // More than the sockets hold, so that it is never written to the one that sleeps.
    for (int i = 0; i < 3; ++i)
      server.manager().post_broadcast(skein::message::binary(std::string(300'000, 'x')));
    std::thread answering{[&] {
      std::optional<frame> next;
      while ((next = polite.read_message()) && next->opcode != op::close) {
      }
      polite.send(close_frame(1001));
      polite.read_to_end();
    }};
    std::thread reading{[&] { mute.read_to_end(); }};
    const auto begun = std::chrono::steady_clock::now();
    const auto report = await(server.manager().drain(500ms));
    CHECK(std::chrono::steady_clock::now() - begun < 5s);
    CHECK(report.clean == 1);
    CHECK(report.forced == 2);
    CHECK(report.undelivered >= 1);
    answering.join();
    reading.join();
    check_settled(server);
  }

  TEST_CASE("a handler that hangs is cancelled, and does not hold the shutdown up") {
    shared notes;
    const auto hang = [](skein::connection&, shared& where) -> asio::awaitable<void> {
      const running_guard guard{where};
      asio::steady_timer timer{co_await asio::this_coro::executor, 1h};
      co_await timer.async_wait(asio::use_awaitable);
    };
    test_server server{
        quiet_options(), {}, route("/hang", [&](skein::connection& who) { return hang(who, notes); })};
    auto client = connected(server, "/hang");
    auto draining = std::async(std::launch::async, [&] { return await(server.manager().drain(300ms)); });
    CHECK(close_code_of(client.read_message()->payload) == 1001);
    client.send(close_frame(1001));
    CHECK(client.read_to_end() != stream_end::open);
    const auto report = draining.get();
    CHECK(report.clean + report.forced == 1);
    CHECK(report.elapsed < 10s);
    CHECK(eventually([&] { return notes.running == 0; }));
    check_settled(server);
  }

  TEST_CASE("a second call waits for the same shutdown, and both get its report") {
    test_server server;
    auto client = connected(server);
    auto first = std::async(std::launch::async, [&] { return await(server.manager().drain(20s)); });
    CHECK(close_code_of(client.read_message()->payload) == 1001);
    auto second = std::async(std::launch::async, [&] { return await(server.manager().drain(20s)); });
    client.send(close_frame(1001));
    CHECK(client.read_to_end() == stream_end::closed);
    CHECK(first.get().clean == 1);
    CHECK(second.get().clean == 1);
    CHECK(await(server.manager().drain(1s)).clean == 1);
  }

  TEST_CASE("a shutdown keeps its pace") {
    auto options = quiet_options();
    options.shards = 1;
    options.drain_rate = 100;
    test_server server{options};
    std::vector<raw_client> clients;
    for (int i = 0; i < 30; ++i) clients.push_back(connected(server));
    auto draining = std::async(std::launch::async, [&] { return await(server.manager().drain(20s)); });
    for (auto& one : clients) {
      CHECK(close_code_of(one.read_message()->payload) == 1001);
      one.send(close_frame(1001));
      one.read_to_end();
    }
    const auto report = draining.get();
    CHECK(report.clean == 30);
    CHECK(report.elapsed >= 200ms);
  }

  TEST_CASE("destroying the manager resets what is open") {
    std::vector<raw_client> clients;
    {
      test_server server;
      for (int i = 0; i < 5; ++i) clients.push_back(connected(server));
    }
    for (auto& one : clients) CHECK(one.read_to_end() != stream_end::open);
  }
}
