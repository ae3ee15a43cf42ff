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
// A token is renewed when so much of its life is left, and no later.
constexpr int life_left = 5;  // one fifth
constexpr std::chrono::milliseconds shortest_life{1000};

double any_number() {
  static thread_local std::mt19937_64 engine{std::random_device{}()};
  return std::uniform_real_distribution<double>{0.0, 1.0}(engine);
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

std::exception_ptr connection_lost() {
  return std::make_exception_ptr(boost::system::system_error{errc::connection_closed});
}

/// What a request is known by: its id, or what it acknowledges.
std::string id_of(const json::object& message) {
  const auto* const id = message.if_contains("id");
  if (id == nullptr) return {};
  if (id->is_string()) return {id->get_string().data(), id->get_string().size()};
  return "ack " + json::serialize(*id);
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

request_error to_error(const json::object& answer) {
  request_error error{std::string{text_of(answer, "code")}, std::string{text_of(answer, "message")}};
  if (const auto* const wait = answer.if_contains("retry_after_ms"); wait != nullptr && wait->is_int64())
    error.retry_after = std::chrono::milliseconds{std::max<std::int64_t>(0, wait->get_int64())};
  return error;
}

client_core::client_core(asio::any_io_executor executor, client_options options)
    : executor_(std::move(executor)), options_(with_defaults(std::move(options))) {}

// --- Its life ---

void client_core::start() {
  running_ = true;
  // Both go when the last connection has ended; until then there is somebody to ring for.
  waker_ = options_.time->make_alarm(executor_, [this] { sleeper_.wake(); });
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
  for (auto& [id, request] : std::exchange(requests_, {})) {
    request->failure = connection_lost();
    finish(request);
  }
  asio::post(executor_, [self = shared_from_this(), conversing] {
    if (!conversing) self->give_up_.emit(asio::cancellation_type::terminal);
    self->message_slot_.wake();
  });
}

asio::awaitable<void> client_core::say_goodbye(std::shared_ptr<websocket> to) {
  co_await to->close();
}

asio::awaitable<void> client_core::close() {
  const auto self = shared_from_this();
  stop();
  if (running_) co_await closer_.wait();
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
  self->closer_.wake();
}

void client_core::set_state(client_state now, std::string_view why) {
  state_ = now;
  if (!options_.on_state || abandoned_) return;
  try {
    options_.on_state(now, why);
  } catch (...) {  // NOLINT: it is not told to stop anything
  }
}

asio::awaitable<void> client_core::pause() {
  const auto doublings = std::min(failures_in_turn_++, 30U);
  const auto longest = std::min<std::chrono::nanoseconds>(
      options_.max_pause, options_.min_pause.count() > options_.max_pause.count() >> doublings
                              ? options_.max_pause
                              : options_.min_pause * (std::int64_t{1} << doublings));
  const auto drawn = std::chrono::nanoseconds{
      static_cast<std::int64_t>(options_.random() * static_cast<double>(longest.count()))};
  const auto wait = std::max(drawn, std::exchange(at_least_, std::chrono::nanoseconds{0}));
  set_state(client_state::waiting, why_);
  if (stopping_) co_return;
  waker_->set(deadline_after(options_.time->now(), wait));
  co_await sleeper_.wait();
}

asio::awaitable<client_core::verdict> client_core::connect_once() {
  set_state(client_state::connecting, why_);
  auto result = verdict::come_back;
  const auto began = options_.time->now();
  try {
    auto how = options_.connect;
    if (options_.token) how.token = co_await options_.token();
    auto made = line_ = std::make_shared<line>();
    made->socket = co_await options_.connector(options_.url, std::move(how));
    if (stopping_) asio::co_spawn(executor_, say_goodbye(made->socket), asio::detached);
    result = co_await converse();
    if (options_.time->now() - began >= options_.steady_after) failures_in_turn_ = 0;
  } catch (const upgrade_refused& refusal) {
    why_ = refusal.what();
    at_least_ = refusal.retry_after();
    if (is_final(refusal.status(), static_cast<bool>(options_.token))) result = verdict::stay_away;
  } catch (const std::invalid_argument& error) {
    why_ = error.what();
    result = verdict::stay_away;
  } catch (const std::exception& error) {
    why_ = error.what();
  }
  lose_connection();
  co_return result;
}

asio::awaitable<client_core::verdict> client_core::converse() {
  const auto socket = line_->socket;
  for (;;) {
    auto received = co_await socket->read();
    if (!received) break;
    auto object = object_in(*received);
    if (!object) continue;
    if (!welcomed_) {
      if (text_of(*object, "type") == "welcome") on_welcome(*object);
      continue;
    }
    on_message(std::move(*object));
  }
  const auto& reason = socket->close_reason();
  const auto code = static_cast<unsigned>(reason.code);
  why_ = std::to_string(code) + (reason.text.empty() ? "" : " " + reason.text);
  co_return code >= first_final_code&& reason.by == closed_by::peer ? verdict::stay_away : verdict::come_back;
}

void client_core::lose_connection() {
  line_ = nullptr;
  welcomed_ = false;
  fresh_token_->cancel();
  for (const auto& each : in_order_) {
    each->live = false;
    each->asked.clear();
    each->again.reset();
  }
  std::vector<std::shared_ptr<pending_request>> lost;
  std::erase_if(requests_, [&](auto& each) {
    if (each.second->sent) lost.push_back(each.second);
    return each.second->sent;
  });
  for (const auto& each : lost) {
    each->failure = connection_lost();
    finish(each);
  }
}

// --- What the server says ---

void client_core::on_welcome(const json::object& hello) {
  welcomed_ = true;
  ++stats_.connections;
  expect_expiry(hello);
  for (const auto& each : in_order_) ask(each);
  for (const auto& id : std::exchange(unsent_, {})) {
    const auto found = requests_.find(id);
    if (found == requests_.end()) continue;
    found->second->sent = true;
    send(found->second->text);
  }
  set_state(client_state::connected, {});
}

void client_core::on_message(json::object message) {
  const auto type = text_of(message, "type");
  if (const auto id = id_of(message); !id.empty()) {
    if (const auto found = requests_.find(id); found != requests_.end()) {
      const auto request = found->second;
      requests_.erase(found);
      on_answer(*request, std::move(message));
      finish(request);
      return;
    }
    if (answers_a_feed(id, message)) return;
  }
  if (type == "unsubscribed" && message.contains("code")) {
    on_ended_by_server(message);
    return;
  }
  if (const std::string channel{text_of(message, "channel")}; !channel.empty()) {
    if (type != "unsubscribed") on_publication(channel, std::move(message));
    return;
  }
  if (type == "acked" || type == "error" || type == "pong" || type == "refreshed") return;
  if (messages_.size() >= options_.max_waiting) {
    // A stored one comes again with the next connection.
    ++stats_.dropped;
    return;
  }
  user_message item;
  if (const auto* const id = message.if_contains("message_id")) {
    boost::system::error_code ec;
    const auto number = id->to_number<stored_id>(ec);
    if (!ec) item.id = number;
  }
  if (item.id && !seen_.add(*item.id)) {
    // It was taken before, but the server has not heard of it.
    ++stats_.repeats;
    const bool waits = std::ranges::find(messages_, item.id, &user_message::id) != messages_.end();
    if (options_.acknowledge && !waits && item.id != unacknowledged_)
      send(json::serialize(json::object{{"type", "ack"}, {"id", *item.id}}));
    return;
  }
  item.data = std::move(message);
  messages_.push_back(std::move(item));
  if (message_slot_.waiting())
    asio::post(executor_, [self = shared_from_this()] { self->message_slot_.wake(); });
}

void client_core::on_answer(pending_request& request, json::object answer) {
  if (text_of(answer, "type") == "error") {
    request.failure = std::make_exception_ptr(to_error(answer));
  } else {
    request.answer = std::move(answer);
  }
}

// --- What it says to the server ---

void client_core::send(std::string text) {
  if (!line_ || !line_->socket) return;
  line_->out.push_back(std::move(text));
  if (std::exchange(line_->writing, true)) return;
  asio::co_spawn(executor_, write_all(shared_from_this(), line_), asio::detached);
}

asio::awaitable<void> client_core::write_all(std::shared_ptr<client_core>, std::shared_ptr<line> to) {
  while (!to->out.empty()) {
    auto text = message::text(std::move(to->out.front()));
    to->out.pop_front();
    const auto what = co_await to->socket->write(std::move(text));
    if (what == outcome::closed) break;
  }
  to->writing = false;
}

void client_core::finish(const std::shared_ptr<pending_request>& request) {
  request->done = true;
  request->limit->cancel();  // and not destroyed: it may be what rings
  asio::post(executor_, [request] { request->slot.wake(); });
}

asio::awaitable<json::object> client_core::request(json::object fields) {
  const auto self = shared_from_this();
  if (stopping_) throw boost::system::system_error{errc::connection_closed};
  const auto mine = std::make_shared<pending_request>();
  // An acknowledgement's id is the message's, or several.
  const auto* const own = fields.if_contains("id");
  const bool acknowledges = text_of(fields, "type") == "ack" && own != nullptr;
  if (!acknowledges) fields["id"] = next_id();
  const auto id = id_of(fields);
  mine->text = json::serialize(fields);
  mine->limit = options_.time->make_alarm(executor_, [this, id, weak = std::weak_ptr{mine}] {
    const auto late = weak.lock();
    if (!late || late->done) return;
    // The same message may have been acknowledged again meanwhile.
    if (const auto found = requests_.find(id); found != requests_.end() && found->second == late)
      requests_.erase(found);
    late->failure = std::make_exception_ptr(boost::system::system_error{errc::timed_out});
    finish(late);
  });
  mine->limit->set(deadline_after(options_.time->now(), options_.request_timeout));
  requests_.insert_or_assign(id, mine);
  if (welcomed_) {
    mine->sent = true;
    send(mine->text);
  } else {
    unsent_.push_back(id);
  }
  while (!mine->done) {
    const bool cancelled = co_await mine->slot.wait();
    if (!cancelled) continue;
    requests_.erase(id);
    throw boost::system::system_error{asio::error::operation_aborted};
  }
  if (mine->failure) std::rethrow_exception(mine->failure);
  co_return std::move(mine->answer);
}

asio::awaitable<std::optional<user_message>> client_core::next_message() {
  const auto self = shared_from_this();
  if (const auto done = std::exchange(unacknowledged_, std::nullopt))
    send(json::serialize(json::object{{"type", "ack"}, {"id", *done}}));
  while (messages_.empty()) {
    if (stopping_) co_return std::nullopt;
    const bool cancelled = co_await message_slot_.wait();
    if (cancelled) throw boost::system::system_error{asio::error::operation_aborted};
  }
  std::optional<user_message> item{std::move(messages_.front())};
  messages_.pop_front();
  if (options_.acknowledge) unacknowledged_ = item->id;
  co_return item;
}

// --- Its token ---

void client_core::expect_expiry(const json::object& said) {
  const auto* const left = said.if_contains("expires_in_ms");
  if (!options_.token || left == nullptr || !left->is_int64()) return;
  const auto life = std::max(std::chrono::milliseconds{left->get_int64()}, shortest_life);
  fresh_token_->set(deadline_after(options_.time->now(), life - life / life_left));
}

asio::awaitable<void> client_core::refresh(std::shared_ptr<client_core> self) {
  const auto on = self->line_;
  try {
    auto token = co_await self->options_.token();
    if (self->line_ != on || !self->welcomed_) co_return;
    json::object fields{{"type", "refresh"}, {"token", token}};
    const auto answer = co_await self->request(std::move(fields));
    if (self->line_ != on) co_return;
    ++self->stats_.refreshes;
    self->expect_expiry(answer);
    co_return;
  } catch (const std::exception&) {
    // Again in a moment: the connection ends when the token does, and the next one asks for a token, too.
  }
  if (self->line_ != on || self->stopping_) co_return;
  self->fresh_token_->set(deadline_after(self->options_.time->now(), shortest_life));
}

}  // namespace skein::detail
