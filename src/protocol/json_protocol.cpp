#include "hub/hub.hpp"
#include "protocol/answers.hpp"
#include "protocol/request_fields.hpp"

#include <skein/error.hpp>
#include <skein/protocol.hpp>

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <optional>
#include <utility>

namespace skein {

using namespace detail;  // NOLINT: this file is the inside of the protocol

namespace {

constexpr auto subscriptions_refused = static_cast<close_code>(4503);
constexpr std::size_t most_history = 1000;
constexpr std::size_t usual_history = 100;
constexpr std::size_t most_history_bytes = 256 * 1024;
// An answer does not wait until every subscriber has been written to.
constexpr auto publish_patience = std::chrono::milliseconds{1};

constexpr std::array<std::string_view, 9> own_types{
    "subscribe", "unsubscribe", "publish", "history", "presence", "ack", "auth", "refresh", "ping"};

/// The connection gets what is published, and sent to its user, in the protocol's form.
void want_envelopes(connection& client) {
  auto* const mine = dynamic_cast<connection_impl*>(&client);
  if (!mine) return;
  mine->wants_envelopes = true;
  static_cast<shard&>(mine->where()).shared().envelope_wanted.store(true, std::memory_order_relaxed);
}

[[noreturn]] void not_available(const std::string& why) {
  throw request_refusal{"not_available", why};
}

/// What a store's failure is called.
[[noreturn]] void refuse_for(const boost::system::system_error& failure) {
  if (failure.code() == errc::store_full || failure.code() == errc::message_too_big)
    throw request_refusal{"store_full", failure.code().message()};
  if (failure.code() == errc::store_unavailable)
    throw request_refusal{"store_unavailable", failure.code().message()};
  throw failure;
}

/// What a task of a store completes with, or its failure in the protocol's words.
template <class T>
asio::awaitable<T> of_store(asio::awaitable<T> task) {
  try {
    co_return co_await std::move(task);
  } catch (const boost::system::system_error& failure) {
    refuse_for(failure);
  }
}

}  // namespace

struct json_protocol::impl {
  impl(std::shared_ptr<topics> t, std::shared_ptr<users> u, protocol_options o)
      : the_topics(std::move(t)), the_users(std::move(u)), options(std::move(o)) {}

  const std::shared_ptr<topics> the_topics;
  const std::shared_ptr<users> the_users;
  const protocol_options options;
  std::map<std::string, request_handler, std::less<>> own;
  std::atomic<std::uint64_t> requests{0}, errors{0}, faults{0}, denied{0};

  asio::awaitable<void> welcome(connection& client);
  asio::awaitable<void> answer_request(connection& client, const json::object& request,
                                       const json::value* id);
  asio::awaitable<void> allow(connection& client, topic_action what, const std::string& channel);

  asio::awaitable<void> subscribe(connection& client, const json::object& request, const json::value* id);
  asio::awaitable<void> unsubscribe(connection& client, const json::object& request, const json::value* id);
  asio::awaitable<void> publish(connection& client, const json::object& request, const json::value* id);
  asio::awaitable<void> history(connection& client, const json::object& request, const json::value* id);
  asio::awaitable<void> presence(connection& client, const json::object& request, const json::value* id);
  asio::awaitable<void> acknowledge(connection& client, const json::object& request);
};

namespace {

/// How a request ended that was not done, and how heavy that is.
struct failure {
  std::string code;
  std::string text;
  std::string field{};
  std::chrono::milliseconds retry_after{};
  request_refusal::weight counts = request_refusal::weight::none;
  bool unexpected = false;
};

/// The exception that is being handled.
failure current_failure() {
  try {
    throw;
  } catch (const request_refusal& e) {
    return {e.code(), e.what(), e.field(), {}, e.counts()};
  } catch (const request_error& e) {
    return {e.code, e.what(), {}, e.retry_after};
  } catch (const boost::system::system_error& e) {
    if (e.code() == asio::error::operation_aborted) throw;
    return {"internal_error", e.what(), {}, {}, request_refusal::weight::none, true};
  } catch (const std::exception& e) {
    return {"internal_error", e.what(), {}, {}, request_refusal::weight::none, true};
  }
}

void report(connection& client, const std::string& line) {
  if (auto* const mine = dynamic_cast<connection_impl*>(&client)) mine->where().problem(line);
}

}  // namespace

// --- One connection ---

asio::awaitable<void> json_protocol::impl::welcome(connection& client) {
  auto hello = welcome_message(client, options);
  // Nothing may come between this and what waits for the user.
  client.post_send(std::move(hello));
  if (client.user().user.empty()) co_return;
  std::optional<failure> problem;
  try {
    co_await the_users->replay(client);
  } catch (...) {
    problem = current_failure();
  }
  if (!problem) co_return;
  report(client, "messages of " + client.user().user + ": not replayed: " + problem->text);
  co_await client.write(error_answer(nullptr, "store_unavailable", "stored messages cannot be read now"));
}

asio::awaitable<void> json_protocol::serve(connection& client) const {
  const auto self = impl_;
  want_envelopes(client);
  co_await self->welcome(client);
  std::size_t faults = 0, refused = 0;
  for (;;) {
    const auto received = co_await client.read();
    if (!received) co_return;
    self->requests.fetch_add(1, std::memory_order_relaxed);
    std::optional<failure> problem;
    json::object request;
    const json::value* id = nullptr;
    try {
      request = parse_request(*received, self->options.max_depth);
      // The id of an acknowledgement is the message's.
      const auto* const type = request.if_contains("type");
      if (!type || !type->is_string() || type->get_string() != "ack") id = request_id(request);
      co_await self->answer_request(client, request, id);
    } catch (...) {
      problem = current_failure();
    }
    if (!problem) continue;
    self->errors.fetch_add(1, std::memory_order_relaxed);
    if (problem->unexpected) {
      report(client, "a request failed: " + problem->text);
      problem->text = "the server failed";
    }
    co_await client.write(
        error_answer(id, problem->code, problem->text, problem->field, problem->retry_after));
    if (problem->counts == request_refusal::weight::none) continue;
    self->faults.fetch_add(1, std::memory_order_relaxed);
    if (problem->counts == request_refusal::weight::fault && ++faults >= self->options.max_faults) {
      co_await client.close(close_code::policy_violation, "too many bad requests");
      co_return;
    }
    if (problem->counts == request_refusal::weight::subscription && ++refused >= self->options.max_faults) {
      co_await client.close(subscriptions_refused, "too many bad subscriptions");
      co_return;
    }
  }
}

asio::awaitable<void> json_protocol::impl::answer_request(connection& client, const json::object& request,
                                                          const json::value* id) {
  const auto type = text_field(request, "type");
  if (type == "subscribe") {
    co_await subscribe(client, request, id);
  } else if (type == "unsubscribe") {
    co_await unsubscribe(client, request, id);
  } else if (type == "publish") {
    co_await publish(client, request, id);
  } else if (type == "history") {
    co_await history(client, request, id);
  } else if (type == "presence") {
    co_await presence(client, request, id);
  } else if (type == "ack") {
    co_await acknowledge(client, request);
  } else if (type == "ping") {
    co_await client.write(simple_answer(id, "pong"));
  } else if (const auto known = own.find(type); known != own.end()) {
    co_await known->second(client, request);
  } else {
    throw request_refusal{"unknown_type", "nothing here answers \"" + std::string{type.substr(0, 64)} + '"',
                          request_refusal::weight::fault, "type"};
  }
}

asio::awaitable<void> json_protocol::impl::allow(connection& client, topic_action what,
                                                 const std::string& channel) {
  if (!options.authorize) co_return;
  const bool may = co_await options.authorize(client, what, channel);
  if (may) co_return;
  denied.fetch_add(1, std::memory_order_relaxed);
  throw request_refusal{"not_allowed", "the rights of this connection do not reach that far"};
}

// --- Topics ---

asio::awaitable<void> json_protocol::impl::subscribe(connection& client, const json::object& request,
                                                     const json::value* id) {
  const auto channel = channel_field(request, true);
  subscription how;
  if (auto since = position_field(request, "recover")) how.recover(std::move(*since));
  if (const auto* const info = request.if_contains("info")) {
    auto text = json::serialize(*info);
    if (text.size() > options.max_info_bytes)
      throw bad_field("info", "is longer than " + std::to_string(options.max_info_bytes) + " bytes");
    how.info(std::move(text));
  }
  co_await allow(client, topic_action::subscribe, channel);

  const bool wants_recovery = how.since().has_value();
  how.announce([&](const subscribe_report& report) {
    auto fields = opening("subscribed", channel);
    add_position(fields, report.position);
    if (wants_recovery) fields["recovered"] = report.recovered;
    if (report.what == subscribed::already) fields["already"] = true;
    return answer(id, std::move(fields));
  });
  const auto report = co_await the_topics->subscribe(client, channel, std::move(how));
  if (report.what == subscribed::limit) {
    throw request_refusal{"too_many_subscriptions", "the connection has as many subscriptions as it may have",
                          request_refusal::weight::subscription};
  }
}

asio::awaitable<void> json_protocol::impl::unsubscribe(connection& client, const json::object& request,
                                                       const json::value* id) {
  const auto channel = channel_field(request, true);
  co_await the_topics->unsubscribe(client, channel);
  co_await client.write(simple_answer(id, "unsubscribed", channel));
}

asio::awaitable<void> json_protocol::impl::publish(connection& client, const json::object& request,
                                                   const json::value* id) {
  const auto channel = channel_field(request, false);
  const auto* const data = request.if_contains("data");
  if (!data) throw bad_field("data", "is missing");
  const auto& rule = the_topics->rule_of(channel);
  bool may = rule.clients_publish == topic_publishers::everybody;
  if (rule.clients_publish == topic_publishers::subscribers) {
    const auto mine = co_await the_topics->subscriptions(client);
    may = std::ranges::any_of(mine, [&](const auto& each) { return topic_matches(each, channel); });
  }
  if (!may) {
    denied.fetch_add(1, std::memory_order_relaxed);
    throw request_refusal{"not_allowed", "clients may not publish to this topic"};
  }
  co_await allow(client, topic_action::publish, channel);

  auto fields = opening("published", channel);
  auto what = message::text(json::serialize(*data));
  if (!rule.history) {
    the_topics->post_publish(channel, std::move(what));
  } else {
    auto task = the_topics->publish(channel, std::move(what), delivery().deadline(publish_patience));
    const auto report = co_await of_store(std::move(task));
    add_position(fields, report.position);
  }
  co_await client.write(answer(id, std::move(fields)));
}

asio::awaitable<void> json_protocol::impl::history(connection& client, const json::object& request,
                                                   const json::value* id) {
  const auto channel = channel_field(request, false);
  const auto limit = number_field(request, "limit", most_history, usual_history);
  const auto since = position_field(request, "since");
  co_await allow(client, topic_action::history, channel);
  if (!the_topics->rule_of(channel).history) not_available("this topic keeps no history");

  const page_limits most{limit, most_history_bytes};
  auto task = since ? the_topics->history(channel, *since, most) : the_topics->latest(channel, most);
  const auto page = co_await of_store(std::move(task));
  const auto recovered = since ? std::optional{page.recovered} : std::nullopt;
  co_await client.write(history_answer(id, channel, page, recovered));
}

asio::awaitable<void> json_protocol::impl::presence(connection& client, const json::object& request,
                                                    const json::value* id) {
  const auto channel = channel_field(request, false);
  co_await allow(client, topic_action::presence, channel);
  if (!the_topics->rule_of(channel).presence) not_available("this topic has no presence");
  const auto report = co_await the_topics->presence(channel);
  co_await client.write(presence_answer(id, channel, report));
}

// --- The user's messages ---

asio::awaitable<void> json_protocol::impl::acknowledge(connection& client, const json::object& request) {
  const auto ids = stored_ids(request);
  const auto& user = client.user().user;
  if (user.empty())
    throw request_refusal{"not_available", "nothing is stored for a connection without a user"};
  for (const auto id : ids) co_await of_store(the_users->acknowledge(user, id));
  co_await client.write(simple_answer(&request.at("id"), "acked"));
}

// --- The outside ---

json_protocol::json_protocol(std::shared_ptr<topics> of, std::shared_ptr<users> to,
                             protocol_options options) {
  const auto require = [](bool allowed, const char* what) {
    if (!allowed) throw std::invalid_argument{what};
  };
  require(of && to, "json_protocol: topics and users are needed");
  require(options.max_depth >= 1 && options.max_depth <= 256, "max_depth: from 1 to 256");
  require(options.max_faults >= 1, "max_faults: at least 1");
  impl_ = std::make_shared<impl>(std::move(of), std::move(to), std::move(options));
}

json_protocol& json_protocol::on(std::string type, request_handler answer) {
  const bool taken = std::ranges::find(own_types, type) != own_types.end() || impl_->own.contains(type);
  if (taken || type.empty() || !answer)
    throw std::invalid_argument{"json_protocol: \"" + type + "\" is taken"};
  impl_->own.emplace(std::move(type), std::move(answer));
  return *this;
}

skein::handler json_protocol::handler() const {
  return [self = *this](connection& client) { return self.serve(client); };
}

protocol_stats json_protocol::stats() const {
  protocol_stats all;
  all.requests = impl_->requests.load(std::memory_order_relaxed);
  all.errors = impl_->errors.load(std::memory_order_relaxed);
  all.faults = impl_->faults.load(std::memory_order_relaxed);
  all.not_allowed = impl_->denied.load(std::memory_order_relaxed);
  return all;
}

prepared_message answer_to(const json::object& request, json::object fields) {
  return answer(request.if_contains("id"), std::move(fields));
}

}  // namespace skein
