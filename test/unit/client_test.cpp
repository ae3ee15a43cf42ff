// The client of the JSON protocol, against servers that are all script.

#include <skein/client.hpp>
#include <skein/testing.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

using namespace skein;
using namespace std::chrono_literals;
namespace asio = boost::asio;
namespace json = boost::json;
using testing::mock_websocket;

namespace {

constexpr auto hello =
    R"({"type":"welcome","version":1,"connection":"1","ping_ms":25000,"max_message_bytes":65536})";

/// A client whose connections the test plays.
class script {
 public:
  explicit script(const std::function<void(client_options&)>& change = {}) {
    options.url = "ws://test";
    options.time = time;
    options.random = [] { return 1.0; };
    options.on_state = [this](client_state now, std::string_view why) {
      states.push_back(std::string{name(now)} + (why.empty() ? "" : ": " + std::string{why}));
    };
    options.connector = [this](std::string,
                               connect_options how) -> asio::awaitable<std::shared_ptr<websocket>> {
      tokens.push_back(how.token);
      if (!refusals.empty()) {
        const auto next = refusals.front();
        refusals.pop_front();
        std::rethrow_exception(next);
      }
      sockets.push_back(std::make_shared<mock_websocket>(context.get_executor()));
      sockets.back()->then_read_waits();
      co_return sockets.back();
    };
    if (change) change(options);
    client = std::make_unique<skein::client>(context.get_executor(), options);
    settle();
  }
  ~script() {
    client.reset();
    if (!left_) settle();
  }
  /// The context does nothing more.
  void leave() { left_ = true; }

  void settle() { testing::settle(context); }
  void advance(duration by) {
    time->advance(by);
    settle();
  }
  mock_websocket& server() { return *sockets.back(); }
  void says(const std::string& what) {
    server().peer_sends(message::text(what));
    settle();
  }
  void welcome(const std::string& more = {}) {
    auto text = std::string{hello};
    if (!more.empty()) text.insert(text.size() - 1, "," + more);
    says(text);
  }
  void goes(close_code code = close_code::going_away) {
    server().peer_closes(code);
    settle();
  }
  /// What the client has said on this connection since the last look.
  std::vector<json::object> heard() {
    std::vector<json::object> all;
    auto& place = looked_[&server()];
    const auto& written = server().written();
    for (; place < written.size(); ++place) all.push_back(json::parse(written[place].payload()).as_object());
    return all;
  }
  json::object heard_one() {
    const auto all = heard();
    REQUIRE(all.size() == 1);
    return all.front();
  }
  /// Answers the one request that was heard, with its id.
  json::object answers(std::string text) {
    const auto asked = heard_one();
    auto answer = json::parse(text).as_object();
    if (!answer.contains("id")) answer["id"] = asked.at("id");
    says(json::serialize(answer));
    return asked;
  }
  /// A subscription that the server has confirmed.
  client_subscription follows(const std::string& channel, const std::string& position = {},
                              subscribe_options how = {}) {
    auto mine = client->subscribe(channel, std::move(how));
    settle();
    answers(R"({"type":"subscribed","channel":")" + channel + "\"" + position + "}");
    return mine;
  }
  /// Answers a request as a server does that has nothing against it.
  void confirm(const json::object& asked) {
    const auto& type = asked.at("type").as_string();
    json::object answer{{"type", type == "subscribe" ? "subscribed" : "pong"}, {"id", asked.at("id")}};
    if (type == "ack") answer["type"] = "acked";
    if (const auto* const channel = asked.if_contains("channel")) answer["channel"] = *channel;
    says(json::serialize(answer));
  }
  std::vector<client_subscription> subscribe_to(std::size_t count) {
    std::vector<client_subscription> all;
    for (std::size_t i = 0; i < count; ++i) all.push_back(client->subscribe("c" + std::to_string(i)));
    settle();
    return all;
  }
  template <class T>
  struct result {
    std::optional<T> value;
    std::string error;
    bool done = false;
  };
  /// Starts a coroutine whose result is looked at later.
  template <class T>
  std::shared_ptr<result<T>> start(asio::awaitable<T> task) {
    auto into = std::make_shared<result<T>>();
    asio::co_spawn(context, keep(std::move(task), into), asio::detached);
    settle();
    return into;
  }
  template <class T>
  static asio::awaitable<void> keep(asio::awaitable<T> task, std::shared_ptr<result<T>> into) {
    try {
      into->value = co_await std::move(task);
    } catch (const request_error& e) {
      into->error = e.code;
    } catch (const boost::system::system_error& e) {
      into->error = e.code() == errc::timed_out           ? "timed out"
                    : e.code() == errc::connection_closed ? "closed"
                                                          : e.what();
    }
    into->done = true;
  }
  /// What a subscription has to give, in words.
  std::vector<std::string> taken(client_subscription& from) {
    std::vector<std::string> all;
    for (;;) {
      auto& next = next_[&from];
      if (!next) next = start(from.next());
      settle();
      if (!next->done) return all;
      const auto got = std::exchange(next, nullptr);
      if (!got->error.empty()) {
        all.push_back("error " + got->error);
        return all;
      }
      if (!*got->value) {
        all.push_back("end");
        return all;
      }
      const auto& item = **got->value;
      const auto missing = item.missing == 0 ? "" : "of " + std::to_string(item.missing) + " ";
      all.push_back(item.gap ? "gap " + missing + "at " + item.position.epoch +
                                   std::to_string(item.position.offset)
                             : json::serialize(item.data));
    }
  }

  asio::io_context context{1};
  std::shared_ptr<testing::virtual_clock> time = std::make_shared<testing::virtual_clock>();
  client_options options;
  std::vector<std::string> states, tokens;
  std::deque<std::exception_ptr> refusals;
  std::vector<std::shared_ptr<mock_websocket>> sockets;
  std::unique_ptr<skein::client> client;

 private:
  bool left_ = false;
  std::map<mock_websocket*, std::size_t> looked_;
  std::map<client_subscription*, std::shared_ptr<result<std::optional<feed_item>>>> next_;
};

/// A server that takes so many messages a second after a burst, and closes at the third that is too many.
class limited {
 public:
  limited(script& client, unsigned rate, unsigned burst, bool ids)
      : client_(client), rate_(rate), burst_(burst), ids_(ids), tokens_(burst) {}

  unsigned closed = 0;

  void run(std::chrono::milliseconds time) {
    for (const auto end = now_ + time; now_ < end; now_ += 5ms) {
      client_.advance(5ms);
      if (client_.client->state() == client_state::connecting) {
        tokens_ = burst_;
        offences_ = 0;
        client_.welcome();
      }
      for (const auto& asked : client_.heard()) {
        if (client_.client->state() == client_state::connected) take(asked);
      }
    }
  }

 private:
  void take(const json::object& asked) {
    tokens_ =
        std::min<double>(burst_, tokens_ + static_cast<double>((now_ - filled_).count()) * rate_ / 1000);
    filled_ = now_;
    if (tokens_ >= 1) {
      --tokens_;
      client_.confirm(asked);
      return;
    }
    if (now_ >= calm_) offences_ = 0;
    calm_ = now_ + std::max(1000ms, std::chrono::milliseconds{burst_ * 1000 / rate_});
    if (++offences_ >= 3) {
      ++closed;
      client_.goes(close_code::policy_violation);
      return;
    }
    json::object answer{{"type", "error"}, {"code", "rate_limited"}};
    answer["retry_after_ms"] = static_cast<std::int64_t>(std::ceil((1 - tokens_) * 1000 / rate_));
    if (ids_) answer["id"] = asked.at("id");
    client_.says(json::serialize(answer));
  }

  script& client_;
  const unsigned rate_, burst_;
  const bool ids_;
  double tokens_;
  unsigned offences_ = 0;
  std::chrono::milliseconds now_{0}, calm_{0}, filled_{0};
};

using list = std::vector<std::string>;

std::string news(int offset, const std::string& epoch = "e") {
  return R"({"n":)" + std::to_string(offset) + R"(,"channel":"news","epoch":")" + epoch + R"(","offset":)" +
         std::to_string(offset) + "}";
}

json::object ping() {
  return {{"type", "ping"}};
}

std::exception_ptr refused_with(unsigned status, std::chrono::seconds wait = 0s) {
  return std::make_exception_ptr(upgrade_refused{status, "no", wait});
}

}  // namespace

TEST_SUITE("client") {
  TEST_CASE("it connects by itself, and is connected once it is welcomed") {
    script f;
    CHECK(f.sockets.size() == 1);
    CHECK(f.client->state() == client_state::connecting);
    f.welcome();
    CHECK(f.client->state() == client_state::connected);
    CHECK(f.states == list{"connecting", "connected"});
    CHECK(f.client->stats().connections == 1);
  }

  TEST_CASE("it comes back, each time later, and at once again after a connection that held") {
    script f;
    f.welcome();
    for (const auto pause : {200ms, 400ms, 800ms}) {
      f.goes();
      const auto before = f.sockets.size();
      CHECK(f.client->state() == client_state::waiting);
      f.advance(pause - 1ms);
      CHECK(f.sockets.size() == before);
      f.advance(1ms);
      REQUIRE(f.sockets.size() == before + 1);
      f.welcome();
    }
    f.advance(10s);
    f.goes();
    f.advance(200ms);
    CHECK(f.sockets.size() == 5);
    CHECK(f.client->stats().failures == 4);
  }

  TEST_CASE("a pause is no longer than it may be, and is drawn") {
    script f{[](client_options& options) {
      options.max_pause = 1s;
      options.random = [] { return 0.5; };
    }};
    for (int i = 0; i < 40; ++i) f.refusals.push_back(refused_with(503));
    f.goes();
    f.advance(100ms);
    for (int i = 0; i < 39; ++i) f.advance(500ms);
    CHECK(f.tokens.size() == 41);
    f.advance(499ms);
    CHECK(f.sockets.size() == 1);
    f.advance(1ms);
    CHECK(f.sockets.size() == 2);
  }

  TEST_CASE("close codes from 4500 on, and refusals that would not change, are for good") {
    for (const unsigned code : {1000U, 1001U, 1006U, 1008U, 1011U, 4001U, 4499U, 4500U, 4503U, 4999U}) {
      script f;
      f.welcome();
      f.goes(static_cast<close_code>(code));
      INFO(code);
      CHECK((f.client->state() == client_state::closed) == (code >= 4500));
    }
    for (const unsigned status : {400U, 401U, 403U, 404U, 405U, 408U, 426U, 429U, 500U, 503U}) {
      for (const bool has_tokens : {false, true}) {
        script f{[&](client_options& options) {
          if (has_tokens) options.token = []() -> asio::awaitable<std::string> { co_return "t"; };
        }};
        f.refusals.push_back(refused_with(status));
        f.goes();
        f.advance(200ms);
        INFO(status);
        const bool final =
            status == 401 ? !has_tokens
                          : status == 400 || status == 403 || status == 404 || status == 405 || status == 426;
        CHECK((f.client->state() == client_state::closed) == final);
      }
    }
  }

  TEST_CASE("it waits as long as the server asks for") {
    script f;
    f.refusals.push_back(refused_with(503, 30s));
    f.goes();
    f.advance(200ms);
    f.advance(29'999ms);
    CHECK(f.sockets.size() == 1);
    f.advance(1ms);
    CHECK(f.sockets.size() == 2);
  }

  TEST_CASE("a subscription is asked for when there is a connection, and again with every other") {
    script f;
    auto orders = f.client->subscribe("orders");
    CHECK(f.heard().empty());
    f.welcome();
    auto asked = f.answers(R"({"type":"subscribed","channel":"orders"})");
    CHECK(asked.at("type") == "subscribe");
    CHECK(asked.at("channel") == "orders");
    CHECK(!asked.contains("recover"));
    CHECK(orders.is_live());
    f.says(R"({"type":"order_update","channel":"orders"})");
    CHECK(f.taken(orders) == list{R"({"type":"order_update","channel":"orders"})"});
    f.goes();
    CHECK_FALSE(orders.is_live());
    f.advance(200ms);
    f.welcome();
    f.answers(R"({"type":"subscribed","channel":"orders"})");
    // What was published meanwhile is not known.
    CHECK(f.taken(orders) == list{"gap at 0"});
  }

  TEST_CASE("what was missed is recovered, without a repeat at the seam") {
    script f;
    f.welcome();
    auto mine = f.follows("news", R"(,"epoch":"e","offset":5)");
    for (int i = 6; i <= 7; ++i) f.says(news(i));
    CHECK(f.taken(mine) == list{news(6), news(7)});
    CHECK(mine.position() == topic_position{"e", 7});
    f.goes();
    f.advance(200ms);
    f.welcome();
    const auto asked =
        f.answers(R"({"type":"subscribed","channel":"news","epoch":"e","offset":9,"recovered":true})");
    CHECK(json::serialize(asked.at("recover")) == R"({"epoch":"e","offset":7})");
    for (int i = 7; i <= 10; ++i) f.says(news(i));
    CHECK(f.taken(mine) == list{news(8), news(9), news(10)});
    CHECK(f.client->stats().repeats == 1);
    CHECK(f.client->stats().gaps == 0);
  }

  TEST_CASE("what cannot be recovered is told") {
    script f;
    f.welcome();
    auto mine = f.follows("news", R"(,"epoch":"e","offset":5)");
    f.goes();
    f.advance(200ms);
    f.welcome();
    f.answers(R"({"type":"subscribed","channel":"news","epoch":"f","offset":2,"recovered":false})");
    f.says(news(3, "f"));
    CHECK(f.taken(mine) == list{"gap at f2", news(3, "f")});
    CHECK(mine.position() == topic_position{"f", 3});
  }

  TEST_CASE("what the server has left out is told") {
    script f;
    f.welcome();
    auto mine = f.follows("news", R"(,"epoch":"e","offset":5)");
    auto all = f.follows("*");
    for (const int n : {6, 9, 10}) f.says(news(n));
    CHECK(f.taken(mine) == list{news(6), "gap of 2 at e8", news(9), news(10)});
    CHECK(f.taken(all) == list{news(6), "gap of 2 at e8", news(9), news(10)});
    CHECK(f.client->stats().gaps == 2);
    f.goes();
    f.advance(200ms);
    f.welcome();
    const auto asked = f.heard();
    f.says(R"({"type":"subscribed","channel":"news","epoch":"e","offset":12,"recovered":true,"id":)" +
           json::serialize(asked[0].at("id")) + "}");
    f.confirm(asked[1]);
    for (const int n : {11, 12, 14}) f.says(news(n));
    f.says(news(3, "f"));
    CHECK(f.taken(mine) == list{news(11), news(12), "gap of 1 at e13", news(14), news(3, "f")});
    // The first gap is the lost connection's; nobody knows of what.
    CHECK(f.taken(all) == list{"gap at 0", news(11), news(12), "gap of 1 at e13", news(14), news(3, "f")});
  }

  TEST_CASE("who comes and goes is told apart from what is published") {
    script f;
    f.welcome();
    auto mine = f.follows("room");
    f.says(R"({"type":"presence_change","channel":"room","count":1,"joined":[],"left":[]})");
    f.says(R"({"type":"said","channel":"room"})");
    const auto first = f.start(mine.next());
    CHECK((*first->value)->presence);
    CHECK((*first->value)->data.at("count") == 1);
    const auto second = f.start(mine.next());
    CHECK_FALSE((*second->value)->presence);
    CHECK(f.client->stats().publications == 1);
  }

  TEST_CASE("what was received is there as it was sent, with its numbers exact") {
    script f;
    f.welcome();
    auto mine = f.follows("news");
    const std::string text = R"({"p":0.30000000000000004, "channel":"news"})";
    f.says(text);
    CHECK((*f.start(mine.next())->value)->text.payload() == text);
    const std::string own = R"({"p":12345678.123456789, "message_id":7})";
    f.says(own);
    CHECK((*f.start(f.client->next_message())->value)->text.payload() == own);
  }

  TEST_CASE("a position that was kept is where it begins") {
    script f;
    f.welcome();
    subscribe_options how;
    how.since = topic_position{"e", 3};
    auto mine = f.client->subscribe("news", how);
    f.settle();
    const auto asked =
        f.answers(R"({"type":"subscribed","channel":"news","epoch":"e","offset":4,"recovered":true})");
    CHECK(json::serialize(asked.at("recover")) == R"({"epoch":"e","offset":3})");
    f.says(news(4));
    CHECK(f.taken(mine) == list{news(4)});
  }

  TEST_CASE("a subscription that has taken nothing stands where it began") {
    script f;
    f.welcome();
    auto mine = f.follows("news", R"(,"epoch":"e","offset":5)");
    CHECK(mine.position() == topic_position{"e", 5});
    f.says(news(6));
    CHECK(mine.position() == topic_position{"e", 5});
    CHECK(f.client->subscribe("news").position() == topic_position{"e", 6});
    CHECK(f.follows("plain").position() == topic_position{});
  }

  TEST_CASE(
      "a subscription that comes later with another position than the first has reached begins with a gap") {
    script f;
    f.welcome();
    auto first = f.follows("news", R"(,"epoch":"e","offset":5)");
    f.says(news(6));
    subscribe_options how;
    how.since = topic_position{"e", 6};
    auto same = f.client->subscribe("news", how);
    how.since->offset = 2;
    auto other = f.client->subscribe("news", how);
    f.says(news(7));
    CHECK(f.heard().empty());
    CHECK(f.taken(same) == list{news(7)});
    CHECK(f.taken(other) == list{"gap at e6", news(7)});
  }

  TEST_CASE("a position that is gone is told of, even the first time") {
    script f;
    f.welcome();
    subscribe_options how;
    how.since = topic_position{"old", 3};
    auto mine = f.follows("news", R"(,"epoch":"g","offset":1,"recovered":false)", how);
    CHECK(f.taken(mine) == list{"gap at g1"});
  }

  TEST_CASE("patterns get what matches, and whoever follows twice gets it twice") {
    script f;
    f.welcome();
    auto pattern = f.follows("market.*");
    f.says(R"({"p":1,"channel":"market.AAPL"})");
    f.says(R"({"p":2,"channel":"market.AAPL.x"})");
    f.says(R"({"p":3,"channel":"other"})");
    CHECK(f.taken(pattern) == list{R"({"p":1,"channel":"market.AAPL"})"});
    auto exact = f.follows("market.AAPL");
    f.says(R"({"p":4,"channel":"market.AAPL"})");
    CHECK(f.client->stats().publications == 3);
  }

  TEST_CASE("a pattern gets nothing twice that is recovered for another subscription") {
    script f;
    f.welcome();
    auto all = f.follows("*");
    for (const auto& each : {news(5), news(6)}) f.says(each);
    subscribe_options how;
    how.since = topic_position{"e", 3};
    auto one = f.follows("news", R"(,"epoch":"e","offset":6,"recovered":true)", how);
    for (const auto& each : {news(4), news(5), news(6), news(7), news(1, "f")}) f.says(each);
    CHECK(f.taken(all) == list{news(5), news(6), news(7), news(1, "f")});
    CHECK(f.taken(one) == list{news(4), news(5), news(6), news(7), news(1, "f")});
    CHECK(f.client->stats().repeats == 3);
  }

  TEST_CASE("a pattern remembers so many topics and no more") {
    script f;
    f.welcome();
    auto all = f.follows("t.*");
    const auto price = [](int n) {
      return R"({"channel":"t.)" + std::to_string(n) + R"(","epoch":"e","offset":7})";
    };
    for (int n = 0; n <= 4096; ++n) f.server().peer_sends(message::text(price(n)));
    f.settle();
    CHECK(f.client->stats().repeats == 0);
    for (const int n : {1, 4096, 0}) f.says(price(n));
    CHECK(f.client->stats().repeats == 2);
    CHECK(f.taken(all).back() == price(0));
  }

  TEST_CASE("two subscriptions to a channel share the server's, and the last one ends it") {
    script f;
    f.welcome();
    auto one = std::make_unique<client_subscription>(f.follows("news"));
    auto two = std::make_unique<client_subscription>(f.client->subscribe("news"));
    f.settle();
    CHECK(f.heard().empty());
    f.says(R"({"n":1,"channel":"news"})");
    one.reset();
    f.settle();
    CHECK(f.heard().empty());
    CHECK(f.taken(*two) == list{R"({"n":1,"channel":"news"})"});
    two.reset();
    f.settle();
    const auto asked = f.heard_one();
    CHECK(asked.at("type") == "unsubscribe");
    CHECK(asked.at("channel") == "news");
    // What still comes is of no use, also not to a subscription that is new and not confirmed.
    auto three = f.client->subscribe("news");
    f.says(R"({"n":2,"channel":"news"})");
    f.says(R"({"type":"unsubscribed","id":")" + std::string{asked.at("id").as_string()} +
           R"(","channel":"news"})");
    f.answers(R"({"type":"subscribed","channel":"news"})");
    f.says(R"({"n":3,"channel":"news"})");
    CHECK(f.taken(three) == list{R"({"n":3,"channel":"news"})"});
  }

  TEST_CASE("a subscription that the server refuses, or ends, says why") {
    script f;
    f.welcome();
    auto mine = f.client->subscribe("secret");
    f.settle();
    f.answers(R"({"type":"error","code":"not_allowed","message":"no"})");
    CHECK(f.taken(mine) == list{"error not_allowed"});
    auto other = f.follows("news");
    f.says(R"({"type":"unsubscribed","channel":"news","code":"not_allowed"})");
    CHECK(f.taken(other) == list{"error not_allowed"});
    f.goes();
    f.advance(200ms);
    f.welcome();
    CHECK(f.heard().empty());
  }

  TEST_CASE("too many requests: it asks again when it may, and tells of it") {
    list errors;
    script f{[&](client_options& options) {
      options.random = [] { return 0.0; };
      options.on_error = [&](const request_error& error, std::string_view channel) {
        errors.push_back(error.code + " " + std::string{channel});
      };
    }};
    f.welcome();
    auto mine = f.client->subscribe("news");
    f.settle();
    f.answers(R"({"type":"error","code":"rate_limited","message":"slowly","retry_after_ms":500})");
    CHECK(errors == list{"rate_limited news"});
    f.advance(499ms);
    CHECK(f.heard().empty());
    f.advance(1ms);
    f.answers(R"({"type":"subscribed","channel":"news"})");
    CHECK(mine.is_live());
    f.says(R"({"type":"error","code":"rate_limited","message":"slowly","retry_after_ms":500})");
    CHECK(errors == list{"rate_limited news", "rate_limited "});
  }

  TEST_CASE("what the server cannot do now is asked for again, later each time, and recovers") {
    for (const std::string code : {"internal_error", "store_unavailable", "store_full", "keys_unavailable"}) {
      INFO(code);
      int errors = 0;
      script f{[&](client_options& options) {
        options.on_error = [&](const request_error&, std::string_view) { ++errors; };
      }};
      f.welcome();
      subscribe_options how;
      how.since = topic_position{"e", 1};
      auto mine = f.client->subscribe("news", how);
      f.settle();
      for (const auto pause : {200ms, 400ms, 800ms}) {
        f.answers(R"({"type":"error","code":")" + code + R"(","message":""})");
        f.advance(pause - 1ms);
        CHECK(f.heard().empty());
        f.advance(1ms);
      }
      auto asked =
          f.answers(R"({"type":"subscribed","channel":"news","epoch":"e","offset":1,"recovered":true})");
      CHECK(json::serialize(asked.at("recover")) == R"({"epoch":"e","offset":1})");
      f.says(news(2));
      f.says(R"({"type":"unsubscribed","channel":"news","code":")" + code + R"("})");
      CHECK_FALSE(mine.is_live());
      f.advance(200ms);
      asked = f.answers(R"({"type":"subscribed","channel":"news","epoch":"e","offset":3,"recovered":true})");
      CHECK(json::serialize(asked.at("recover")) == R"({"epoch":"e","offset":2})");
      f.says(news(3));
      CHECK(f.taken(mine) == list{news(2), news(3)});
      CHECK(errors == 4);
    }
  }

  TEST_CASE("many subscriptions are not asked for all at once") {
    script f;
    auto all = f.subscribe_to(1000);
    f.welcome();
    std::size_t turns = 0;
    for (auto asked = f.heard(); !asked.empty(); asked = f.heard(), ++turns) {
      CHECK(asked.size() <= 16);
      for (const auto& each : asked) f.confirm(each);
    }
    CHECK(std::ranges::all_of(all, &client_subscription::is_live));
    CHECK(turns < 200);
  }

  TEST_CASE("all subscriptions begin where the server limits messages") {
    struct limits {
      unsigned rate, burst, count, closed;
    };
    for (const bool ids : {true, false}) {
      for (const auto& [rate, burst, count, closed] :
           {limits{10, 20, 22, 0}, limits{10, 20, 40, 0}, limits{100, 40, 100, 0}, limits{5, 5, 20, 1}}) {
        CAPTURE(ids);
        CAPTURE(rate);
        CAPTURE(count);
        std::mt19937 engine{7};
        script f{[&](client_options& options) {
          options.random = [&] { return std::uniform_real_distribution<double>{0.0, 1.0}(engine); };
        }};
        auto all = f.subscribe_to(count);
        limited server{f, rate, burst, ids};
        server.run(20s);
        CHECK(std::ranges::all_of(all, &client_subscription::is_live));
        CHECK(server.closed <= closed);
      }
    }
  }

  TEST_CASE("when little can be said, everything has its turn") {
    script f{[](client_options& options) { options.random = [] { return 0.0; }; }};
    f.welcome();
    auto all = f.subscribe_to(20);
    const auto asked = f.heard();
    for (std::size_t i = 1; i < asked.size(); ++i) f.confirm(asked[i]);
    f.says(R"({"type":"error","code":"rate_limited","retry_after_ms":100,"id":)" +
           json::serialize(asked[0].at("id")) + "}");
    auto pong = f.start(f.client->request(ping()));
    f.says(R"({"type":"alert","message_id":1})");
    f.says(R"({"type":"alert","message_id":2})");
    f.says(R"({"type":"note"})");
    for (int i = 0; i < 3; ++i) f.start(f.client->next_message());
    f.advance(99ms);
    CHECK(f.heard().empty());
    list said;
    std::string acknowledged;
    for (int i = 0; i < 40 && said.size() < 7; ++i) {
      f.advance(100ms);
      const auto now = f.heard();
      CHECK(now.size() <= 1);
      for (const auto& each : now) {
        said.emplace_back(each.at("type").as_string());
        if (said.back() == "ack") acknowledged = json::serialize(each.at("id"));
        f.confirm(each);
      }
    }
    CHECK(std::ranges::count(said, "ack") == 1);
    CHECK(std::ranges::count(said, "ping") == 1);
    CHECK(std::ranges::count(said, "subscribe") == 5);
    CHECK(acknowledged == "[1,2]");
    CHECK(pong->value);
    CHECK(std::ranges::all_of(all, &client_subscription::is_live));
  }

  TEST_CASE("a subscription that is never answered is asked for again, and a late answer counts once") {
    list errors;
    script f{[&](client_options& options) {
      options.on_error = [&](const request_error& error, std::string_view channel) {
        errors.push_back(error.code + " " + std::string{channel});
      };
    }};
    f.welcome();
    auto mine = f.client->subscribe("news");
    f.settle();
    const auto first = f.heard_one();
    f.advance(9'999ms);
    CHECK(f.heard().empty());
    f.advance(1ms);
    const auto second = f.heard_one();
    CHECK(second.at("channel") == "news");
    CHECK(errors == list{"timed_out news"});
    f.says(R"({"type":"subscribed","channel":"news","epoch":"e","offset":1,"id":)" +
           json::serialize(first.at("id")) + "}");
    f.says(news(2));
    f.says(R"({"type":"subscribed","channel":"news","epoch":"e","offset":2,"already":true,"id":)" +
           json::serialize(second.at("id")) + "}");
    f.says(news(3));
    CHECK(f.taken(mine) == list{news(2), news(3)});
    f.advance(1h);
    CHECK(f.heard().empty());
  }

  TEST_CASE("a subscription that ends is not begun again before the server has heard of it") {
    script f{[](client_options& options) { options.random = [] { return 0.0; }; }};
    f.welcome();
    { auto gone = f.follows("news"); }
    auto again = f.client->subscribe("news");
    f.settle();
    auto asked = f.answers(R"({"type":"error","code":"rate_limited","retry_after_ms":300})");
    CHECK(asked.at("type") == "unsubscribe");
    f.advance(300ms);
    asked = f.answers(R"({"type":"unsubscribed","channel":"news"})");
    CHECK(asked.at("type") == "unsubscribe");
    f.advance(600ms);
    asked = f.answers(R"({"type":"subscribed","channel":"news"})");
    CHECK(asked.at("type") == "subscribe");
    CHECK(again.is_live());
  }

  TEST_CASE("an acknowledgement that was refused holds nothing else back") {
    script f{[](client_options& options) { options.random = [] { return 0.0; }; }};
    f.welcome();
    f.says(R"({"type":"alert","message_id":7})");
    auto first = f.start(f.client->next_message());
    auto second = f.start(f.client->next_message());
    f.heard();
    f.says(R"({"type":"error","code":"rate_limited","retry_after_ms":100})");
    auto mine = f.client->subscribe("news");
    f.says(R"({"type":"error","id":7,"code":"store_unavailable"})");
    f.advance(100ms);
    CHECK(f.heard_one().at("type") == "subscribe");
  }

  TEST_CASE("an acknowledgement that was refused is made again") {
    script f;
    f.welcome();
    f.says(R"({"type":"alert","message_id":7})");
    auto first = f.start(f.client->next_message());
    auto second = f.start(f.client->next_message());
    f.answers(R"({"type":"error","code":"store_unavailable"})");
    CHECK(f.heard().empty());
    f.advance(2s);
    CHECK(json::serialize(f.heard_one()) == R"({"type":"ack","id":7})");
  }

  TEST_CASE("whoever takes too slowly loses the oldest, and is told") {
    for (const std::size_t most : {1U, 2U, 3U}) {
      script f{[&](client_options& options) { options.max_waiting = most; }};
      f.welcome();
      auto mine = f.follows("news", R"(,"epoch":"e","offset":0)");
      for (int i = 1; i <= static_cast<int>(most); ++i) f.says(news(i));
      CHECK(f.client->stats().gaps == 0);
      f.says(news(static_cast<int>(most) + 1));
      f.says(news(static_cast<int>(most) + 2));
      CHECK(f.client->stats().gaps == 1);
      list expected{"gap at e2"};
      for (int i = 3; i <= static_cast<int>(most) + 2; ++i) expected.push_back(news(i));
      CHECK(f.taken(mine) == expected);
    }
  }

  TEST_CASE("requests get their answers, whatever the order") {
    script f;
    f.welcome();
    auto one = f.start(f.client->request(ping()));
    auto two = f.start(f.client->publish("chat", json::value{{"text", "hi"}}));
    const auto asked = f.heard();
    REQUIRE(asked.size() == 2);
    CHECK(asked[1].at("type") == "publish");
    CHECK(json::serialize(asked[1].at("data")) == R"({"text":"hi"})");
    f.says(R"({"type":"published","id":)" + json::serialize(asked[1].at("id")) +
           R"(,"channel":"chat","epoch":"e","offset":7})");
    CHECK_FALSE(one->done);
    REQUIRE(two->value);
    CHECK(*two->value == topic_position{"e", 7});
    f.says(R"({"type":"pong","id":)" + json::serialize(asked[0].at("id")) + "}");
    REQUIRE(one->value);
    CHECK(one->value->at("type") == "pong");
  }

  TEST_CASE("requests fail with what the server says, in time, and with the connection") {
    script f;
    f.welcome();
    auto refused = f.start(f.client->publish("chat", 1));
    f.answers(R"({"type":"error","code":"not_allowed","message":"no"})");
    CHECK(refused->error == "not_allowed");
    auto late = f.start(f.client->request(ping()));
    f.heard();
    f.advance(9'999ms);
    CHECK_FALSE(late->done);
    f.advance(1ms);
    CHECK(late->error == "timed out");
    auto lost = f.start(f.client->request(ping()));
    f.heard();
    f.goes();
    CHECK(lost->error == "closed");
    // Without a connection it waits for one.
    auto waits = f.start(f.client->request(ping()));
    f.advance(400ms);
    CHECK_FALSE(waits->done);
    f.welcome();
    f.answers(R"({"type":"pong"})");
    CHECK(waits->value);
  }

  TEST_CASE("messages of the user are acknowledged when the next one is asked for") {
    script f;
    f.welcome();
    f.says(R"({"type":"alert","n":1,"message_id":11})");
    f.says(R"({"type":"alert","n":2,"message_id":12})");
    f.says(R"({"type":"note","n":3})");
    const auto take = [&] {
      const auto got = f.start(f.client->next_message());
      REQUIRE(got->value);
      REQUIRE(*got->value);
      return (*got->value)->data.at("n").as_int64();
    };
    CHECK(take() == 1);
    CHECK(f.heard().empty());
    CHECK(take() == 2);
    CHECK(json::serialize(f.heard_one()) == R"({"type":"ack","id":11})");
    CHECK(take() == 3);
    CHECK(json::serialize(f.heard_one()) == R"({"type":"ack","id":12})");
  }

  TEST_CASE("a repeat is dropped; it is acknowledged again only if it had been taken") {
    script f;
    f.welcome();
    f.says(R"({"type":"alert","n":1,"message_id":11})");
    f.says(R"({"type":"alert","n":2,"message_id":12})");
    auto first = f.start(f.client->next_message());
    auto second = f.start(f.client->next_message());  // acknowledges 11
    f.heard();
    f.goes();
    f.advance(200ms);
    f.welcome();
    f.says(R"({"type":"alert","n":1,"message_id":11})");
    CHECK(json::serialize(f.heard_one()) == R"({"type":"ack","id":11})");
    f.says(R"({"type":"alert","n":2,"message_id":12})");  // with whoever asked for it last
    CHECK(f.heard().empty());
    auto third = f.start(f.client->next_message());
    CHECK_FALSE(third->done);
    CHECK(json::serialize(f.heard_one()) == R"({"type":"ack","id":12})");
    CHECK(f.client->stats().repeats == 2);
  }

  TEST_CASE("a message that nobody acknowledged is given again when it comes again, in order") {
    script f{[](client_options& options) { options.acknowledge = false; }};
    const auto take = [&] {
      const auto got = f.start(f.client->next_message());
      REQUIRE(got->value);
      REQUIRE(*got->value);
      return *(*got->value)->id;
    };
    const auto all = [&] {
      for (const auto id : {"11", "12", "13"}) f.says(R"({"message_id":)" + std::string{id} + "}");
    };
    f.welcome();
    all();
    CHECK(take() == 11);
    CHECK(take() == 12);
    f.goes();
    f.advance(200ms);
    f.welcome();
    all();
    CHECK(take() == 11);
    const auto done = f.start([](skein::client& c) -> asio::awaitable<int> {
      co_await c.acknowledge(12);
      co_return 1;
    }(*f.client));
    CHECK(take() == 12);
    CHECK(take() == 13);
    all();
    f.says(R"({"type":"acked","id":12})");
    CHECK(done->value);
    CHECK(take() == 11);
    CHECK(take() == 13);
    CHECK_FALSE(f.start(f.client->next_message())->done);
  }

  TEST_CASE("acknowledging by hand, and what is past the bound comes again") {
    script f{[](client_options& options) {
      options.acknowledge = false;
      options.max_waiting = 1;
    }};
    f.welcome();
    f.says(R"({"n":1,"message_id":11})");
    f.says(R"({"n":2,"message_id":12})");
    CHECK(f.client->stats().dropped == 1);
    auto one = f.start(f.client->next_message());
    f.says(R"({"n":3,"message_id":13})");  // must not overtake the second
    CHECK(f.client->stats().dropped == 2);
    auto none = f.start(f.client->next_message());
    CHECK(f.heard().empty());
    CHECK_FALSE(none->done);
    f.advance(200ms);
    REQUIRE(f.sockets.size() == 2);
    f.welcome();
    f.says(R"({"n":2,"message_id":12})");
    CHECK(none->done);
    auto done = f.start([](skein::client& c) -> asio::awaitable<int> {
      co_await c.acknowledge(11);
      co_return 1;
    }(*f.client));
    CHECK(json::serialize(f.heard_one()) == R"({"type":"ack","id":11})");
    f.says(R"({"type":"acked","id":11})");
    CHECK(done->value);
  }

  TEST_CASE("a token is asked for before each connection, and renewed when a fifth of its life is left") {
    int made = 0;
    script f{[&](client_options& options) {
      options.token = [&made]() -> asio::awaitable<std::string> {
        co_return "token " + std::to_string(++made);
      };
    }};
    CHECK(f.tokens == list{"token 1"});
    f.welcome(R"("expires_in_ms":100000)");
    f.advance(79'999ms);
    CHECK(f.heard().empty());
    f.advance(1ms);
    const auto asked = f.answers(R"({"type":"refreshed","expires_in_ms":10000})");
    CHECK(asked.at("type") == "refresh");
    CHECK(asked.at("token") == "token 2");
    CHECK(f.client->stats().refreshes == 1);
    f.advance(8s);
    f.answers(R"({"type":"error","code":"keys_unavailable","message":"later"})");
    f.advance(1s);
    CHECK(f.heard_one().at("token") == "token 4");
    f.goes(close_code::unauthorized);
    f.advance(200ms);
    CHECK(f.tokens == list{"token 1", "token 5"});
    f.welcome();
    f.advance(1h);
    CHECK(f.sockets.size() == 2);
  }

  TEST_CASE("a token that cannot be renewed is asked for again, later each time") {
    int made = 0;
    script f{[&](client_options& options) {
      options.token = [&made]() -> asio::awaitable<std::string> {
        if (++made > 1) throw std::runtime_error{"the directory is down"};
        co_return "t";
      };
    }};
    f.welcome(R"("expires_in_ms":100000)");
    f.advance(80s);
    CHECK(made == 2);
    int expected = 2;
    for (const auto pause : {1s, 2s, 4s, 8s, 16s, 20s, 20s}) {
      f.advance(pause - 1ms);
      CHECK(made == expected);
      f.advance(1ms);
      CHECK(made == ++expected);
    }
  }

  TEST_CASE("a token that cannot be had is a connection that cannot be made") {
    int asked = 0;
    script f{[&](client_options& options) {
      options.token = [&asked]() -> asio::awaitable<std::string> {
        if (++asked < 3) throw std::runtime_error{"the directory is down"};
        co_return "t";
      };
    }};
    CHECK(f.sockets.empty());
    CHECK(f.states == list{"connecting", "waiting: the directory is down"});
    f.advance(200ms);
    f.advance(400ms);
    CHECK(f.sockets.size() == 1);
  }

  TEST_CASE("close: subscriptions end, requests fail, nobody comes back") {
    script f;
    f.welcome();
    auto mine = f.follows("news");
    auto next = f.start(mine.next());
    auto waits = f.start(f.client->request(ping()));
    auto own = f.start(f.client->next_message());
    auto closed = f.start([](skein::client& c) -> asio::awaitable<int> {
      co_await c.close();
      co_return 1;
    }(*f.client));
    CHECK(closed->done);
    CHECK(f.server().closed_with() == close_code::normal);
    REQUIRE(next->done);
    CHECK_FALSE(*next->value);
    REQUIRE(own->done);
    CHECK_FALSE(*own->value);
    CHECK(waits->error == "closed");
    CHECK(f.client->state() == client_state::closed);
    auto late = f.start(f.client->request(ping()));
    CHECK(late->error == "closed");
    auto after = f.client->subscribe("x");
    CHECK(f.taken(after) == list{"end"});
    f.advance(1h);
    CHECK(f.sockets.size() == 1);
  }

  TEST_CASE("close while it waits, and while it connects") {
    script f;
    f.goes();
    CHECK(f.client->state() == client_state::waiting);
    const auto close = [](skein::client& c) -> asio::awaitable<int> {
      co_await c.close();
      co_return 1;
    };
    CHECK(f.start(close(*f.client))->done);
    CHECK(f.client->state() == client_state::closed);

    script g{[](client_options& options) {
      options.connector = [](std::string, connect_options) -> asio::awaitable<std::shared_ptr<websocket>> {
        asio::steady_timer never{co_await asio::this_coro::executor, asio::steady_timer::time_point::max()};
        co_await never.async_wait(asio::use_awaitable);
        co_return nullptr;
      };
    }};
    CHECK(g.client->state() == client_state::connecting);
    CHECK(g.start(close(*g.client))->done);
    CHECK(g.client->state() == client_state::closed);
  }

  TEST_CASE("a client that goes while others wait on it") {
    script f;
    f.welcome();
    auto mine = f.follows("news");
    auto next = f.start(mine.next());
    auto waits = f.start(f.client->request(ping()));
    f.client.reset();
    f.settle();
    REQUIRE(next->done);
    CHECK_FALSE(*next->value);
    CHECK(waits->error == "closed");
    CHECK(f.states == list{"connecting", "connected"});
    CHECK(f.taken(mine) == list{"end"});
  }

  TEST_CASE("a server that does not welcome in time is left, and asked again") {
    script f;
    f.advance(9'999ms);
    CHECK(f.server().is_open());
    f.advance(1ms);
    CHECK_FALSE(f.server().is_open());
    CHECK(f.states == list{"connecting", "waiting: the server did not welcome in time"});
    f.advance(200ms);
    REQUIRE(f.sockets.size() == 2);
    f.welcome();
    f.advance(1h);
    CHECK(f.sockets.size() == 2);
    CHECK(f.client->state() == client_state::connected);
  }

  TEST_CASE("requests without a connection wait for it in their order, and not longer than they may") {
    script f;
    auto early = f.start(f.client->request({{"type", "early"}}));
    f.advance(5s);
    std::vector<std::shared_ptr<script::result<json::object>>> waiting;
    for (int i = 0; i < 12; ++i) waiting.push_back(f.start(f.client->request({{"type", "n"}, {"n", i}})));
    f.advance(4s);
    CHECK_FALSE(early->done);
    f.goes();
    f.advance(1s);
    CHECK(early->error == "timed out");
    f.welcome();
    const auto asked = f.heard();
    REQUIRE(asked.size() == 12);
    for (int i = 0; i < 12; ++i) CHECK(asked[static_cast<std::size_t>(i)].at("n").as_int64() == i);
  }

  TEST_CASE("a message that is acknowledged twice is answered twice") {
    script f;
    f.welcome();
    const auto acknowledge = [](skein::client& c) -> asio::awaitable<int> {
      co_await c.acknowledge(11);
      co_return 1;
    };
    auto one = f.start(acknowledge(*f.client));
    auto two = f.start(acknowledge(*f.client));
    f.says(R"({"type":"acked","id":11})");
    CHECK(one->value);
    CHECK_FALSE(two->done);
    f.says(R"({"type":"error","id":11,"code":"not_found"})");
    CHECK(two->error == "not_found");
  }

  TEST_CASE("an answer that comes too late is neither a publication nor a message") {
    script f;
    f.welcome();
    auto mine = f.follows("chat", R"(,"epoch":"e","offset":6)");
    auto message = f.start(f.client->next_message());
    auto late = f.start(f.client->publish("chat", 1));
    auto own = f.start(f.client->request(json::object{{"type", "price"}}));
    const auto asked = f.heard();
    REQUIRE(asked.size() == 2);
    f.advance(10s);
    CHECK(late->error == "timed out");
    CHECK(own->error == "timed out");
    f.says(R"({"type":"published","id":)" + json::serialize(asked[0].at("id")) +
           R"(,"channel":"chat","epoch":"e","offset":7})");
    f.says(R"({"type":"price","id":)" + json::serialize(asked[1].at("id")) + R"(,"price":1})");
    CHECK(f.taken(mine).empty());
    CHECK_FALSE(message->done);
    // What it spoke of comes itself, and is no repeat.
    f.says(R"({"n":7,"channel":"chat","epoch":"e","offset":7})");
    CHECK(f.taken(mine).size() == 1);
    CHECK(f.client->stats().repeats == 0);
  }

  TEST_CASE("a publication's id does not make an answer of it") {
    script f;
    f.welcome();
    auto mine = f.follows("chat");
    auto asked = f.start(f.client->request(ping()));
    const auto acknowledge = [](skein::client& c) -> asio::awaitable<int> {
      co_await c.acknowledge(11);
      co_return 1;
    };
    auto acknowledged = f.start(acknowledge(*f.client));
    for (const std::string id : {R"("s1")", R"("s2")", R"("s3")", R"("1")", "1", "11"}) {
      f.says(R"({"type":"pong","channel":"chat","id":)" + id + "}");
      f.says(R"({"type":"acked","channel":"chat","id":)" + id + "}");
      f.says(R"({"type":"said","channel":"chat","id":)" + id + "}");
      CHECK(f.taken(mine).size() == 3);
    }
    CHECK_FALSE(asked->done);
    CHECK_FALSE(acknowledged->done);
    f.says(R"({"type":"acked","id":11})");
    CHECK(acknowledged->value);
    // Another client's ids are others.
    script g;
    g.welcome();
    auto theirs = g.start(g.client->request(ping()));
    CHECK(g.heard_one().at("id") != f.heard().front().at("id"));
  }

  TEST_CASE("a connection that cannot be read or written any more is closed, and another made") {
    script f;
    f.welcome();
    const auto first = f.sockets.back();
    first->then_read_throws(std::make_exception_ptr(std::bad_alloc{}));
    f.says(R"({"n":1})");
    CHECK(first->was_closed());
    f.advance(200ms);
    CHECK(f.sockets.size() == 2);
    f.welcome();
    CHECK(f.client->state() == client_state::connected);
  }

  TEST_CASE("a write that throws ends the connection, and what waits for its answer fails") {
    /// Throws in the place of the nth write.
    struct failing : mock_websocket {
      using mock_websocket::mock_websocket;
      asio::awaitable<outcome> write(prepared_message what) override {
        if (left-- == 0) throw std::bad_alloc{};
        co_return co_await mock_websocket::write(std::move(what));
      }
      int left = 1;
    };
    std::shared_ptr<failing> first;
    script f{[&](client_options& options) {
      const auto later = options.connector;
      options.connector = [&first, later](
                              std::string url,
                              connect_options how) -> asio::awaitable<std::shared_ptr<websocket>> {
        auto made = co_await later(url, how);
        if (first) co_return made;
        first = std::make_shared<failing>(co_await asio::this_coro::executor);
        first->then_read_waits();
        co_return first;
      };
    }};
    first->peer_sends(message::text(hello));
    f.settle();
    auto one = f.start(f.client->request(ping()));
    CHECK_FALSE(one->done);
    auto two = f.start(f.client->request(ping()));
    CHECK(first->was_closed());
    CHECK(one->error == "closed");
    CHECK(two->error == "closed");
    f.advance(200ms);
    f.welcome();
    auto three = f.start(f.client->request(ping()));
    f.answers(R"({"type":"pong"})");
    CHECK(three->value);
  }

  TEST_CASE("whatever a token's callback throws, the client goes on, and can be closed") {
    int calls = 0;
    script f{[&](client_options& options) {
      options.token = [&calls]() -> asio::awaitable<std::string> {
        if (++calls < 3) throw calls;  // NOLINT: no std::exception
        co_return "t";
      };
    }};
    f.advance(200ms);
    CHECK(f.sockets.empty());
    f.advance(400ms);
    CHECK(f.sockets.size() == 1);
    calls = 0;
    f.goes();
    f.advance(800ms);
    auto close = [](skein::client& c) -> asio::awaitable<int> {
      co_await c.close();
      co_return 1;
    };
    CHECK(f.start(close(*f.client))->value);
  }

  TEST_CASE("the time to connect does not make a connection steady") {
    script f;
    for (const auto pause : {200ms, 400ms, 800ms}) {
      f.advance(9'999ms);
      f.welcome();
      f.advance(9'999ms);
      f.goes();
      f.advance(pause - 1ms);
      CHECK(f.client->state() == client_state::waiting);
      f.advance(1ms);
      CHECK(f.client->state() == client_state::connecting);
    }
  }

  TEST_CASE("times past reason are believed up to a year") {
    script f{[](client_options& options) {
      options.token = []() -> asio::awaitable<std::string> { co_return "t"; };
    }};
    f.welcome(R"("expires_in_ms":9223372036854775807)");
    auto mine = f.client->subscribe("news");
    f.settle();
    f.answers(R"({"type":"error","code":"rate_limited","message":"","retry_after_ms":9223372036854775807})");
    f.advance(24h * 365 * 4 / 5 - 1ms);
    CHECK(f.heard().empty());
    f.advance(1ms);
    CHECK(f.heard_one().at("type") == "refresh");
  }

  TEST_CASE("a context that ends takes with it whoever waits on a client") {
    auto kept = std::make_shared<int>(1);
    {
      script f;
      f.welcome();
      auto mine = f.follows("news");
      const auto wait = [kept](auto task) -> asio::awaitable<void> {
        const auto held = kept;
        co_await std::move(task);
      };
      const auto count = [&](long expected) {
        f.settle();
        CHECK(kept.use_count() == expected);
      };
      const auto base = kept.use_count();
      asio::co_spawn(f.context, wait(mine.next()), asio::detached);
      count(base + 1);
      asio::co_spawn(f.context, wait(f.client->next_message()), asio::detached);
      count(base + 2);
      asio::co_spawn(f.context, wait(f.client->request(ping())), asio::detached);
      count(base + 3);
      f.leave();
    }
    CHECK(kept.use_count() == 1);
  }

  TEST_CASE("what a server should not say harms nobody") {
    script f;
    f.says(R"({"type":"published"})");
    f.welcome();
    auto mine = f.follows("news");
    for (const std::string odd :
         {"", "x", "[]", "1", "{}", R"({"type":1})", R"({"channel":1})", R"({"id":{}})",
          R"({"id":"s99","type":"pong"})", R"({"channel":"news","epoch":1,"offset":"x"})",
          R"({"channel":"news","epoch":"e","offset":-1})", R"({"message_id":"x"})",
          R"({"type":"welcome","expires_in_ms":"x"})", R"({"type":"unsubscribed","code":1})",
          R"({"type":"error"})", R"({"type":"acked","id":[1,{}]})"}) {
      f.says(odd);
    }
    f.server().peer_sends(message::binary("\1\2"));
    f.settle();
    CHECK(f.client->state() == client_state::connected);
    f.says(R"({"n":1,"channel":"news"})");
    CHECK(f.taken(mine).back() == R"({"n":1,"channel":"news"})");
  }

  TEST_CASE("options that are not allowed are refused") {
    asio::io_context context;
    const auto refuses = [&](const std::function<void(client_options&)>& change) {
      client_options options;
      options.url = "ws://test";
      change(options);
      CHECK_THROWS_AS((skein::client{context.get_executor(), options}), std::invalid_argument);
    };
    refuses([](auto& o) { o.url.clear(); });
    refuses([](auto& o) { o.min_pause = 0s; });
    refuses([](auto& o) { o.max_pause = 199ms; });
    refuses([](auto& o) { o.request_timeout = 0s; });
    refuses([](auto& o) { o.max_waiting = 0; });
  }
}
