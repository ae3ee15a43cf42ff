#include "client/client_core.hpp"

#include <utility>

namespace skein {

std::string_view name(client_state state) noexcept {
  switch (state) {
    case client_state::connecting:
      return "connecting";
    case client_state::connected:
      return "connected";
    case client_state::waiting:
      return "waiting";
    case client_state::closed:
      return "closed";
  }
  return "unknown";
}

client_subscription::client_subscription(std::shared_ptr<detail::feed_reader> reader) noexcept
    : reader_(std::move(reader)) {}
client_subscription::client_subscription(client_subscription&& other) noexcept = default;
client_subscription& client_subscription::operator=(client_subscription&& other) noexcept {
  if (reader_) reader_->owner->unsubscribe(*reader_);
  reader_ = std::move(other.reader_);
  return *this;
}
client_subscription::~client_subscription() {
  if (reader_) reader_->owner->unsubscribe(*reader_);
}

const std::string& client_subscription::channel() const noexcept {
  return reader_->channel;
}
asio::awaitable<std::optional<feed_item>> client_subscription::next() {
  return detail::client_core::next(reader_);
}
const topic_position& client_subscription::position() const noexcept {
  return reader_->taken;
}
bool client_subscription::is_live() const noexcept {
  return reader_->source && reader_->source->live;
}

client::client(asio::any_io_executor executor, client_options options)
    : core_(std::make_shared<detail::client_core>(std::move(executor), std::move(options))) {
  core_->start();
}
client::~client() {
  core_->abandon();
}

client_subscription client::subscribe(std::string channel, subscribe_options how) {
  return client_subscription{core_->subscribe(std::move(channel), std::move(how))};
}

asio::awaitable<topic_position> client::publish(std::string channel, boost::json::value data) {
  const auto core = core_;
  boost::json::object fields{{"type", "publish"}, {"channel", channel}, {"data", std::move(data)}};
  const auto answer = co_await core->request(std::move(fields));
  co_return detail::position_of(answer);
}

asio::awaitable<boost::json::object> client::request(boost::json::object fields) {
  return core_->request(std::move(fields));
}

asio::awaitable<std::optional<user_message>> client::next_message() {
  return core_->next_message();
}

asio::awaitable<void> client::acknowledge(stored_id id) {
  const auto core = core_;
  boost::json::object fields{{"type", "ack"}, {"id", id}};
  co_await core->request(std::move(fields));
  core->on_acknowledged(id);
}

asio::awaitable<void> client::close() {
  return core_->close();
}
client_state client::state() const noexcept {
  return core_->state();
}
client_stats client::stats() const noexcept {
  return core_->stats();
}

}  // namespace skein
