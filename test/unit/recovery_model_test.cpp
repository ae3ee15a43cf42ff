// Random lives of clients, against what they were promised.
//
// Clients subscribe, leave, are cut and come back where they were, while publications, the store's answers
// and the clients' reading come in any order. Each client checks what it gets: after `subscribed` at a
// position every publication after it, once and in order, until it unsubscribes or is cut.

#include "protocol_fixture.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>

using namespace hub_test;

namespace {

struct client_model {
  testing::memory_peer* peer = nullptr;
  std::map<std::string, topic_position> seen;   // what comes next is known
  std::map<std::string, topic_position> asked;  // subscriptions that are not answered yet, and from where
  bool subscribed_to(const std::string& topic) const { return seen.contains(topic); }
};

class model {
 public:
  explicit model(std::uint64_t seed) : random_(seed), f_(parts()) {
    for (auto& each : clients_) each.peer = &f_.welcomed();
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) step();
    // The end: everything gets through, and everybody has everything.
    f_.store->open();
    for (auto& each : clients_) {
      each.peer->set_capacity(1 << 20);
      listen(each);
    }
    for (const auto& report : reports_) {
      REQUIRE(*report);
      CHECK((*report)->balanced());
    }
    for (auto& each : clients_) {
      CHECK(each.asked.empty());
      for (const auto& [topic, at] : each.seen) CHECK(at.offset == published_[topic]);
    }
  }

  std::size_t recovered = 0, replayed_live = 0;

 private:
  static protocol_fixture::parts parts() {
    protocol_fixture::parts with;
    with.rules = {remembering("t.*", 12)};
    with.manager.limits.send_queue_messages = 6;
    with.max_subscriptions = 8;
    return with;
  }
  std::size_t pick(std::size_t below) {
    return std::uniform_int_distribution<std::size_t>{0, below - 1}(random_);
  }
  std::string any_topic() { return "t." + std::to_string(pick(3)); }

  void step() {
    auto& client = clients_[pick(clients_.size())];
    switch (pick(12)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const auto topic = any_topic();
        ++published_[topic];
        reports_.push_back(f_.start(f_.topics->publish(topic, text("{\"n\":0}"))));
        break;
      }
      case 4:
      case 5:
        subscribe(client, any_topic());
        break;
      case 6: {
        const auto topic = any_topic();
        listen(client);
        if (!client.subscribed_to(topic)) break;
        f_.say(*client.peer, R"({"type":"unsubscribe","channel":")" + topic + "\"}");
        leaving_[&client].push_back(topic);
        break;
      }
      case 7:
        cut(client);
        break;
      case 8:
        f_.store->closed = !f_.store->closed;
        break;
      case 9:
        if (f_.store->waiting() > 0) f_.store->let_through(pick(f_.store->waiting()));
        f_.settle();
        break;
      case 10:
        client.peer->set_capacity(pick(3) == 0 ? 0 : 200 + pick(2000));
        break;
      default:
        listen(client);
    }
  }

  void subscribe(client_model& client, const std::string& topic) {
    if (client.subscribed_to(topic) || client.asked.contains(topic) || left_[&client].empty()) {
      if (client.subscribed_to(topic) || client.asked.contains(topic)) return;
    }
    auto& known = left_[&client];
    json::object request{{"type", "subscribe"}, {"channel", topic}};
    const auto before = known.find(topic);
    if (before != known.end() && pick(4) != 0) {
      request["recover"] = json::object{{"epoch", before->second.epoch}, {"offset", before->second.offset}};
      client.asked[topic] = before->second;
    } else {
      client.asked[topic] = {};
    }
    f_.say(*client.peer, json::serialize(request));
  }

  void cut(client_model& client) {
    // What was on its way is lost with the connection.
    client.peer->cut();
    begin_again(client);
  }
  void begin_again(client_model& client) {
    for (auto& [topic, at] : client.seen) left_[&client][topic] = at;
    client.seen.clear();
    client.asked.clear();
    leaving_[&client].clear();
    f_.settle();
    client.peer = &f_.join();
    f_.settle();
    const auto first = f_.heard(*client.peer);
    REQUIRE(first.size() == 1);
  }

  void listen(client_model& client) {
    for (const auto& each : f_.heard(*client.peer)) take(client, each);
    // A client that could not keep up comes back like any other.
    if (client.peer->close_received()) {
      CHECK(client.peer->close_received() == close_code::slow_consumer);
      begin_again(client);
    }
  }

  void take(client_model& client, const json::object& got) {
    const auto topic = std::string{got.at("channel").as_string()};
    const auto* const type = got.if_contains("type");
    if (!type) {
      REQUIRE(client.subscribed_to(topic));
      auto& at = client.seen[topic];
      CHECK(got.at("epoch").as_string() == at.epoch);
      CHECK(got.at("offset").to_number<std::uint64_t>() == at.offset + 1);
      ++at.offset;
      return;
    }
    if (*type == "unsubscribed") {
      auto& all = leaving_[&client];
      REQUIRE(!all.empty());
      CHECK(all.front() == topic);
      all.erase(all.begin());
      left_[&client][topic] = client.seen[topic];
      client.seen.erase(topic);
      return;
    }
    REQUIRE(*type == "subscribed");
    REQUIRE(client.asked.contains(topic));
    const auto asked = client.asked[topic];
    client.asked.erase(topic);
    topic_position at{std::string{got.at("epoch").as_string()}, got.at("offset").to_number<std::uint64_t>()};
    if (!asked.epoch.empty()) {
      REQUIRE(got.contains("recovered"));
      if (got.at("recovered") == true) {
        ++recovered;
        CHECK(asked.epoch == at.epoch);
        CHECK(asked.offset <= at.offset);
        at.offset = asked.offset;
      } else {
        // The truth: it has been trimmed.
        CHECK(at.offset - asked.offset > 12);
      }
    }
    client.seen[topic] = at;
  }

  std::mt19937_64 random_;
  protocol_fixture f_;
  std::array<client_model, 4> clients_;
  std::map<client_model*, std::map<std::string, topic_position>> left_;
  std::map<client_model*, std::vector<std::string>> leaving_;
  std::map<std::string, std::uint64_t> published_;
  std::vector<std::shared_ptr<std::optional<publish_report>>> reports_;
};

}  // namespace

TEST_SUITE("history") {
  // SKEIN_SEEDS sets how many; SKEIN_SEED runs one.
  TEST_CASE("random lives: nothing is lost, doubled or out of order") {
    const auto* const only = std::getenv("SKEIN_SEED");
    const auto* const many = std::getenv("SKEIN_SEEDS");
    const std::uint64_t first = only ? std::strtoull(only, nullptr, 10) : 1;
    const std::uint64_t last = only ? first : many ? std::strtoull(many, nullptr, 10) : 300;
    std::size_t recovered = 0;
    for (auto seed = first; seed <= last; ++seed) {
      INFO("SKEIN_SEED=" << seed);
      model one{seed};
      one.run(200);
      recovered += one.recovered;
    }
    if (!only) CHECK(recovered > last);
  }
}
