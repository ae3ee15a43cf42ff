// Topics that remember: publications in the order of their numbers, and subscriptions that recover.

#include "hub/broadcast.hpp"
#include "hub/envelope.hpp"
#include "hub/replay.hpp"
#include "hub/topic_name.hpp"
#include "hub/topics_core.hpp"

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>

#include <stdexcept>
#include <utility>

namespace skein::detail {
namespace {

prepared_message form_for(const connection_impl& who, const std::string& topic, const std::string& epoch,
                          const publication& one) {
  return who.wants_envelopes ? enveloped(one.what, {topic, epoch, one.offset}) : one.what;
}

/// The publications of a page, each when there is room for it; false once the connection is closed.
asio::awaitable<bool> send_page(std::shared_ptr<connection_impl> who, const std::string& topic,
                                const history_page& page, catch_up& state, subscribe_report& report) {
  for (const auto& each : page.publications) {
    if (state.withdrawn) co_return false;
    const auto queued =
        co_await who->send(form_for(*who, topic, page.current.epoch, each), delivery().wait());
    if (queued == outcome::closed) co_return false;
    state.last = each.offset;
    ++report.replayed;
  }
  co_return true;
}

/// A store's answer, or why there is none.
struct first_answer {
  history_page page;
  bool known = false;
  std::string problem;
};

asio::awaitable<first_answer> ask(message_store& store, std::string topic,
                                  std::optional<topic_position> since) {
  first_answer answer;
  try {
    if (since) {
      answer.page = co_await store.read(std::move(topic), std::move(*since), replay_page);
    } else {
      answer.page.current = co_await store.position(std::move(topic));
    }
    answer.known = true;
  } catch (const boost::system::system_error& e) {
    if (e.code() == asio::error::operation_aborted) throw;
    answer.problem = e.code().message();
  }
  co_return answer;
}

void announce(connection_impl& who, const subscription& how, const subscribe_report& report) {
  if (!how.announce()) return;
  const auto what = how.announce()(report);
  if (what) who.offer(what.block(), overflow::evict, nullptr, nullptr);
}

/// Sends everything up to what comes live.
asio::awaitable<bool> replay(message_store& store, std::shared_ptr<connection_impl> who, std::string topic,
                             history_page page, catch_up& state, subscribe_report& report) {
  for (;;) {
    const bool open = co_await send_page(who, topic, page, state, report);
    if (!open || state.withdrawn) co_return false;
    if (!page.more && !state.overflowed) co_return true;
    state.overflowed = false;
    topic_position reached{state.epoch, state.last};
    auto next = co_await ask(store, topic, std::move(reached));
    // It was promised that nothing is missing: a client that comes back is told the truth.
    if (!next.known || !next.page.recovered) co_return false;
    page = std::move(next.page);
  }
}

}  // namespace

const topic_rule& topics_core::rule_of(std::string_view topic) const noexcept {
  for (const auto& rule : options.rules) {
    if (topic_matches(rule.pattern, topic)) return rule;
  }
  return no_rule;
}

void choose_policy(delivery& how, const topic_rule& rule, const std::string& topic,
                   std::string_view payload) {
  if (rule.history && how.policy() == overflow::conflate && how.key() && *how.key() != topic)
    throw std::invalid_argument{"publish: a topic with a history conflates by topic"};
  if (how.has_policy()) return;
  if (rule.policy == overflow::drop) how.drop();
  if (rule.policy != overflow::conflate) return;
  // A control character is in no topic.
  how.conflate(rule.conflate_by.empty() ? topic : topic + '\n' + field_of(payload, rule.conflate_by));
}

audience_ref followers_of(const topics_core& core, std::string topic, const prepared_message& what,
                          const topic_position& at) {
  audience whom{audience::kind::followers, std::move(topic)};
  if (core.shared->envelope_wanted.load(std::memory_order_relaxed)) {
    whom.enveloped = enveloped(what, {whom.name, at.epoch, at.offset});
  }
  whom.epoch = at.epoch;
  whom.number = at.offset;
  whom.filter = core.filter;
  return std::make_shared<const audience>(std::move(whom));
}

asio::awaitable<publish_report> publish_in_order(std::shared_ptr<shard> owner,
                                                 std::shared_ptr<topics_core> core,
                                                 const topic_history& history, std::string topic,
                                                 prepared_message what, delivery how) {
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  turnstile::place place{owner->order, *owner, 't' + topic};
  publish_report report;
  std::exception_ptr failure;
  try {
    report.position = co_await core->store_of(history).append(topic, what, history.keep);
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) {
    core->unkept.fetch_add(1, std::memory_order_relaxed);
    if (!history.deliver_unkept) std::rethrow_exception(failure);
  }
  co_await place.turn();
  auto whom = followers_of(*core, topic, what, report.position);
  place.leave();  // the next one goes on after this has gone out
  const auto delivered = co_await deliver_to_all(core->shards, core->shared->time, std::move(what),
                                                 std::move(how), std::move(whom));
  static_cast<delivery_report&>(report) = delivered;
  co_return report;
}

asio::awaitable<subscribe_report> subscribe_and_recover(std::shared_ptr<shard> where,
                                                        std::shared_ptr<topics_core> core,
                                                        std::shared_ptr<connection_impl> who,
                                                        std::string pattern, subscription how) {
  subscribe_report report;
  report.what = add_follower(*where, *core, *who, pattern, how.info());
  if (report.what != subscribed::yes && report.what != subscribed::already) co_return report;
  const auto& rule = has_wildcards(pattern) ? core->no_rule : core->rule_of(pattern);
  if (how.is_blind_to_presence()) where->presence.hide_from(*who, pattern);
  if (report.what == subscribed::already) {
    if (rule.history) {
      auto now = co_await ask(core->store_of(*rule.history), pattern, std::nullopt);
      report.position = std::move(now.page.current);
    }
    announce(*who, how, report);
    co_return report;
  }
  if (!rule.history) {
    announce(*who, how, report);
    co_return report;
  }

  std::exception_ptr cancelled;
  std::shared_ptr<const catch_up> told;
  try {
    const held_back held{*where, *who, audience::kind::followers, pattern};
    told = held.shared();
    auto& state = held.state();
    auto& store = core->store_of(*rule.history);
    auto answer = co_await ask(store, pattern, how.since());
    if (!answer.known) where->problem("topic " + pattern + ": no recovery: " + answer.problem);
    report.position = answer.page.current;
    report.recovered = answer.known && how.since() && answer.page.recovered;
    if (!state.withdrawn) announce(*who, how, report);
    if (how.since()) (report.recovered ? core->recovered : core->not_recovered).fetch_add(1);
    state.epoch = report.position.epoch;
    state.last = report.recovered ? how.since()->offset : report.position.offset;
    if (!report.recovered) {
      answer.page.publications.clear();
      answer.page.more = false;
    }
    // Even with nothing to recover: more may have come meanwhile than could be held.
    const bool whole = co_await replay(store, who, pattern, std::move(answer.page), state, report);
    core->replayed.fetch_add(report.replayed, std::memory_order_relaxed);
    if (!whole && state.withdrawn) {
      report.what = subscribed::withdrawn;
    } else if (!whole) {
      report.what = subscribed::closed;
      // Too slow for what is kept. Before what is held gets through, which would follow a gap.
      if (who->is_open()) who->evict();
    }
  } catch (...) {
    cancelled = std::current_exception();
  }
  if (cancelled) {
    // Unless somebody has ended this subscription before: if there is one, it is another.
    if (!told || !told->withdrawn) unfollow(*where, *who, pattern);
    std::rethrow_exception(cancelled);
  }
  co_return report;
}

}  // namespace skein::detail
