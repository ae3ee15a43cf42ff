#pragma once

// A server that speaks the JSON protocol at /ws. Topics under `orders` keep a history.

#include "http.hpp"
#include "test_server.hpp"

#include <skein/protocol.hpp>

#include <memory>
#include <utility>

namespace skein::test {

struct protocol_server {
  /// `kept`: publications of a topic's history.
  explicit protocol_server(std::size_t kept)
      : server(four_shards(), {}, [this](skein::server& where) {
          route_options how;
          how.authenticator = by_name;
          where.route(
              "/ws", [this](connection& client) { return protocol->serve(client); }, how);
        }) {
    topic_rule rule{"orders.>"};
    rule.history.emplace();
    rule.history->keep.max_messages = kept;
    topics_options keep;
    keep.rules = {rule};
    topics = make_topics(server.manager_pointer(), std::move(keep));
    users_options mailboxes;
    mailboxes.store = make_memory_store();
    users = make_users(server.manager_pointer(), std::move(mailboxes));
    protocol = std::make_unique<json_protocol>(topics, users);
  }
  static manager_options four_shards() {
    auto all = quiet_options();
    all.shards = 4;
    return all;
  }
  /// Whoever the parameter `token` names.
  static asio::awaitable<admission> by_name(const request& what) {
    identity who;
    who.user = what.query("token").value_or("");
    co_return who;
  }

  std::shared_ptr<skein::topics> topics;
  std::shared_ptr<skein::users> users;
  std::unique_ptr<json_protocol> protocol;
  test_server server;
};

}  // namespace skein::test
