// Topics over the shards of one manager.

#include "connection/remote.hpp"
#include "hub/broadcast.hpp"
#include "hub/hub.hpp"

#include <skein/topics.hpp>

#include <atomic>
#include <stdexcept>
#include <utility>

namespace skein {
namespace detail {
namespace {

void require(bool allowed, const char* what) {
  if (!allowed) throw std::invalid_argument{what};
}

asio::awaitable<subscribed> subscribe_on(std::shared_ptr<shard> where, std::shared_ptr<connection_impl> who,
                                         std::string pattern, std::size_t most) {
  auto& index = where->followers;
  if (!is_topic_pattern(pattern)) {
    where->topic_counts.refused.add();
    co_return subscribed::invalid;
  }
  if (!who->is_open()) co_return subscribed::closed;
  if (index.has(*who, pattern)) co_return subscribed::already;
  if (index.count(*who) >= most) {
    where->topic_counts.refused.add();
    co_return subscribed::limit;
  }
  index.add(*who, pattern);
  where->count_followers();
  co_return subscribed::yes;
}

asio::awaitable<bool> unsubscribe_on(std::shared_ptr<shard> where, std::shared_ptr<connection_impl> who,
                                     std::string pattern) {
  const bool had = where->followers.remove(*who, pattern);
  where->count_followers();
  co_return had;
}

asio::awaitable<std::vector<std::string>> subscriptions_on(std::shared_ptr<shard> where,
                                                           std::shared_ptr<connection_impl> who) {
  co_return where->followers.patterns(*who);
}

audience_ref followers_of(std::string topic) {
  return std::make_shared<const audience>(audience{audience::kind::followers, std::move(topic)});
}

class hub_topics final : public topics {
 public:
  hub_topics(const hub& of, topics_options options)
      : shards_(of.shards()), shared_(of.shared()), options_(std::move(options)) {}
  ~hub_topics() override { shared_->has_topics = false; }

  asio::awaitable<subscribed> subscribe(connection& who, std::string pattern) override {
    const auto mine = own(who);
    const auto where = shard_of(*mine);
    if (where->running_here()) {
      co_return co_await subscribe_on(where, mine, std::move(pattern), options_.max_subscriptions);
    }
    co_return co_await run_on(*where,
                              subscribe_on(where, mine, std::move(pattern), options_.max_subscriptions),
                              subscribed::closed);
  }

  asio::awaitable<bool> unsubscribe(connection& who, std::string pattern) override {
    const auto mine = own(who);
    const auto where = shard_of(*mine);
    if (where->running_here()) co_return co_await unsubscribe_on(where, mine, std::move(pattern));
    co_return co_await run_on(*where, unsubscribe_on(where, mine, std::move(pattern)), false);
  }

  asio::awaitable<std::vector<std::string>> subscriptions(connection& who) override {
    const auto mine = own(who);
    const auto where = shard_of(*mine);
    if (where->running_here()) co_return co_await subscriptions_on(where, mine);
    std::vector<std::string> none;
    co_return co_await run_on(*where, subscriptions_on(where, mine), std::move(none));
  }

  asio::awaitable<delivery_report> publish(std::string topic, prepared_message what) override {
    auto how = rule_for(topic);
    return publish(std::move(topic), std::move(what), std::move(how));
  }

  asio::awaitable<delivery_report> publish(std::string topic, prepared_message what, delivery how) override {
    check(topic, what, how);
    publications_.fetch_add(1, std::memory_order_relaxed);
    auto whom = followers_of(std::move(topic));
    co_return co_await deliver_to_all(shards_, shared_->time, std::move(what), std::move(how),
                                      std::move(whom));
  }

  void post_publish(std::string_view topic, prepared_message what) override {
    post_publish(topic, std::move(what), rule_for(topic));
  }

  void post_publish(std::string_view topic, prepared_message what, delivery how) override {
    check(topic, what, how);
    if (shared_->stopped.load(std::memory_order_relaxed)) return;
    publications_.fetch_add(1, std::memory_order_relaxed);
    post_to_all(shards_, what, how, followers_of(std::string{topic}));
  }

  [[nodiscard]] topics_stats stats() const override {
    topics_stats all;
    for (const auto& one : shards_) {
      all.subscriptions += one->topic_counts.subscriptions.value();
      all.subscribers += one->topic_counts.subscribers.value();
      all.topics += one->topic_counts.topics.value();
      all.refused += one->topic_counts.refused.value();
    }
    all.publications = publications_.load(std::memory_order_relaxed);
    return all;
  }

 private:
  static void check(std::string_view topic, const prepared_message& what, const delivery& how) {
    require(is_topic(topic), "publish: not a topic");
    require(static_cast<bool>(what), "publish: the message is empty");
    require(how.policy() != overflow::wait, "publish: the policy cannot be wait");
  }

  [[nodiscard]] delivery rule_for(std::string_view topic) const {
    delivery how;
    if (!is_topic(topic)) return how;  // is refused in a moment
    for (const auto& rule : options_.rules) {
      if (!topic_matches(rule.pattern, topic)) continue;
      if (rule.policy == overflow::conflate) {
        how.conflate(std::string{topic});
      } else if (rule.policy == overflow::drop) {
        how.drop();
      }
      break;
    }
    return how;
  }

  [[nodiscard]] std::shared_ptr<connection_impl> own(connection& who) const {
    auto* const mine = dynamic_cast<connection_impl*>(&who);
    require(mine && &static_cast<shard&>(mine->where()).shared() == shared_.get(),
            "topics: this connection is not one of the manager's");
    return std::static_pointer_cast<connection_impl>(mine->shared_from_this());
  }

  [[nodiscard]] static std::shared_ptr<shard> shard_of(const connection_impl& who) {
    return static_cast<shard&>(who.where()).shared_from_this();
  }

  // Not the manager itself: a handler that has these must not be what keeps it.
  const std::vector<std::shared_ptr<shard>> shards_;
  const std::shared_ptr<hub_shared> shared_;
  const topics_options options_;
  std::atomic<std::uint64_t> publications_{0};
};

}  // namespace
}  // namespace detail

std::shared_ptr<topics> make_topics(const std::shared_ptr<manager>& of, topics_options options) {
  const auto* const hub = dynamic_cast<const detail::hub*>(of.get());
  detail::require(hub != nullptr, "make_topics: this manager was not made by make_manager");
  detail::require(options.max_subscriptions >= 1, "max_subscriptions: at least 1");
  for (const auto& rule : options.rules) {
    detail::require(is_topic_pattern(rule.pattern), "topic rule: not a topic or pattern");
    detail::require(rule.policy != overflow::wait, "topic rule: the policy cannot be wait");
  }
  detail::require(!hub->shared()->has_topics.exchange(true), "make_topics: this manager has topics already");
  return std::make_shared<detail::hub_topics>(*hub, std::move(options));
}

}  // namespace skein
