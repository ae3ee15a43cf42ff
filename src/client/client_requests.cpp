// What a client says to the server: requests and their answers, acknowledgements, fresh tokens.

#include "client/client_core.hpp"
#include "connection/deadline_queue.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>

namespace skein::detail {
namespace {

using namespace std::chrono_literals;

// A token is renewed when so much of its life is left, and no later.
constexpr int life_left = 5;  // one fifth
constexpr std::chrono::milliseconds shortest_life{1000};
constexpr std::chrono::seconds longest_refresh_pause{20};
// What a server says of time is believed up to here.
constexpr std::chrono::milliseconds longest_time = std::chrono::hours{24 * 365};

}  // namespace

std::string id_of_request(const json::object& request) {
  const auto* const id = request.if_contains("id");
  if (id == nullptr) return {};
  if (id->is_string()) return std::string{text_of(request, "id")};
  return "ack " + json::serialize(*id);
}

std::string id_of_answer(const json::object& message) {
  // Ids that are no strings are of messages. A publication may have such a field, too.
  const auto* const id = message.if_contains("id");
  const auto type = text_of(message, "type");
  const bool of_messages = id != nullptr && !id->is_string();
  if (of_messages && ((type != "acked" && type != "error") || message.contains("channel"))) return {};
  return id_of_request(message);
}

request_error to_error(const json::object& answer) {
  request_error error{std::string{text_of(answer, "code")}, std::string{text_of(answer, "message")}};
  if (const auto* const wait = answer.if_contains("retry_after_ms"); wait != nullptr && wait->is_int64())
    error.retry_after = std::clamp(std::chrono::milliseconds{wait->get_int64()}, 0ms, longest_time);
  return error;
}

void client_core::send(std::string text) {
  if (!line_ || !line_->socket) return;
  line_->out.push_back(std::move(text));
  if (std::exchange(line_->writing, true)) return;
  asio::co_spawn(executor_, write_all(shared_from_this(), line_), asio::detached);
}

asio::awaitable<void> client_core::write_all(std::shared_ptr<client_core>, std::shared_ptr<line> to) {
  try {
    while (!to->out.empty()) {
      auto text = message::text(std::move(to->out.front()));
      to->out.pop_front();
      const auto what = co_await to->socket->write(std::move(text));
      if (what == outcome::closed) break;
    }
    to->writing = false;
    co_return;
  } catch (const std::exception&) {
    // What was to be sent is lost, and what is behind it must not go without it: on to the next connection.
  }
  co_await say_goodbye(to->socket);
}

void client_core::on_answer(pending_request& request, json::object answer) {
  if (text_of(answer, "type") == "error") {
    request.failure = std::make_exception_ptr(to_error(answer));
  } else {
    request.answer = std::move(answer);
  }
}

void client_core::lose(pending_request& request) {
  request.failure = std::make_exception_ptr(boost::system::system_error{errc::connection_closed});
  finish(request);
}

void client_core::finish(pending_request& request) {
  request.done = true;
  request.limit->cancel();  // and not destroyed: it may be what rings
  request.finished.notify();
}

void client_core::forget(const std::string& id, const pending_request& request) {
  const auto [from, to] = requests_.equal_range(id);
  const auto found = std::find_if(from, to, [&](const auto& each) { return each.second.get() == &request; });
  if (found != to) requests_.erase(found);
}

asio::awaitable<json::object> client_core::request(json::object fields) {
  const auto self = shared_from_this();
  if (stopping_) throw boost::system::system_error{errc::connection_closed};
  const auto mine = std::make_shared<pending_request>(++last_number_, executor_);
  // An acknowledgement's id is the message's, or several.
  const auto* const own = fields.if_contains("id");
  const bool acknowledges = text_of(fields, "type") == "ack" && own != nullptr;
  if (!acknowledges) fields["id"] = own_id(mine->number);
  const auto id = id_of_request(fields);
  mine->text = json::serialize(fields);
  mine->limit = options_.time->make_alarm(executor_, [this, id, weak = std::weak_ptr{mine}] {
    const auto late = weak.lock();
    if (!late || late->done) return;
    forget(id, *late);
    late->failure = std::make_exception_ptr(boost::system::system_error{errc::timed_out});
    finish(*late);
  });
  mine->limit->set(deadline_after(options_.time->now(), options_.request_timeout));
  requests_.emplace(id, mine);
  const bool urgent = text_of(fields, "type") == "refresh";  // without it the connection ends
  if (urgent && welcomed_) {
    mine->sent = true;
    send(mine->text);
  } else {
    unsent_.push_back(mine);
    say_on();
  }
  try {
    while (!mine->done) co_await mine->finished.wait();
  } catch (const boost::system::system_error&) {  // cancelled
    forget(id, *mine);
    mine->done = true;
    throw;
  }
  if (mine->failure) std::rethrow_exception(mine->failure);
  co_return std::move(mine->answer);
}

asio::awaitable<std::optional<user_message>> client_core::next_message() {
  const auto self = shared_from_this();
  if (const auto done = std::exchange(unacknowledged_, std::nullopt)) acknowledge(*done);
  while (messages_.empty()) {
    if (stopping_) co_return std::nullopt;
    come_back();
    co_await message_came_.wait();
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
  const auto life = std::clamp(std::chrono::milliseconds{left->get_int64()}, shortest_life, longest_time);
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
    self->failed_refreshes_ = 0;
    self->expect_expiry(answer);
    co_return;
  } catch (...) {
    // Again, later each time and not all clients at once: the connection ends when the token does, and the
    // next one asks for a token, too.
  }
  if (self->line_ != on || self->stopping_) co_return;
  const auto doublings = std::min(self->failed_refreshes_++, 30U);
  const auto most = std::clamp<std::chrono::nanoseconds>(shortest_life * (std::int64_t{1} << doublings),
                                                         shortest_life, longest_refresh_pause);
  const auto drawn = std::chrono::nanoseconds{
      static_cast<std::int64_t>(self->options_.random() * static_cast<double>(most.count()) / 2)};
  self->fresh_token_->set(deadline_after(self->options_.time->now(), most / 2 + drawn));
}

}  // namespace skein::detail
