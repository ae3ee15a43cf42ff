#pragma once

// Clients that speak the JSON protocol to a manager in memory.

#include "gated_store.hpp"
#include "hub_fixture.hpp"

#include <skein/protocol.hpp>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hub_test {

namespace json = boost::json;

struct protocol_parts {
  std::vector<topic_rule> rules{};
  protocol_options protocol{};
  manager_options manager{};
  std::size_t max_subscriptions = 128;
  std::size_t presence_members = 200;
  memory_store_options store{};
  offline_limits offline{};
};

struct protocol_fixture : fixture {
  using parts = protocol_parts;
  protocol_fixture() : protocol_fixture(parts{}) {}
  explicit protocol_fixture(parts with) : fixture(std::move(with.manager)) {
    if (!with.store.time) with.store.time = time;
    store = std::make_shared<gated_store>(make_memory_store(with.store));
    topics_options options;
    options.rules = std::move(with.rules);
    options.store = options.durable_store = store;
    options.max_subscriptions = with.max_subscriptions;
    options.presence_members = with.presence_members;
    topics = make_topics(hub, std::move(options));
    users_options mailboxes;
    mailboxes.store = store;
    mailboxes.limits = with.offline;
    users = make_users(hub, std::move(mailboxes));
    protocol = std::make_unique<json_protocol>(topics, users, std::move(with.protocol));
  }
  ~protocol_fixture() { store->open(); }

  /// A client that has been welcomed; how it reads on is the test's affair.
  testing::memory_peer& join(std::string user = {}, json::value claims = {}) {
    identity who;
    who.user = std::move(user);
    who.claims = std::move(claims);
    peers.push_back(testing::connect(*hub, protocol->handler(), {}, std::move(who)));
    settle();
    return *peers.back();
  }
  testing::memory_peer& welcomed(std::string user = {}, json::value claims = {}) {
    auto& client = join(std::move(user), std::move(claims));
    const auto first = heard(client);
    REQUIRE(first.size() == 1);
    REQUIRE(first.front().at("type") == "welcome");
    return client;
  }
  /// What has come since the last look.
  std::vector<json::object> heard(testing::memory_peer& client) {
    std::vector<json::object> all;
    for (const auto& each : drink(*this, client)) all.push_back(json::parse(each.payload()).as_object());
    return all;
  }
  void say(testing::memory_peer& client, const std::string& what) {
    client.send(text(what));
    settle();
  }
  /// The one answer to a request.
  json::object ask(testing::memory_peer& client, const std::string& what) {
    say(client, what);
    const auto answers = heard(client);
    INFO(what);
    REQUIRE(answers.size() == 1);
    return answers.front();
  }
  publish_report publish(const std::string& topic, const std::string& what) {
    const auto report = start(topics->publish(topic, text(what)));
    REQUIRE(*report);
    CHECK((*report)->balanced());
    return **report;
  }

  std::shared_ptr<gated_store> store;
  std::shared_ptr<skein::topics> topics;
  std::shared_ptr<skein::users> users;
  std::unique_ptr<json_protocol> protocol;
};

/// A fixture's parts with these rules.
inline protocol_fixture::parts rules(std::vector<topic_rule> all) {
  protocol_fixture::parts with;
  with.rules = std::move(all);
  return with;
}

inline topic_rule remembering(std::string pattern, std::size_t messages = 100) {
  topic_rule rule{std::move(pattern)};
  rule.history.emplace();
  rule.history->keep.max_messages = messages;
  return rule;
}

/// A JSON text without its spaces, fields sorted: to compare.
inline std::string plain(const json::object& what) {
  std::vector<std::pair<std::string, json::value>> fields;
  for (const auto& each : what) fields.emplace_back(std::string{each.key()}, each.value());
  std::sort(fields.begin(), fields.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  json::object sorted;
  for (auto& [key, value] : fields) sorted[key] = std::move(value);
  return json::serialize(sorted);
}

}  // namespace hub_test
