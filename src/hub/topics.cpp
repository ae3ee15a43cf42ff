// Topics over the shards of one manager.

#include "connection/remote.hpp"
#include "hub/broadcast.hpp"
#include "hub/hub.hpp"
#include "hub/topics_core.hpp"

#include <skein/topics.hpp>

#include <boost/asio/co_spawn.hpp>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace skein {
namespace detail {

subscribed add_follower(shard& where, const topics_core& core, connection_impl& who,
                        const std::string& pattern, std::string info) {
  auto& index = where.followers;
  if (!is_topic_pattern(pattern)) {
    where.topic_counts.refused.add();
    return subscribed::invalid;
  }
  if (!who.is_open() || !where.serve_topics(core.number)) return subscribed::closed;
  if (index.has(who, pattern)) return subscribed::already;
  if (index.count(who) >= core.options.max_subscriptions) {
    where.topic_counts.refused.add();
    return subscribed::limit;
  }
  index.add(who, pattern);
  where.count_followers();
  if (is_topic(pattern) && core.rule_of(pattern).presence) {
    where.presence.join(core.board, who, pattern, std::move(info));
  }
  return subscribed::yes;
}

bool unfollow(shard& where, connection_impl& who, const std::string& pattern) {
  if (!where.followers.remove(who, pattern)) return false;
  where.presence.leave(who, pattern);
  where.end_catch_up(who, audience::kind::followers, pattern);
  where.count_followers();
  return true;
}

namespace {

void require(bool allowed, const char* what) {
  if (!allowed) throw std::invalid_argument{what};
}

asio::awaitable<subscribed> subscribe_on(std::shared_ptr<shard> where, std::shared_ptr<topics_core> core,
                                         std::shared_ptr<connection_impl> who, std::string pattern) {
  co_return add_follower(*where, *core, *who, pattern, {});
}

asio::awaitable<bool> unsubscribe_on(std::shared_ptr<shard> where, std::shared_ptr<connection_impl> who,
                                     std::string pattern) {
  co_return unfollow(*where, *who, pattern);
}

asio::awaitable<std::vector<std::string>> subscriptions_on(std::shared_ptr<shard> where,
                                                           std::shared_ptr<connection_impl> who) {
  co_return where->followers.patterns(*who);
}

asio::awaitable<presence_report> presence_on(std::shared_ptr<shard> where, std::string topic,
                                             std::size_t most) {
  presence_report part;
  std::vector<connection_impl*> found;
  where->followers.match_exactly(topic, found);
  part.count = found.size();
  if (found.size() > most) co_return part;
  for (const auto* const one : found) {
    part.members.push_back({one->id(), one->user().user, std::string{where->presence.info_of(*one, topic)}});
  }
  co_return part;
}

/// Publishes without anybody who waits: what goes wrong is said in the log. On the owner.
void publish_unawaited(const std::shared_ptr<shard>& owner, std::shared_ptr<topics_core> core,
                       const topic_history& history, std::string topic, prepared_message what, delivery how) {
  asio::co_spawn(owner->executor(),
                 publish_in_order(owner, core, history, topic, std::move(what), std::move(how)),
                 [core, topic](const std::exception_ptr& error, const publish_report&) {
                   if (error) core->shared->problem("topic " + topic + ": not published: " + what_of(error));
                 });
}

class hub_topics final : public topics {
 public:
  hub_topics(const hub& of, topics_options options) : core_(make_core(of, std::move(options))) {}
  ~hub_topics() override {
    // Not even if others are made at once, and used before this has run, do they have our followers.
    for (const auto& one : core_->shards) {
      one->post([one, next = core_->number + 1] { one->serve_topics(next); });
    }
    core_->shared->has_topics = false;
  }

  asio::awaitable<subscribed> subscribe(connection& who, std::string pattern) override {
    const auto mine = own(who, *core_->shared);
    const auto& where = mine.where;
    if (where->running_here()) co_return co_await subscribe_on(where, core_, mine.who, std::move(pattern));
    co_return co_await run_on(*where, subscribe_on(where, core_, mine.who, std::move(pattern)),
                              subscribed::closed);
  }

  asio::awaitable<subscribe_report> subscribe(connection& who, std::string pattern,
                                              subscription how) override {
    const auto mine = own(who, *core_->shared);
    const auto& where = mine.where;
    auto task = subscribe_and_recover(where, core_, mine.who, std::move(pattern), std::move(how));
    if (where->running_here()) co_return co_await std::move(task);
    subscribe_report gone;
    co_return co_await run_on(*where, std::move(task), std::move(gone));
  }

  asio::awaitable<bool> unsubscribe(connection& who, std::string pattern) override {
    const auto mine = own(who, *core_->shared);
    const auto& where = mine.where;
    if (where->running_here()) co_return co_await unsubscribe_on(where, mine.who, std::move(pattern));
    co_return co_await run_on(*where, unsubscribe_on(where, mine.who, std::move(pattern)), false);
  }

  asio::awaitable<std::vector<std::string>> subscriptions(connection& who) override {
    const auto mine = own(who, *core_->shared);
    const auto& where = mine.where;
    if (where->running_here()) co_return co_await subscriptions_on(where, mine.who);
    std::vector<std::string> none;
    co_return co_await run_on(*where, subscriptions_on(where, mine.who), std::move(none));
  }

  asio::awaitable<publish_report> publish(std::string topic, prepared_message what) override {
    return publish(std::move(topic), std::move(what), delivery());
  }

  asio::awaitable<publish_report> publish(std::string topic, prepared_message what, delivery how) override {
    check(topic, what, how);
    const auto core = core_;
    const auto& rule = core->rule_of(topic);
    choose_policy(how, rule, topic, what.payload());
    core->publications.fetch_add(1, std::memory_order_relaxed);
    publish_report report;
    if (rule.history) {
      const auto owner = core->owner_of(topic);
      auto task =
          publish_in_order(owner, core, *rule.history, std::move(topic), std::move(what), std::move(how));
      // Also if the owner is here: what cannot be cancelled is a coroutine of its own, not the caller.
      co_return co_await run_on(*owner, std::move(task), std::move(report));
    }
    auto whom = followers_of(*core, std::move(topic), what, report.position);
    const auto delivered = co_await deliver_to_all(core->shards, core->shared->time, std::move(what),
                                                   std::move(how), std::move(whom));
    static_cast<delivery_report&>(report) = delivered;
    co_return report;
  }

  void post_publish(std::string_view topic, prepared_message what) override {
    post_publish(topic, std::move(what), delivery());
  }

  void post_publish(std::string_view topic, prepared_message what, delivery how) override {
    check(topic, what, how);
    if (core_->shared->stopped.load(std::memory_order_relaxed)) return;
    core_->publications.fetch_add(1, std::memory_order_relaxed);
    std::string name{topic};
    const auto& rule = core_->rule_of(topic);
    choose_policy(how, rule, name, what.payload());
    if (!rule.history) {
      const auto whom = followers_of(*core_, std::move(name), what, {});
      post_to_all(core_->shards, what, how, whom);
      return;
    }
    const auto& owner = core_->owner_of(topic);
    if (owner->running_here()) {
      publish_unawaited(owner, core_, *rule.history, std::move(name), std::move(what), std::move(how));
      return;
    }
    owner->post([owner, core = core_, &history = *rule.history, name = std::move(name),
                 what = std::move(what), how = std::move(how)]() mutable {
      publish_unawaited(owner, std::move(core), history, std::move(name), std::move(what), std::move(how));
    });
  }

  [[nodiscard]] const topic_rule& rule_of(std::string_view topic) const override {
    return core_->rule_of(topic);
  }

  asio::awaitable<history_page> history(std::string topic, topic_position since, page_limits most) override {
    const auto core = core_;
    auto& store = store_of(topic);
    co_return co_await store.read(std::move(topic), std::move(since), most);
  }

  asio::awaitable<history_page> latest(std::string topic, page_limits most) override {
    const auto core = core_;
    auto& store = store_of(topic);
    auto since = co_await store.position(topic);
    since.offset -= std::min<std::uint64_t>(since.offset, most.max_messages);
    co_return co_await store.read(std::move(topic), std::move(since), most);
  }

  asio::awaitable<presence_report> presence(std::string topic) override {
    require(is_topic(topic), "presence: not a topic");
    const auto core = core_;
    presence_report all;
    for (const auto& one : core->shards) {
      presence_report none;
      const auto part =
          co_await run_on(*one, presence_on(one, topic, core->options.presence_members), std::move(none));
      all.count += part.count;
      all.members.insert(all.members.end(), part.members.begin(), part.members.end());
    }
    if (all.count > core->options.presence_members) all.members.clear();
    co_return all;
  }

  [[nodiscard]] topics_stats stats() const override {
    topics_stats all;
    for (const auto& one : core_->shards) {
      all.subscriptions += one->topic_counts.subscriptions.value();
      all.subscribers += one->topic_counts.subscribers.value();
      all.topics += one->topic_counts.topics.value();
      all.refused += one->topic_counts.refused.value();
    }
    all.publications = core_->publications.load(std::memory_order_relaxed);
    all.unkept = core_->unkept.load(std::memory_order_relaxed);
    all.recovered = core_->recovered.load(std::memory_order_relaxed);
    all.not_recovered = core_->not_recovered.load(std::memory_order_relaxed);
    all.replayed = core_->replayed.load(std::memory_order_relaxed);
    return all;
  }

 private:
  static std::shared_ptr<topics_core> make_core(const hub& of, topics_options options) {
    const bool remembers = std::ranges::any_of(
        options.rules, [](const auto& one) { return one.history && !one.history->durable; });
    if (!options.store && remembers) options.store = make_memory_store();
    auto board = std::make_shared<const presence_board>(
        presence_board{of.shards(), options.presence_members, options.presence_interval});
    return std::make_shared<topics_core>(of.shards(), of.shared(), std::move(options), std::move(board));
  }

  static void check(std::string_view topic, const prepared_message& what, const delivery& how) {
    require(is_topic(topic), "publish: not a topic");
    require(static_cast<bool>(what), "publish: the message is empty");
    require(how.policy() != overflow::wait, "publish: the policy cannot be wait");
  }

  [[nodiscard]] message_store& store_of(std::string_view topic) const {
    require(is_topic(topic), "history: not a topic");
    const auto& rule = core_->rule_of(topic);
    require(rule.history.has_value(), "history: this topic keeps none");
    return core_->store_of(*rule.history);
  }

  const std::shared_ptr<topics_core> core_;
};

}  // namespace
}  // namespace detail

std::shared_ptr<topics> make_topics(const std::shared_ptr<manager>& of, topics_options options) {
  const auto* const hub = dynamic_cast<const detail::hub*>(of.get());
  detail::require(hub != nullptr, "make_topics: this manager was not made by make_manager");
  detail::require(options.max_subscriptions >= 1, "max_subscriptions: at least 1");
  detail::require(options.presence_interval.count() > 0, "presence_interval: more than zero");
  for (const auto& rule : options.rules) {
    detail::require(is_topic_pattern(rule.pattern), "topic rule: not a topic or pattern");
    detail::require(rule.policy != overflow::wait, "topic rule: the policy cannot be wait");
    detail::require(rule.conflate_by.empty() || rule.policy == overflow::conflate,
                    "topic rule: conflate_by without the policy conflate");
    // Of what replaces one another by a field a later one may stand before an earlier one of another value.
    detail::require(rule.conflate_by.empty() || !rule.history,
                    "topic rule: conflate_by with a history, whose numbers ascend");
    detail::require(!rule.history || !rule.history->durable || options.durable_store,
                    "topic rule: a durable history without a durable store");
  }
  detail::require(!hub->shared()->has_topics.exchange(true), "make_topics: this manager has topics already");
  return std::make_shared<detail::hub_topics>(*hub, std::move(options));
}

}  // namespace skein
