#include "client/client_core.hpp"
#include "connection/deadline_queue.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <random>
#include <stdexcept>

namespace skein::detail {
namespace {

constexpr unsigned first_final_code = 4500;
constexpr std::size_t max_depth = 64;

double any_number() {
  static thread_local std::mt19937_64 engine{std::random_device{}()};
  return std::uniform_real_distribution<double>{0.0, 1.0}(engine);
}

std::string any_prefix() {
  std::random_device source;
  return std::to_string(source()) + "-" + std::to_string(source()) + "-";
}

asio::awaitable<std::shared_ptr<websocket>> connect_for_real(std::string url, connect_options options) {
  auto made = co_await connect_websocket(std::move(url), std::move(options));
  co_return std::shared_ptr<websocket>{std::move(made)};
}

client_options with_defaults(client_options options) {
  const auto require = [](bool allowed, const char* what) {
    if (!allowed) throw std::invalid_argument{what};
  };
  require(!options.url.empty(), "url: ws://host[:port]/path or wss://host[:port]/path");
  require(options.min_pause.count() > 0 && options.max_pause >= options.min_pause,
          "min_pause: more than zero, and no more than max_pause");
  require(options.request_timeout.count() > 0, "request_timeout: more than zero");
  require(options.max_waiting > 0, "max_waiting: not zero");
  if (!options.time) options.time = steady_clock();
  if (!options.connector) options.connector = connect_for_real;
  if (!options.random) options.random = any_number;
  return options;
}

/// The object in a message; nothing if it is something else.
std::optional<json::object> object_in(const message& received) {
  if (!received.is_text()) return std::nullopt;
  json::parse_options limits;
  limits.max_depth = max_depth;
  error_code ec;
  auto value = json::parse(received.payload(), ec, {}, limits);
  if (ec || !value.is_object()) return std::nullopt;
  return std::move(value.get_object());
}

/// Whether asking again would be answered in the same way.
bool is_final(unsigned status, bool may_get_a_token) {
  if (status == 401) return !may_get_a_token;
  return status == 400 || status == 403 || status == 404 || status == 405 || status == 426;
}

}  // namespace

std::string_view text_of(const json::object& message, std::string_view field) noexcept {
  const auto* const found = message.if_contains(field);
  if (found == nullptr || !found->is_string()) return {};
  return {found->get_string().data(), found->get_string().size()};
}

topic_position position_of(const json::object& message) {
  const auto epoch = text_of(message, "epoch");
  const auto* const offset = message.if_contains("offset");
  if (epoch.empty() || offset == nullptr) return {};
  boost::system::error_code ec;
  const auto number = offset->to_number<std::uint64_t>(ec);
  if (ec) return {};
  return {std::string{epoch}, number};
}

client_core::client_core(asio::any_io_executor executor, client_options options)
    : executor_(std::move(executor)),
      options_(with_defaults(std::move(options))),
      slept_(executor_),
      ended_(executor_),
      id_prefix_(any_prefix()),
      message_came_(executor_) {}

// --- Its life ---

void client_core::start() {
  running_ = true;
  // They go when the last connection has ended; until then there is somebody to ring for.
  waker_ = options_.time->make_alarm(executor_, [this] { slept_.notify(); });
  welcome_limit_ = options_.time->make_alarm(executor_, [this] {
    if (welcomed_ || !line_ || !line_->socket) return;
    line_->late = true;
    asio::co_spawn(executor_, say_goodbye(line_->socket), asio::detached);
  });
  held_back_ = options_.time->make_alarm(executor_, [this] { say_on(); });
  acknowledge_again_ = options_.time->make_alarm(executor_, [this] {
    to_acknowledge_.insert(to_acknowledge_.end(), refused_.begin(), refused_.end());
    refused_.clear();
    say_on();
  });
  fresh_token_ = options_.time->make_alarm(
      executor_, [this] { asio::co_spawn(executor_, refresh(shared_from_this()), asio::detached); });
  asio::co_spawn(executor_, run(shared_from_this()),
                 asio::bind_cancellation_slot(give_up_.slot(), asio::detached));
}

void client_core::abandon() noexcept {
  abandoned_ = true;
  stop();
}

void client_core::stop() {
  if (std::exchange(stopping_, true)) return;
  end_all_feeds();
  const bool conversing = line_ && line_->socket;
  if (conversing) asio::co_spawn(executor_, say_goodbye(line_->socket), asio::detached);
  forget_what_was_asked();
  unsent_.clear();
  for (auto& [id, request] : std::exchange(requests_, {})) {
    lose(*request);
  }
  message_came_.notify();
  if (conversing) return;
  asio::post(executor_,
             [self = shared_from_this()] { self->give_up_.emit(asio::cancellation_type::terminal); });
}

asio::awaitable<void> client_core::say_goodbye(std::shared_ptr<websocket> to) {
  co_await to->close();
}

asio::awaitable<void> client_core::close() {
  const auto self = shared_from_this();
  stop();
  while (running_) co_await ended_.wait();
}

asio::awaitable<void> client_core::run(std::shared_ptr<client_core> self) {
  while (!self->stopping_) {
    const auto then = co_await self->connect_once();
    if (self->stopping_ || then == verdict::stay_away) break;
    ++self->stats_.failures;
    co_await self->pause();
  }
  self->stop();
  self->set_state(client_state::closed, self->why_);
  self->running_ = false;
  self->waker_->cancel();
  self->fresh_token_->cancel();
  self->welcome_limit_->cancel();
  self->held_back_->cancel();
  self->acknowledge_again_->cancel();
  self->ended_.notify();
}

void client_core::set_state(client_state now, std::string_view why) {
  state_ = now;
  if (!options_.on_state || abandoned_) return;
  try {
    options_.on_state(now, why);
  } catch (...) {  // NOLINT: it is not told to stop anything
  }
}

std::chrono::nanoseconds client_core::longest_pause(unsigned failures) const {
  const auto doublings = std::min(failures, 30U);
  const bool past_it = options_.min_pause.count() > options_.max_pause.count() >> doublings;
  return past_it ? options_.max_pause : options_.min_pause * (std::int64_t{1} << doublings);
}

asio::awaitable<void> client_core::pause() {
  const auto longest = longest_pause(failures_in_turn_++);
  const auto drawn = std::chrono::nanoseconds{
      static_cast<std::int64_t>(options_.random() * static_cast<double>(longest.count()))};
  const auto wait = std::max(drawn, std::exchange(at_least_, std::chrono::nanoseconds{0}));
  set_state(client_state::waiting, why_);
  if (stopping_) co_return;
  waker_->set(deadline_after(options_.time->now(), wait));
  try {
    co_await slept_.wait();
  } catch (const boost::system::system_error&) {  // it is to stop
  }
}

asio::awaitable<client_core::verdict> client_core::connect_once() {
  set_state(client_state::connecting, why_);
  auto result = verdict::come_back;
  try {
    auto how = options_.connect;
    if (options_.token) how.token = co_await options_.token();
    auto made = line_ = std::make_shared<line>();
    made->socket = co_await options_.connector(options_.url, std::move(how));
    if (stopping_) asio::co_spawn(executor_, say_goodbye(made->socket), asio::detached);
    result = co_await converse();
    if (welcomed_ && options_.time->now() - welcomed_at_ >= options_.steady_after) failures_in_turn_ = 0;
  } catch (const upgrade_refused& refusal) {
    why_ = refusal.what();
    at_least_ = refusal.retry_after();
    if (is_final(refusal.status(), static_cast<bool>(options_.token))) result = verdict::stay_away;
  } catch (const std::invalid_argument& error) {
    why_ = error.what();
    result = verdict::stay_away;
  } catch (const std::exception& error) {
    why_ = error.what();
  } catch (...) {  // of the user's token or connector
    why_ = "an exception that is no std::exception";
  }
  lose_connection();
  co_return result;
}

asio::awaitable<client_core::verdict> client_core::converse() {
  const auto on = line_;
  const auto socket = on->socket;
  welcome_limit_->set(deadline_after(options_.time->now(), options_.request_timeout));
  for (;;) {
    auto received = co_await socket->read();
    if (!received) break;
    auto object = object_in(*received);
    if (!object) continue;
    if (!welcomed_) {
      if (text_of(*object, "type") == "welcome") on_welcome(*object);
      continue;
    }
    on_message(std::move(*object), std::move(*received));
  }
  const auto& reason = socket->close_reason();
  const auto code = static_cast<unsigned>(reason.code);
  why_ = on->late ? "the server did not welcome in time"
                  : std::to_string(code) + (reason.text.empty() ? "" : " " + reason.text);
  const bool for_good = reason.by == closed_by::peer && code >= first_final_code;
  co_return for_good ? verdict::stay_away : verdict::come_back;
}

void client_core::lose_connection() {
  // What came from it could not be taken: it ends here, too.
  if (line_ && line_->socket && line_->socket->is_open())
    asio::co_spawn(executor_, say_goodbye(line_->socket), asio::detached);
  line_ = nullptr;
  welcomed_ = false;
  fresh_token_->cancel();
  welcome_limit_->cancel();
  held_back_->cancel();
  acknowledge_again_->cancel();
  left_some_ = false;
  failed_refreshes_ = 0;
  forget_what_was_asked();
  for (const auto& each : in_order_) each->live = false;
  std::vector<std::shared_ptr<pending_request>> lost;
  std::erase_if(requests_, [&](auto& each) {
    if (each.second->sent) lost.push_back(each.second);
    return each.second->sent;
  });
  for (const auto& each : lost) lose(*each);
}

// --- What the server says ---

void client_core::keep_to(const json::object& hello) {
  std::uint64_t per_second = 0;
  std::uint64_t burst = 0;
  // That of the user is shared with others, who cannot be seen: no more than all of it.
  for (const auto* const name : {"rate", "user_rate"}) {
    const auto* const given = hello.if_contains(name);
    const auto* const limit = given ? given->if_object() : nullptr;
    if (!limit) continue;
    const auto number = [limit](const char* field) -> std::uint64_t {
      const auto* const value = limit->if_contains(field);
      return value && value->is_int64() && value->get_int64() > 0
                 ? static_cast<std::uint64_t>(value->get_int64())
                 : 0;
    };
    const auto its = number("messages_per_s");
    if (its == 0 || (per_second != 0 && per_second <= its)) continue;
    per_second = its;
    burst = number("burst");
  }
  pace_.allow(per_second, burst);
}

void client_core::on_welcome(const json::object& hello) {
  welcomed_ = true;
  welcomed_at_ = options_.time->now();
  welcome_limit_->cancel();
  ++stats_.connections;
  keep_to(hello);
  expect_expiry(hello);
  for (const auto& each : in_order_) want(each);
  say_on();
  set_state(client_state::connected, {});
}

void client_core::on_message(json::object message, skein::message text) {
  const auto type = text_of(message, "type");
  std::optional<request_error> error;
  if (type == "error" && !message.contains("channel")) {
    error = to_error(message);
    heed(message, *error);
  }
  if (const auto id = id_of_answer(message); !id.empty()) {
    // Of several with one id the first, as the server answers them.
    if (const auto found = requests_.lower_bound(id); found != requests_.end() && found->first == id) {
      const auto request = found->second;
      requests_.erase(found);
      on_answer(*request, std::move(message));
      finish(*request);
      return;
    }
    if (answers_an_errand(id, message)) return;
    if (id.starts_with(id_prefix_)) return;  // nobody waits for it any more
  }
  if (type == "unsubscribed" && message.contains("code")) {
    on_ended_by_server(message);
    return;
  }
  if (const std::string channel{text_of(message, "channel")}; !channel.empty()) {
    if (type != "unsubscribed") on_publication(channel, std::move(message), text);
    return;
  }
  if (error) {
    if (const auto* const id = message.if_contains("id"); id && is_passing(*error))
      acknowledge_again(*id, *error);
    tell(*error, {});
    return;
  }
  if (type == "acked" || type == "error" || type == "pong" || type == "refreshed") return;
  on_user_message(std::move(message), std::move(text));
}

void client_core::on_user_message(json::object message, skein::message text) {
  user_message item;
  if (const auto* const id = message.if_contains("message_id")) {
    boost::system::error_code ec;
    const auto number = id->to_number<stored_id>(ec);
    if (!ec) item.id = number;
  }
  if (item.id && acknowledged_.has(*item.id)) {
    // It was done with, but the server has not heard of it.
    ++stats_.repeats;
    acknowledge(*item.id);
    return;
  }
  if (item.id) {
    // One that still waits goes behind what came again before it: they are in order.
    stats_.repeats += std::erase_if(messages_, [&](const auto& each) { return each.id == item.id; });
  }
  if (messages_.size() >= options_.max_waiting || (item.id && left_some_)) {
    drop(item);
    return;
  }
  item.data = std::move(message);
  item.text = std::move(text);
  messages_.push_back(std::move(item));
  message_came_.notify();
}

void client_core::drop(const user_message& item) {
  ++stats_.dropped;
  if (item.id) left_some_ = true;
  if (std::exchange(told_full_, true)) return;
  tell({"buffer_full", "messages are not taken in time"}, {});
}

// What was left on the server comes with a connection.
void client_core::come_back() {
  told_full_ = false;
  if (!welcomed_ || !left_some_ || std::exchange(line_->over, true)) return;
  asio::co_spawn(executor_, say_goodbye(line_->socket), asio::detached);
}

}  // namespace skein::detail
