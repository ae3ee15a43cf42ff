// Recovery on a real server with several shards: clients that are cut at random moments miss nothing.

#include "protocol_server.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <random>
#include <thread>

using namespace skein;
using namespace skein::test;
namespace json = boost::json;

namespace {

constexpr std::uint64_t publications = 2'000;
constexpr const char* topic = "orders.all";

json::object next_of(raw_client& client) {
  const auto got = client.read_message();
  if (!got || got->opcode != 1) return {};
  return json::parse(got->payload).as_object();
}

/// Comes and goes until it has seen everything; says what is wrong, or nothing.
std::string follow(std::uint16_t port, std::uint64_t seed, const std::string& epoch, std::atomic<int>& cuts) {
  std::mt19937_64 random{seed};
  std::uint64_t seen = 0;
  while (seen < publications) {
    raw_client client{port};
    if (client.open("/ws").status != 101) return "no connection";
    if (next_of(client)["type"] != "welcome") return "no welcome";
    json::object request{{"type", "subscribe"}, {"channel", topic}};
    request["recover"] = json::object{{"epoch", epoch}, {"offset", seen}};
    client.send(text_frame(json::serialize(request)));
    // Some go before they have the answer.
    if (random() % 8 == 0) {
      client.reset();
      ++cuts;
      continue;
    }
    const auto answer = next_of(client);
    if (!answer.contains("recovered") || answer.at("recovered") != true)
      return "not recovered: " + json::serialize(answer);
    for (auto left = 1 + random() % 100; left > 0 && seen < publications; --left) {
      const auto got = next_of(client);
      if (!got.contains("offset")) return "not a publication: " + json::serialize(got);
      if (got.at("offset").to_number<std::uint64_t>() != ++seen)
        return "expected " + std::to_string(seen) + ", got " + json::serialize(got);
      if (got.at("n").to_number<std::uint64_t>() != seen)
        return "another publication: " + json::serialize(got);
    }
    client.reset();
    ++cuts;
  }
  return {};
}

}  // namespace

TEST_SUITE("topics") {
  TEST_CASE("clients that are cut at random moments recover every publication, in order, on every shard") {
    protocol_server of{publications};
    const auto start = await(of.topics->latest(topic, page_limits())).current;
    REQUIRE(start.offset == 0);
    std::atomic<int> cuts{0};
    std::array<std::string, 4> wrong;
    std::vector<std::thread> clients;
    for (std::size_t i = 0; i < wrong.size(); ++i) {
      clients.emplace_back([&, i] { wrong[i] = follow(of.server.port(), i + 1, start.epoch, cuts); });
    }
    for (std::uint64_t n = 1; n <= publications; ++n) {
      auto what = message::text("{\"n\":" + std::to_string(n) + "}");
      if (n % 4 != 0) {
        of.topics->post_publish(topic, std::move(what));
        continue;
      }
      const auto report = await(of.topics->publish(topic, std::move(what)));
      CHECK(report.position.offset == n);
      CHECK(report.balanced());
    }
    for (auto& each : clients) each.join();
    for (const auto& each : wrong) CHECK(each == "");
    CHECK(cuts > 4 * 20);
    CHECK(of.topics->stats().not_recovered == 0);
  }
}
