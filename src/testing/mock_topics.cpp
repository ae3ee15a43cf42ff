#include <skein/testing.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <utility>

namespace skein::testing {
namespace {

message copy_of(const prepared_message& what, overflow policy) {
  if (!what) throw std::invalid_argument("there is no message to send");
  if (policy == overflow::wait) throw std::invalid_argument("the policy cannot be wait");
  return {what.type(), std::string{what.payload()}};
}

}  // namespace

// --- Topics ---

struct mock_topics::impl {
  publish_report report;
  std::vector<topic_rule> rules;
  const topic_rule no_rule{};
  std::optional<subscribed> answer;
  std::vector<published> record;
  std::map<connection_id, std::set<std::string>> subscriptions;

  void take(std::string topic, const prepared_message& what, delivery how) {
    if (!is_topic(topic)) throw std::invalid_argument("not a topic");
    auto copied = copy_of(what, how.policy());
    record.push_back({std::move(topic), std::move(copied), std::move(how)});
  }
};

mock_topics::mock_topics() : impl_(std::make_unique<impl>()) {}
mock_topics::~mock_topics() = default;

mock_topics& mock_topics::will_report(const delivery_report& report) {
  static_cast<delivery_report&>(impl_->report) = report;
  return *this;
}

mock_topics& mock_topics::with_rules(std::vector<topic_rule> rules) {
  impl_->rules = std::move(rules);
  return *this;
}

mock_topics& mock_topics::will_answer(subscribed what) {
  impl_->answer = what;
  return *this;
}

const std::vector<mock_topics::published>& mock_topics::record() const noexcept {
  return impl_->record;
}

asio::awaitable<subscribed> mock_topics::subscribe(connection& who, std::string pattern) {
  if (impl_->answer) co_return *impl_->answer;
  if (!is_topic_pattern(pattern)) co_return subscribed::invalid;
  if (!who.is_open()) co_return subscribed::closed;
  const bool added = impl_->subscriptions[who.id()].insert(std::move(pattern)).second;
  co_return added ? subscribed::yes : subscribed::already;
}

asio::awaitable<subscribe_report> mock_topics::subscribe(connection& who, std::string pattern,
                                                         subscription how) {
  subscribe_report report;
  report.what = co_await subscribe(who, std::move(pattern));
  const bool holds = report.what == subscribed::yes || report.what == subscribed::already;
  if (holds && how.announce()) {
    auto announced = how.announce()(report);
    if (announced) co_await who.write(std::move(announced));
  }
  co_return report;
}

asio::awaitable<bool> mock_topics::unsubscribe(connection& who, std::string pattern) {
  co_return impl_->subscriptions[who.id()].erase(pattern) > 0;
}

asio::awaitable<std::vector<std::string>> mock_topics::subscriptions(connection& who) {
  const auto& all = impl_->subscriptions[who.id()];
  co_return std::vector<std::string>(all.begin(), all.end());
}

asio::awaitable<publish_report> mock_topics::publish(std::string topic, prepared_message what) {
  return publish(std::move(topic), std::move(what), delivery());
}

asio::awaitable<publish_report> mock_topics::publish(std::string topic, prepared_message what, delivery how) {
  impl_->take(std::move(topic), what, std::move(how));
  co_return impl_->report;
}

void mock_topics::post_publish(std::string_view topic, prepared_message what) {
  impl_->take(std::string{topic}, what, delivery());
}

void mock_topics::post_publish(std::string_view topic, prepared_message what, delivery how) {
  impl_->take(std::string{topic}, what, std::move(how));
}

const topic_rule& mock_topics::rule_of(std::string_view topic) const {
  for (const auto& rule : impl_->rules) {
    if (topic_matches(rule.pattern, topic)) return rule;
  }
  return impl_->no_rule;
}

asio::awaitable<history_page> mock_topics::history(std::string topic, topic_position since,
                                                   page_limits most) {
  history_page page;
  page.current.epoch = "mock";
  page.recovered = since.epoch == page.current.epoch;
  for (const auto& each : impl_->record) {
    if (each.topic != topic) continue;
    ++page.current.offset;
    if (page.recovered && page.current.offset <= since.offset) continue;
    if (page.publications.size() == most.max_messages) {
      page.more = true;
      continue;
    }
    page.publications.push_back({page.current.offset, {}, each.what});
  }
  co_return page;
}

asio::awaitable<history_page> mock_topics::latest(std::string topic, page_limits most) {
  const auto count = static_cast<std::uint64_t>(
      std::ranges::count(impl_->record, topic, [](const published& each) { return each.topic; }));
  topic_position since{"mock", count - std::min<std::uint64_t>(count, most.max_messages)};
  return history(std::move(topic), std::move(since), most);
}

asio::awaitable<presence_report> mock_topics::presence(std::string topic) {
  presence_report report;
  for (const auto& [id, patterns] : impl_->subscriptions) {
    if (patterns.contains(topic)) report.members.push_back({id, {}, {}});
  }
  report.count = report.members.size();
  co_return report;
}

topics_stats mock_topics::stats() const {
  topics_stats counted;
  for (const auto& [id, patterns] : impl_->subscriptions) {
    counted.subscriptions += patterns.size();
    counted.subscribers += patterns.empty() ? 0 : 1;
  }
  counted.publications = impl_->record.size();
  return counted;
}

// --- Users ---

struct mock_users::impl {
  user_report report;
  std::map<std::string, std::vector<stored_message>> mailboxes;
  users_stats counted;
  std::vector<sent> record;
  std::map<std::string, std::vector<connection_id>> connections;
  std::vector<std::string> closed;

  user_report take(std::string user, const prepared_message& what, delivery how) {
    auto copied = copy_of(what, how.policy());
    auto answer = report;
    if (how.is_stored()) {
      ++counted.stored;
      if (answer.id == 0) answer.id = counted.stored;
      mailboxes[user].push_back({answer.id, {}, what});
    }
    record.push_back({std::move(user), std::move(copied), std::move(how)});
    return answer;
  }
};

mock_users::mock_users() : impl_(std::make_unique<impl>()) {}
mock_users::~mock_users() = default;

mock_users& mock_users::will_report(const user_report& report) {
  impl_->report = report;
  return *this;
}

mock_users& mock_users::with_connections(std::string user, std::vector<connection_id> ids) {
  impl_->connections[std::move(user)] = std::move(ids);
  return *this;
}

const std::vector<mock_users::sent>& mock_users::record() const noexcept {
  return impl_->record;
}

const std::vector<std::string>& mock_users::closed() const noexcept {
  return impl_->closed;
}

asio::awaitable<user_report> mock_users::send(std::string user, prepared_message what, delivery how) {
  co_return impl_->take(std::move(user), what, std::move(how));
}

void mock_users::post_send(std::string_view user, prepared_message what, delivery how) {
  impl_->take(std::string{user}, what, std::move(how));
}

asio::awaitable<std::size_t> mock_users::replay(connection& to) {
  const auto messages = impl_->mailboxes[to.user().user];
  for (const auto& each : messages) co_await to.write(each.what);
  impl_->counted.replayed += messages.size();
  co_return messages.size();
}

asio::awaitable<bool> mock_users::acknowledge(std::string user, stored_id id) {
  const bool was_there =
      std::erase_if(impl_->mailboxes[user], [id](const auto& each) { return each.id == id; }) > 0;
  if (was_there) ++impl_->counted.acknowledged;
  co_return was_there;
}

asio::awaitable<std::vector<stored_message>> mock_users::waiting(std::string user, stored_id after,
                                                                 page_limits most) {
  std::vector<stored_message> found;
  for (const auto& each : impl_->mailboxes[user]) {
    if (each.id > after && found.size() < most.max_messages) found.push_back(each);
  }
  co_return found;
}

users_stats mock_users::stats() const {
  return impl_->counted;
}

asio::awaitable<std::vector<connection_id>> mock_users::connections(std::string user) {
  co_return impl_->connections[user];
}

asio::awaitable<std::size_t> mock_users::close(std::string user, close_code code, std::string) {
  if (code != close_code::none && !is_sendable(code))
    throw std::invalid_argument("close code may not be sent");
  const auto count = impl_->connections[user].size();
  impl_->closed.push_back(std::move(user));
  co_return count;
}

}  // namespace skein::testing
