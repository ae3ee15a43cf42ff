#include "app/statistics.hpp"

#include <skein/message_store.hpp>
#include <skein/protocol.hpp>
#include <skein/topics.hpp>
#include <skein/users.hpp>

namespace skein::app {
namespace {

namespace json = boost::json;

json::object to_json(const topics_stats& now) {
  return {{"subscriptions", now.subscriptions},
          {"subscribers", now.subscribers},
          {"topics", now.topics},
          {"publications", now.publications},
          {"refused", now.refused},
          {"unkept", now.unkept},
          {"recovered", now.recovered},
          {"not_recovered", now.not_recovered},
          {"replayed", now.replayed}};
}

json::object to_json(const users_stats& now) {
  return {{"stored", now.stored},
          {"unkept", now.unkept},
          {"pushed_out", now.pushed_out},
          {"replayed", now.replayed},
          {"acknowledged", now.acknowledged}};
}

json::object to_json(const store_stats& now, const store_health& health) {
  return {{"available", health.available},    {"appends", now.appends}, {"kept", now.kept},
          {"acknowledged", now.acknowledged}, {"trimmed", now.trimmed}, {"shed", now.shed},
          {"forgotten", now.forgotten},       {"expired", now.expired}, {"pushed_out", now.pushed_out},
          {"refused", now.refused},           {"failed", now.failed},   {"commits", now.commits},
          {"bytes_in", now.bytes_in},         {"queued", now.queued},   {"bytes", now.bytes}};
}

json::object to_json(const protocol_stats& now) {
  return {{"requests", now.requests},
          {"errors", now.errors},
          {"faults", now.faults},
          {"not_allowed", now.not_allowed}};
}

}  // namespace

void add_statistics(server& to, const std::shared_ptr<const topics>& of_topics,
                    const std::shared_ptr<const users>& of_users,
                    const std::shared_ptr<const message_store>& of_store, const json_protocol* of_protocol) {
  if (of_topics) to.add_statistics("topics", [of_topics] { return to_json(of_topics->stats()); });
  if (of_users) to.add_statistics("users", [of_users] { return to_json(of_users->stats()); });
  if (of_store)
    to.add_statistics("store", [of_store] { return to_json(of_store->stats(), of_store->health()); });
  if (of_protocol) to.add_statistics("protocol", [of = *of_protocol] { return to_json(of.stats()); });
}

}  // namespace skein::app
