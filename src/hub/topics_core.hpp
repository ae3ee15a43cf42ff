#pragma once

// What the topics of one manager are made of, apart from the shards' indices: shared with the coroutines that
// publish and recover, which may outlive the topics.

#include "hub/hub.hpp"
#include "hub/presence.hpp"

#include <skein/topics.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skein::detail {

struct topics_core {
  // Not the manager itself: a handler that has topics must not be what keeps it.
  const std::vector<std::shared_ptr<shard>> shards;
  const std::shared_ptr<hub_shared> shared;
  const topics_options options;
  const std::shared_ptr<const presence_board> board;
  const topic_rule no_rule{};
  const std::shared_ptr<const topic_filter> filter =
      options.may_receive ? std::make_shared<const topic_filter>(options.may_receive) : nullptr;
  const std::uint64_t number = ++shared->topics_made;  ///< among those that the manager has had

  std::atomic<std::uint64_t> publications{0}, unkept{0}, recovered{0}, not_recovered{0}, replayed{0};

  [[nodiscard]] const topic_rule& rule_of(std::string_view topic) const noexcept;
  /// The shard that puts the publications of this topic in order.
  [[nodiscard]] const std::shared_ptr<shard>& owner_of(std::string_view topic) const noexcept {
    return detail::owner_of(shards, topic);
  }
  [[nodiscard]] message_store& store_of(const topic_history& of) const noexcept {
    return of.durable ? *options.durable_store : *options.store;
  }
};

/// What one shard does for a subscription; `pattern` may be anything.
[[nodiscard]] subscribed add_follower(shard& where, const topics_core& core, connection_impl& who,
                                      const std::string& pattern, std::string info);

/// Ends it, with what is held back for it; whether there was one.
bool unfollow(shard& where, connection_impl& who, const std::string& pattern);

/// Gives a delivery without a policy the one of the topic's rule.
void choose_policy(delivery& how, const topic_rule& rule, const std::string& topic, std::string_view payload);

/// Keeps, numbers and delivers a publication. Runs on the topic's owner. `history` is one of the core's.
[[nodiscard]] asio::awaitable<publish_report> publish_in_order(std::shared_ptr<shard> owner,
                                                               std::shared_ptr<topics_core> core,
                                                               const topic_history& history,
                                                               std::string topic, prepared_message what,
                                                               delivery how);

/// Subscribes and sends what was missed. Runs on the connection's shard.
[[nodiscard]] asio::awaitable<subscribe_report> subscribe_and_recover(std::shared_ptr<shard> where,
                                                                      std::shared_ptr<topics_core> core,
                                                                      std::shared_ptr<connection_impl> who,
                                                                      std::string pattern, subscription how);

/// Whom a publication is for. Its other form is made if anybody may want it.
[[nodiscard]] audience_ref followers_of(const topics_core& core, std::string topic,
                                        const prepared_message& what, const topic_position& at);

}  // namespace skein::detail
