#pragma once

// A message store whose answers a test lets through one by one, or which fails.

#include <skein/error.hpp>
#include <skein/message_store.hpp>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hub_test {

namespace asio = boost::asio;

/// What is asked is done at once; the answer comes when the gate lets it through. One thread.
class gated_store final : public skein::message_store {
 public:
  explicit gated_store(std::shared_ptr<skein::message_store> inner) : inner_(std::move(inner)) {}

  bool closed = false;                 ///< answers wait
  std::optional<skein::errc> failure;  ///< in place of any answer

  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
  void let_through(std::size_t which) {
    const auto one = waiting_[which];
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(which));
    one->cancel();
  }
  void open() {
    closed = false;
    while (!waiting_.empty()) let_through(0);
  }

  asio::awaitable<skein::topic_position> append(std::string topic, skein::prepared_message what,
                                                skein::history_limits limits) override {
    return answered(inner_->append(std::move(topic), std::move(what), limits));
  }
  asio::awaitable<skein::history_page> read(std::string topic, skein::topic_position since,
                                            skein::page_limits most) override {
    return answered(inner_->read(std::move(topic), std::move(since), most));
  }
  asio::awaitable<skein::topic_position> position(std::string topic) override {
    return answered(inner_->position(std::move(topic)));
  }
  asio::awaitable<bool> forget(std::string topic) override { return inner_->forget(std::move(topic)); }
  asio::awaitable<skein::kept_message> keep(std::string user, skein::prepared_message what,
                                            skein::offline_limits limits) override {
    return answered(inner_->keep(std::move(user), std::move(what), limits));
  }
  asio::awaitable<std::vector<skein::stored_message>> waiting(std::string user, skein::stored_id after,
                                                              skein::page_limits most) override {
    return answered(inner_->waiting(std::move(user), after, most));
  }
  asio::awaitable<bool> acknowledge(std::string user, skein::stored_id id) override {
    return answered(inner_->acknowledge(std::move(user), id));
  }
  [[nodiscard]] skein::store_health health() const override { return inner_->health(); }
  [[nodiscard]] skein::store_stats stats() const override { return inner_->stats(); }

 private:
  template <class T>
  asio::awaitable<T> answered(asio::awaitable<T> task) {
    if (failure) throw boost::system::system_error{*failure};
    auto answer = co_await std::move(task);
    co_await gate();
    co_return answer;
  }
  asio::awaitable<void> gate() {
    if (!closed) co_return;
    const auto timer = std::make_shared<asio::steady_timer>(co_await asio::this_coro::executor,
                                                            asio::steady_timer::time_point::max());
    waiting_.push_back(timer);
    boost::system::error_code ignored;
    co_await timer->async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    std::erase(waiting_, timer);
  }

  std::shared_ptr<skein::message_store> inner_;
  std::vector<std::shared_ptr<asio::steady_timer>> waiting_;
};

}  // namespace hub_test
