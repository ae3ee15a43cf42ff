#include "key_server.hpp"
#include "raw_client.hpp"
#include "tls_files.hpp"
#include "unit/jwt_fixture.hpp"

#include <skein/container.hpp>
#include <skein/testing.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include <csignal>
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

// A container on a port of the system's choice, and what it logged.
struct fixture {
  explicit fixture(skein::config how = options()) : container(std::move(how)) {
    container.use_log([this](skein::log_level, std::string_view line) {
      const std::lock_guard lock{mutex};
      lines.emplace_back(line);
    });
  }

  static skein::config options() {
    skein::config result;
    result.server.port = 0;
    result.manager.shards = 1;
    result.manager.max_connections = 100;
    result.shutdown_timeout = 5s;
    return result;
  }

  std::size_t count(std::string_view part) {
    const std::lock_guard lock{mutex};
    return static_cast<std::size_t>(
        std::ranges::count_if(lines, [&](const auto& line) { return line.find(part) != std::string::npos; }));
  }
  bool logged(std::string_view part) { return count(part) != 0; }

  std::mutex mutex;
  std::vector<std::string> lines;
  skein::container container;
};

asio::awaitable<void> stop(skein::container& what) {
  what.stop();
  co_return;
}

asio::awaitable<void> read_statistics(skein::container& what) {
  co_await what.topics().publish("news", skein::message::text("1"));
  skein::test::raw_client client{what.server().port()};
  client.send("GET /ws/stats HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto told = boost::json::parse(client.read_answer().body);  // by the shard's thread
  CHECK(told.at("topics").at("publications") == 1);
  CHECK(told.at("users").at("stored") == 0);
  CHECK(told.at("protocol").at("requests") == 0);
  CHECK(told.at("mine").at("answer") == 42);
  CHECK_FALSE(told.as_object().contains("store"));
  what.stop();
}

asio::awaitable<void> stop_by_another_task(skein::container& what, int depth) {
  what.spawn(depth == 0 ? stop(what) : stop_by_another_task(what, depth - 1));
  co_return;
}

asio::awaitable<void> fail() {
  throw std::runtime_error("out of yarn");
  co_return;
}

asio::awaitable<void> wait_for_ever(bool& was_ended) {
  struct note {
    bool& flag;
    ~note() { flag = true; }
  } on_end{was_ended};
  asio::steady_timer timer{co_await asio::this_coro::executor, 1h};
  co_await timer.async_wait(asio::use_awaitable);
}

/// A token that the first or the second key has signed, good for an hour.
std::string token_by(unsigned which, const std::string& more = R"("role":"trader")") {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto expires = std::chrono::duration_cast<std::chrono::seconds>(now + 1h).count();
  return jwt_test::signed_token(skein::jwt_algorithm::es256, R"({"alg":"ES256"})",
                                R"({"sub":"ada","exp":)" + std::to_string(expires) + "," + more + "}", which);
}

/// Hangs up, and waits until the log has one more line with this.
asio::awaitable<void> hang_up_until(fixture& what, std::string_view line) {
  const auto before = what.count(line);
  const auto limit = std::chrono::steady_clock::now() + skein::test::patience;
  std::raise(SIGHUP);
  while (what.count(line) == before && std::chrono::steady_clock::now() < limit)
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
}

std::string one_key_set(unsigned which) {
  return R"({"keys":[{"alg":"ES256",)" + jwt_test::key_for(skein::jwt_algorithm::es256, which).jwk_members() +
         "}]}";
}

asio::awaitable<void> reload_keys(fixture& what, const skein::test::temporary_folder& files) {
  auto& tokens = *what.container.options().server.tokens;
  const auto is_good = [&tokens](unsigned which) { return tokens.identify(token_by(which)); };
  auto first = co_await is_good(0);
  auto second = co_await is_good(1);
  CHECK(first.good());
  CHECK_FALSE(second.good());
  files.write("key", jwt_test::key_for(skein::jwt_algorithm::es256, 1).public_pem());
  co_await hang_up_until(what, "the keys of tokens have been loaded again");
  first = co_await is_good(0);
  second = co_await is_good(1);
  CHECK_FALSE(first.good());
  CHECK(second.good());
  files.write("key", "rubbish");
  co_await hang_up_until(what, "the keys of tokens stay as they were: jwt-key: '");
  second = co_await is_good(1);
  CHECK(second.good());
  files.write("key", jwt_test::key_for(skein::jwt_algorithm::es256, 0).public_pem());
  files.write("jwks", R"({"keys":[]})");
  co_await hang_up_until(what, "the keys of tokens stay as they were: jwks: '");
  second = co_await is_good(1);
  CHECK(second.good());
  CHECK(tokens.stats().keys == 2);
  what.container.stop();
}

asio::awaitable<void> fetch_keys_again(fixture& what, skein::test::key_server& from) {
  auto& tokens = *what.container.options().server.tokens;
  const auto limit = std::chrono::steady_clock::now() + skein::test::patience;
  while (tokens.stats().keys == 0 && std::chrono::steady_clock::now() < limit)
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  from.serve(one_key_set(1));
  co_await hang_up_until(what, "SIGHUP: the JWK set has been fetched again");
  auto first = co_await tokens.identify(token_by(0));
  auto second = co_await tokens.identify(token_by(1));
  CHECK_FALSE(first.good());
  CHECK(second.good());
  from.answer_with("");
  co_await hang_up_until(what, "SIGHUP: the keys of the JWK set stay as they were: it could not be fetched");
  second = co_await tokens.identify(token_by(1));
  CHECK(second.good());
  CHECK(from.asked() == 3);
  what.container.stop();
}

asio::awaitable<void> signal_this_process(int number) {
  std::raise(number);
  co_return;
}

}  // namespace

TEST_SUITE("container") {
  TEST_CASE("/ws/stats has a section for each part that is there") {
    fixture f;
    static_cast<void>(f.container.protocol());
    f.container.server().add_standard_endpoints();
    f.container.server().add_statistics("mine", [] { return boost::json::object{{"answer", 42}}; });
    CHECK_THROWS_AS(f.container.server().add_statistics("mine", [] { return boost::json::object{}; }),
                    std::invalid_argument);
    f.container.spawn(read_statistics(f.container));
    CHECK(f.container.run() == 0);
  }

  TEST_CASE("stop before run ends it, cleanly") {
    fixture f;
    f.container.stop();
    CHECK(f.container.run() == 0);
    CHECK(f.logged("0 connections closed cleanly"));
  }

  TEST_CASE("stop from a task ends run") {
    fixture f;
    f.container.spawn(stop(f.container));
    CHECK(f.container.run() == 0);
  }

  TEST_CASE("a task may spawn further tasks") {
    fixture f;
    f.container.spawn(stop_by_another_task(f.container, 3));
    CHECK(f.container.run() == 0);
  }

  TEST_CASE("SIGINT and SIGTERM end run") {
    for (const int number : {SIGINT, SIGTERM}) {
      fixture f;
      f.container.spawn(signal_this_process(number));
      CHECK(f.container.run() == 0);
    }
  }

  TEST_CASE("SIGHUP loads the keys of tokens again, and what is wrong changes nothing") {
    const skein::test::temporary_folder files;
    auto options = fixture::options();
    options.tokens.key_files = {
        "ES256:" + files.write("key", jwt_test::key_for(skein::jwt_algorithm::es256, 0).public_pem())};
    options.tokens.jwks =
        files.write("jwks", R"({"keys":[{"kid":"other","alg":"ES384",)" +
                                jwt_test::key_for(skein::jwt_algorithm::es384).jwk_members() + "}]}");
    fixture f{options};
    static_cast<void>(f.container.server());
    f.container.spawn(reload_keys(f, files));
    CHECK(f.container.run() == 0);
  }

  TEST_CASE("SIGHUP has keys fetched again that come from an address") {
    skein::test::key_server keys;
    keys.serve(one_key_set(0));
    auto options = fixture::options();
    options.tokens.jwks = keys.url();
    fixture f{options};
    static_cast<void>(f.container.server());
    f.container.spawn(fetch_keys_again(f, keys));
    CHECK(f.container.run() == 0);
  }

  TEST_CASE("tokens that nobody needs are worth a warning, and so are rights that nobody has") {
    const skein::test::temporary_folder files;
    auto options = fixture::options();
    options.rights = skein::topic_rights::claims;
    for (const bool needed : {false, true}) {
      CAPTURE(needed);
      fixture f{options};
      f.container.stop();
      CHECK(f.container.run() == 0);
      CHECK(f.logged("topic-rights is claims, but nobody has any"));
      CHECK_FALSE(f.logged("require-auth is off"));
      auto with_tokens = options;
      with_tokens.server.require_authentication = needed;
      with_tokens.tokens.key_files = {
          "ES256:" + files.write("key", jwt_test::key_for(skein::jwt_algorithm::es256).public_pem())};
      fixture g{with_tokens};
      g.container.stop();
      CHECK(g.container.run() == 0);
      CHECK(g.logged("require-auth is off") == !needed);
      CHECK_FALSE(g.logged("topic-rights is claims"));
    }
  }

  TEST_CASE("rights to topics come from claims, if the configuration says so and the program says nothing") {
    const skein::test::temporary_folder files;
    auto options = fixture::options();
    options.tokens.key_files = {
        "ES256:" + files.write("key", jwt_test::key_for(skein::jwt_algorithm::es256).public_pem())};
    const auto answer = [&](skein::topic_rights rights, bool says_something, const std::string& topic) {
      options.rights = rights;
      fixture f{options};
      skein::protocol_options own;
      if (says_something) {
        own.authorize = [](skein::connection&, skein::topic_action, std::string) -> asio::awaitable<bool> {
          co_return true;
        };
      }
      f.container.server().route("/ws", f.container.protocol(std::move(own)).handler());
      f.container.server().start();
      skein::test::raw_client client{f.container.server().port()};
      const auto token = token_by(0, R"("topics":{"subscribe":["orders.ada.>"]})");
      REQUIRE(client.open("/ws", "Authorization: Bearer " + token + "\r\n").status == 101);
      client.send(skein::test::text_frame(R"({"type":"subscribe","id":1,"channel":")" + topic + "\"}"));
      for (;;) {
        const auto got = client.read_message();
        REQUIRE(got);
        if (got->payload.find(R"("id":1)") == std::string::npos) continue;  // the welcome
        return got->payload.find("not_allowed") == std::string::npos;
      }
    };
    using enum skein::topic_rights;
    CHECK(answer(rules, false, "orders.bob.1"));
    CHECK(answer(claims, false, "orders.ada.1"));
    CHECK_FALSE(answer(claims, false, "orders.bob.1"));
    CHECK(answer(claims, true, "orders.bob.1"));
  }

  TEST_CASE("a task that throws is logged, and run returns 1") {
    fixture f;
    f.container.spawn(fail());
    CHECK(f.container.run() == 1);
    CHECK(f.logged("out of yarn"));
  }

  TEST_CASE("a task is cancelled when the shutdown begins, and its end awaited") {
    fixture f;
    bool ended = false;
    f.container.spawn(wait_for_ever(ended));
    f.container.spawn(stop(f.container));
    CHECK(f.container.run() == 0);
    CHECK(ended);
  }

  TEST_CASE("a task that was never run is destroyed with the container") {
    bool ended = false;
    {
      fixture f;
      f.container.spawn(wait_for_ever(ended));
    }
    CHECK_FALSE(ended);
  }

  TEST_CASE("run returns 1 when the port is taken") {
    fixture first;
    first.container.server().start();
    auto options = fixture::options();
    options.server.port = first.container.server().port();
    options.log = skein::log_level::off;
    skein::container second{options};
    CHECK(second.run() == 1);
  }

  TEST_CASE("no more connections than the limit of open files allows") {
    auto options = fixture::options();
    options.manager.max_connections = 10'000'000;
    std::string line;
    skein::container container{options};
    container.use_log([&](skein::log_level, std::string_view text) { line = text; });
    CHECK(container.manager().stats().max_connections < 10'000'000);
    CHECK(line.find("max-connections is 10000000") != std::string::npos);
  }

  TEST_CASE("topics and users are there, with what the configuration says, or replaced by mocks") {
    skein::config options;
    options.topics.max_subscriptions = 1;
    skein::container real{options};
    real.topics().post_publish("a", skein::message::text("x"));
    CHECK(real.topics().stats().publications == 1);
    real.users().post_send("nobody", skein::message::text("x"));
    CHECK_THROWS_AS(real.use(std::make_shared<skein::testing::mock_topics>()), std::logic_error);
    CHECK_THROWS_AS(real.use(std::make_shared<skein::testing::mock_users>()), std::logic_error);

    const auto topics = std::make_shared<skein::testing::mock_topics>();
    const auto users = std::make_shared<skein::testing::mock_users>();
    skein::container replaced;
    replaced.use(topics).use(users);
    CHECK(&replaced.topics() == topics.get());
    CHECK(&replaced.users() == users.get());
  }

  TEST_CASE("parts are replaced before the manager is handed out, and not after") {
    skein::container container{fixture::options()};
    container.use(std::make_shared<skein::testing::mock_manager>());
    auto mock = std::make_shared<skein::testing::mock_manager>();
    container.use(mock);
    CHECK(&container.manager() == mock.get());
    CHECK_THROWS_AS(container.use(mock), std::logic_error);
    CHECK_THROWS_AS(container.use(skein::steady_clock()), std::logic_error);
    CHECK_THROWS_AS(container.use_log({}), std::logic_error);
  }

  TEST_CASE("a line less serious than the log's level is not logged, and every line is one line") {
    auto options = fixture::options();
    options.log = skein::log_level::warning;
    std::vector<std::string> lines;
    skein::container container{options};
    container.use_log([&](skein::log_level, std::string_view text) { lines.emplace_back(text); });
    container.log(skein::log_level::info, "not this one");
    container.log(skein::log_level::warning, "this\none");
    CHECK(lines == std::vector<std::string>{"this\\x0aone"});
  }

  TEST_CASE("what was odd about the configuration is logged") {
    auto options = fixture::options();
    options.warnings.push_back("something odd");
    std::vector<std::string> lines;
    skein::container container{options};
    container.use_log([&](skein::log_level, std::string_view text) { lines.emplace_back(text); });
    container.stop();
    CHECK(container.run() == 0);
    REQUIRE_FALSE(lines.empty());
    CHECK(lines.front() == "something odd");
  }
}
