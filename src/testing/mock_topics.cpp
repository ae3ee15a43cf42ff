#include <skein/testing.hpp>

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
  delivery_report report;
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

mock_topics& mock_topics::will_report(delivery_report report) {
  impl_->report = report;
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

asio::awaitable<bool> mock_topics::unsubscribe(connection& who, std::string pattern) {
  co_return impl_->subscriptions[who.id()].erase(pattern) > 0;
}

asio::awaitable<std::vector<std::string>> mock_topics::subscriptions(connection& who) {
  const auto& all = impl_->subscriptions[who.id()];
  co_return std::vector<std::string>(all.begin(), all.end());
}

asio::awaitable<delivery_report> mock_topics::publish(std::string topic, prepared_message what) {
  return publish(std::move(topic), std::move(what), delivery());
}

asio::awaitable<delivery_report> mock_topics::publish(std::string topic, prepared_message what,
                                                      delivery how) {
  impl_->take(std::move(topic), what, std::move(how));
  co_return impl_->report;
}

void mock_topics::post_publish(std::string_view topic, prepared_message what) {
  impl_->take(std::string{topic}, what, delivery());
}

void mock_topics::post_publish(std::string_view topic, prepared_message what, delivery how) {
  impl_->take(std::string{topic}, what, std::move(how));
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
  delivery_report report;
  std::vector<sent> record;
  std::map<std::string, std::vector<connection_id>> connections;
  std::vector<std::string> closed;

  void take(std::string user, const prepared_message& what, delivery how) {
    auto copied = copy_of(what, how.policy());
    record.push_back({std::move(user), std::move(copied), std::move(how)});
  }
};

mock_users::mock_users() : impl_(std::make_unique<impl>()) {}
mock_users::~mock_users() = default;

mock_users& mock_users::will_report(delivery_report report) {
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

asio::awaitable<delivery_report> mock_users::send(std::string user, prepared_message what, delivery how) {
  impl_->take(std::move(user), what, std::move(how));
  co_return impl_->report;
}

void mock_users::post_send(std::string_view user, prepared_message what, delivery how) {
  impl_->take(std::string{user}, what, std::move(how));
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
