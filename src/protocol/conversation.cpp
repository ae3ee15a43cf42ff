#include "protocol/conversation.hpp"

#include "hub/hub.hpp"
#include "protocol/answers.hpp"

#include <skein/error.hpp>

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace skein::detail {
namespace {

constexpr auto subscriptions_refused = static_cast<close_code>(4503);
constexpr std::size_t most_history = 1000;
constexpr std::size_t usual_history = 100;
constexpr std::size_t most_history_bytes = 256 * 1024;
// An answer does not wait until every subscriber has been written to.
constexpr auto publish_patience = std::chrono::milliseconds{1};
constexpr auto try_later = std::chrono::milliseconds{5000};

/// What passes by itself may be tried again; zero for the rest.
std::chrono::milliseconds retry_after(std::string_view code) noexcept {
  const bool passes = code == "store_full" || code == "store_unavailable" || code == "keys_unavailable";
  return passes ? try_later : std::chrono::milliseconds{0};
}

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

/// By the clock of its shard; nothing if it has none.
std::optional<time_point> time_of(connection& client) {
  auto* const mine = dynamic_cast<connection_impl*>(&client);
  if (!mine) return std::nullopt;
  return mine->where().now();
}

void report(connection& client, const std::string& line) {
  if (auto* const mine = dynamic_cast<connection_impl*>(&client)) mine->where().problem(line);
}

}  // namespace

/// The exception that is being handled.
conversation::failure conversation::current_failure() {
  try {
    throw;
  } catch (const request_refusal& e) {
    return {e.code(), e.what(), e.field(), retry_after(e.code()), e.counts()};
  } catch (const request_error& e) {
    return {e.code, e.what(), {}, e.retry_after};
  } catch (const std::exception& e) {
    return {"internal_error", e.what(), {}, {}, request_refusal::weight::none, true};
  }
}

/// A failure may be that of something else that was cancelled, and is no reason to end; or the handler is.
asio::awaitable<void> conversation::stop_if_cancelled() {
  const auto state = co_await asio::this_coro::cancellation_state;
  if (state.cancelled() != asio::cancellation_type::none)
    throw boost::system::system_error{asio::error::operation_aborted};
}

asio::awaitable<void> conversation::welcome() {
  auto hello = welcome_message(client_, protocol_->options, token_left());
  // Nothing may come between this and what waits for the user.
  client_.post_send(std::move(hello));
  if (client_.user().user.empty()) co_return;
  co_await replay_stored();
}

asio::awaitable<void> conversation::replay_stored() {
  const bool first = !replay_due_;
  replay_due_.reset();
  std::optional<failure> problem;
  try {
    co_await protocol_->users->replay(client_);
  } catch (...) {
    problem = current_failure();
  }
  if (!problem) co_return;
  co_await stop_if_cancelled();
  if (const auto now = time_of(client_)) replay_due_ = deadline_after(*now, try_later);
  if (!first) co_return;
  report(client_, "messages of " + client_.user().user + ": not replayed: " + problem->text);
  auto told = error_answer(nullptr, "store_unavailable", "stored messages cannot be read now", {}, try_later);
  co_await client_.write(std::move(told));
}

asio::awaitable<void> conversation::run() {
  want_envelopes(client_);
  co_await welcome();
  for (;;) {
    const auto received = co_await client_.read();
    if (!received) co_return;
    protocol_->requests.fetch_add(1, std::memory_order_relaxed);
    if (replay_due_ && time_of(client_) >= replay_due_) co_await replay_stored();
    std::optional<failure> problem;
    json::object request;
    const json::value* id = nullptr;
    try {
      request = parse_request(*received, protocol_->options.max_depth);
      asked_ = received->payload();
      const auto type = text_field(request, "type");
      if (type != "ack") {
        id = request_id(request);
      } else if (const auto* const whose = request.if_contains("id");
                 whose && (whose->is_number() || whose->is_array())) {
        id = whose;  // the message's, or several
      }
      co_await answer_request(type, request, id);
    } catch (...) {
      problem = current_failure();
    }
    if (!problem) continue;
    co_await stop_if_cancelled();
    const bool more = co_await go_on_after(std::move(*problem), id);
    if (!more) co_return;
  }
}

asio::awaitable<bool> conversation::go_on_after(failure problem, const json::value* id) {
  protocol_->errors.fetch_add(1, std::memory_order_relaxed);
  if (problem.unexpected) {
    report(client_, "a request failed: " + problem.text);
    problem.text = "the server failed";
  }
  co_await client_.write(error_answer(id, problem.code, problem.text, problem.field, problem.retry_after));
  if (problem.counts == request_refusal::weight::none) co_return true;
  protocol_->faults.fetch_add(1, std::memory_order_relaxed);
  const auto most = protocol_->options.max_faults;
  if (problem.counts == request_refusal::weight::fault && ++faults_ >= most) {
    co_await client_.close(close_code::policy_violation, "too many bad requests");
    co_return false;
  }
  if (problem.counts == request_refusal::weight::subscription && ++refused_subscriptions_ >= most) {
    co_await client_.close(subscriptions_refused, "too many bad subscriptions");
    co_return false;
  }
  co_return true;
}

bool conversation::answers(std::string_view type) noexcept {
  return std::ranges::find(answered, type, &request_kind::type) != answered.end();
}

asio::awaitable<void> conversation::answer_request(std::string_view type, const json::object& request,
                                                   const json::value* id) {
  const auto known = std::ranges::find(answered, type, &request_kind::type);
  if (known != answered.end()) {
    co_await (this->*known->answer)(request, id);
    co_return;
  }
  const auto own = protocol_->own.find(type);
  if (own == protocol_->own.end()) {
    throw request_refusal{"unknown_type", "nothing here answers \"" + std::string{type.substr(0, 64)} + '"',
                          request_refusal::weight::fault, "type"};
  }
  co_await own->second(client_, request);
}

asio::awaitable<bool> conversation::is_allowed(topic_action what, const std::string& channel) {
  const auto& authorize = protocol_->options.authorize;
  if (!authorize) co_return true;
  const bool may = co_await authorize(client_, what, channel);
  co_return may;
}

asio::awaitable<void> conversation::require_allowed(topic_action what, const std::string& channel) {
  const bool may = co_await is_allowed(what, channel);
  if (may) co_return;
  protocol_->denied.fetch_add(1, std::memory_order_relaxed);
  throw request_refusal{"not_allowed", "the rights of this connection do not reach that far"};
}

asio::awaitable<bool> conversation::may_see_presence(const std::string& channel) {
  // Whoever follows a pattern is told of all topics in it that have a presence.
  const bool any =
      protocol_->options.authorize && (!is_topic(channel) || protocol_->topics->rule_of(channel).presence);
  if (!any) co_return true;
  const bool may = co_await is_allowed(topic_action::presence, channel);
  co_return may;
}

// --- Topics ---

asio::awaitable<void> conversation::subscribe(const json::object& request, const json::value* id) {
  const auto channel = channel_field(request, true);
  subscription how;
  auto since = position_field(request, "recover");
  const bool wants_recovery = since.has_value();
  if (const auto* const info = request.if_contains("info")) {
    auto text = json::serialize(*info);
    if (text.size() > protocol_->options.max_info_bytes)
      throw bad_field("info",
                      "is longer than " + std::to_string(protocol_->options.max_info_bytes) + " bytes");
    how.info(std::move(text));
  }
  co_await require_allowed(topic_action::subscribe, channel);
  if (since) {
    const bool may = co_await is_allowed(topic_action::history, channel);
    if (may) how.recover(std::move(*since));
  }
  const bool sees = co_await may_see_presence(channel);
  if (!sees) how.blind_to_presence();

  how.announce([&](const subscribe_report& report) {
    auto fields = opening("subscribed", channel);
    add_position(fields, report.position);
    if (wants_recovery) fields["recovered"] = report.recovered;
    if (report.what == subscribed::already) fields["already"] = true;
    return answer(id, std::move(fields));
  });
  const auto report = co_await protocol_->topics->subscribe(client_, channel, std::move(how));
  if (protocol_->options.authorize && report.what == subscribed::yes) channels_.insert(channel);
  if (report.what == subscribed::limit) {
    throw request_refusal{"too_many_subscriptions", "the connection has as many subscriptions as it may have",
                          request_refusal::weight::subscription};
  }
}

asio::awaitable<void> conversation::unsubscribe(const json::object& request, const json::value* id) {
  const auto channel = channel_field(request, true);
  channels_.erase(channel);
  co_await protocol_->topics->unsubscribe(client_, channel);
  co_await client_.write(simple_answer(id, "unsubscribed", channel));
}

asio::awaitable<void> conversation::publish(const json::object& request, const json::value* id) {
  const auto channel = channel_field(request, false);
  if (!request.contains("data")) throw bad_field("data", "is missing");
  const auto& rule = protocol_->topics->rule_of(channel);
  bool may = rule.clients_publish == topic_publishers::everybody;
  if (rule.clients_publish == topic_publishers::subscribers) {
    const auto mine = co_await protocol_->topics->subscriptions(client_);
    may = std::ranges::any_of(mine, [&](const auto& each) { return topic_matches(each, channel); });
  }
  if (!may) {
    protocol_->denied.fetch_add(1, std::memory_order_relaxed);
    throw request_refusal{"not_allowed", "clients may not publish to this topic"};
  }
  co_await require_allowed(topic_action::publish, channel);

  auto fields = opening("published", channel);
  // As it was written: numbers that were read and written again would not all be the same.
  auto what = message::text(std::string{raw_field(asked_, "data")});
  if (!rule.history) {
    protocol_->topics->post_publish(channel, std::move(what));
  } else {
    auto task = protocol_->topics->publish(channel, std::move(what), delivery().deadline(publish_patience));
    const auto report = co_await of_store(std::move(task));
    add_position(fields, report.position);
  }
  co_await client_.write(answer(id, std::move(fields)));
}

asio::awaitable<void> conversation::history(const json::object& request, const json::value* id) {
  const auto channel = channel_field(request, false);
  const auto limit = number_field(request, "limit", most_history, usual_history);
  const auto since = position_field(request, "since");
  co_await require_allowed(topic_action::history, channel);
  if (!protocol_->topics->rule_of(channel).history) not_available("this topic keeps no history");

  const page_limits most{limit, most_history_bytes};
  auto task =
      since ? protocol_->topics->history(channel, *since, most) : protocol_->topics->latest(channel, most);
  const auto page = co_await of_store(std::move(task));
  const auto recovered = since ? std::optional{page.recovered} : std::nullopt;
  co_await client_.write(history_answer(id, channel, page, recovered));
}

asio::awaitable<void> conversation::presence(const json::object& request, const json::value* id) {
  const auto channel = channel_field(request, false);
  co_await require_allowed(topic_action::presence, channel);
  if (!protocol_->topics->rule_of(channel).presence) not_available("this topic has no presence");
  const auto report = co_await protocol_->topics->presence(channel);
  co_await client_.write(presence_answer(id, channel, report));
}

asio::awaitable<void> conversation::pong(const json::object&, const json::value* id) {
  co_await client_.write(simple_answer(id, "pong"));
}

// --- The user ---

asio::awaitable<void> conversation::acknowledge(const json::object& request, const json::value*) {
  auto ids = stored_ids(request);
  const auto& user = client_.user().user;
  if (user.empty())
    throw request_refusal{"not_available", "nothing is stored for a connection without a user"};
  co_await of_store(protocol_->users->acknowledge_all(user, std::move(ids)));
  co_await client_.write(simple_answer(&request.at("id"), "acked"));
}

std::optional<std::chrono::milliseconds> conversation::token_left() const {
  const auto* const mine = dynamic_cast<const connection_impl*>(&client_);
  if (mine == nullptr || !client_.user().expires) return std::nullopt;
  const auto& tokens = protocol_->options.tokens;
  const auto grace = tokens ? tokens->options().grace : std::chrono::seconds{0};
  const auto left =
      std::chrono::floor<std::chrono::milliseconds>(mine->user_due() - mine->where().now() - grace);
  return std::max(left, std::chrono::milliseconds{0});
}

asio::awaitable<void> conversation::authenticate(const json::object&, const json::value*) {
  throw request_refusal{"not_available", "who this is was said before: refresh renews a token"};
}

asio::awaitable<void> conversation::refresh(const json::object& request, const json::value* id) {
  std::string token{text_field(request, "token")};
  const auto& tokens = protocol_->options.tokens;
  if (!tokens) not_available("the server takes no tokens");
  const auto renewed = co_await tokens->refresh(client_, std::move(token));
  switch (renewed.status()) {
    case token_status::good:
      break;
    case token_status::closed:
      co_return;
    case token_status::keys_unavailable:
      throw request_refusal{"keys_unavailable", "there are no keys to verify tokens with now"};
    case token_status::other_user:
      throw request_refusal{"token_refused", "the token is not this user's", request_refusal::weight::fault};
    case token_status::refused:
      throw request_refusal{"token_refused", "the token was refused", request_refusal::weight::fault};
  }
  co_await end_what_is_not_allowed();
  co_await client_.write(refreshed_message(id, token_left()));
}

asio::awaitable<void> conversation::end_what_is_not_allowed() {
  const std::vector<std::string> all{channels_.begin(), channels_.end()};
  for (const auto& channel : all) {
    bool may = false;
    bool sees = false;
    std::optional<failure> problem;
    try {
      may = co_await is_allowed(topic_action::subscribe, channel);
      if (may) sees = co_await may_see_presence(channel);
    } catch (...) {
      problem = current_failure();
    }
    if (may && !problem && !sees) {
      subscription less;
      less.blind_to_presence();
      co_await protocol_->topics->subscribe(client_, channel, std::move(less));
    }
    if (may && !problem) continue;
    if (problem) co_await stop_if_cancelled();
    // Whoever cannot be asked has not said yes: the old token's rights are gone.
    if (problem) report(client_, "rights to " + channel + ": " + problem->text);
    if (!problem) protocol_->denied.fetch_add(1, std::memory_order_relaxed);
    const std::string code{problem ? "internal_error" : "not_allowed"};
    channels_.erase(channel);
    co_await protocol_->topics->unsubscribe(client_, channel);
    co_await client_.write(subscription_ended(channel, code));
  }
}

const std::array<conversation::request_kind, 9> conversation::answered{{
    {"subscribe", &conversation::subscribe},
    {"unsubscribe", &conversation::unsubscribe},
    {"publish", &conversation::publish},
    {"history", &conversation::history},
    {"presence", &conversation::presence},
    {"ack", &conversation::acknowledge},
    {"auth", &conversation::authenticate},
    {"refresh", &conversation::refresh},
    {"ping", &conversation::pong},
}};

}  // namespace skein::detail
