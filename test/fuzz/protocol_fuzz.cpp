// A fuzz target: any text as requests of the JSON protocol, by two clients of one server with every kind of
// topic. Each answer is an object with a type or a channel; the server has nothing to complain of.
//
// An input: lines. The first byte of a line says which client sends the rest, or that time passes.

#include "memory_hub.hpp"

#include <skein/protocol.hpp>

#include <boost/json/parse.hpp>

#include <array>
#include <chrono>

namespace {

using namespace std::chrono_literals;
namespace json = boost::json;

std::vector<skein::topic_rule> rules() {
  skein::topic_rule history{"h.>"};
  history.history.emplace();
  history.history->keep.max_messages = 3;
  history.clients_publish = skein::topic_publishers::everybody;
  skein::topic_rule presence{"p.*"};
  presence.presence = true;
  presence.clients_publish = skein::topic_publishers::subscribers;
  skein::topic_rule prices{"c.>", skein::overflow::conflate};
  prices.conflate_by = "k";
  prices.clients_publish = skein::topic_publishers::everybody;
  return {history, presence, prices};
}

void look_at(skein::testing::memory_peer& client) {
  for (const auto& each : client.received()) {
    boost::system::error_code ec;
    const auto value = json::parse(each.payload(), ec);
    fuzz::require(!ec && value.is_object(), "an answer that is no object");
    const auto& answer = value.get_object();
    fuzz::require(answer.contains("type") || answer.contains("channel") || answer.contains("data"),
                  "an answer without a type");
    if (const auto* code = answer.if_contains("code"); code && answer.contains("message"))
      fuzz::require(*code != "internal_error", "an internal error");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::memory_hub where;
  skein::topics_options options;
  options.rules = rules();
  options.max_subscriptions = 4;
  skein::memory_store_options memory;
  memory.time = where.time;
  options.store = skein::make_memory_store(memory);
  const auto topics = skein::make_topics(where.hub, std::move(options));
  skein::users_options mailboxes;
  mailboxes.store = skein::make_memory_store(memory);
  const auto users = skein::make_users(where.hub, std::move(mailboxes));
  skein::protocol_options with;
  with.max_faults = 1000;
  const skein::json_protocol protocol{topics, users, std::move(with)};

  std::array<std::unique_ptr<skein::testing::memory_peer>, 2> clients;
  skein::identity ada;
  ada.user = "ada";
  clients[0] = skein::testing::connect(*where.hub, protocol.handler(), {}, ada);
  clients[1] = skein::testing::connect(*where.hub, protocol.handler());
  users->post_send("ada", skein::message::text(R"({"type":"note"})"), skein::delivery().stored());
  where.settle();
  for (const auto& line : fuzz::lines(data, size, 24)) {
    if (line.empty()) continue;
    const auto what = static_cast<unsigned char>(line.front());
    if (what == '+') {
      where.advance(1s);
    } else {
      auto& client = *clients[what % clients.size()];
      client.send(skein::message::text(line.substr(1)));
      where.settle();
    }
    for (const auto& each : clients) look_at(*each);
    where.settle();
  }
  for (const auto& each : clients) {
    look_at(*each);
    each->cut();
  }
  where.settle();
  where.end_within(1min);
  return 0;
}
