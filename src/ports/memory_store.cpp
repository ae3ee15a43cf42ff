// The store that forgets with the process: two plain states behind one lock.

#include "ports/history_rules.hpp"
#include "ports/memory_history.hpp"
#include "ports/memory_mailboxes.hpp"

#include <skein/error.hpp>
#include <skein/message_store.hpp>

#include <boost/system/system_error.hpp>

#include <mutex>

namespace skein {
namespace detail {
namespace {

class memory_store final : public message_store {
 public:
  explicit memory_store(memory_store_options options)
      : time_(options.time ? std::move(options.time) : steady_clock()),
        max_bytes_(options.max_bytes),
        history_(stats_),
        mailboxes_(stats_, first_id(time_->wall_now())) {
    require(max_bytes_ > 0, "max_bytes must be at least 1");
  }

  asio::awaitable<topic_position> append(std::string topic, prepared_message what,
                                         history_limits limits) override {
    check_append(topic, what);
    const auto now = time_->wall_now();
    const std::lock_guard lock{mutex_};
    auto at = history_.append(std::move(topic), std::move(what), limits, now);
    shed();
    co_return at;
  }

  asio::awaitable<history_page> read(std::string topic, topic_position since, page_limits most) override {
    check_owner(topic);
    const auto now = time_->wall_now();
    const std::lock_guard lock{mutex_};
    auto page = history_.read(std::move(topic), since, most, now);
    shed();
    co_return page;
  }

  asio::awaitable<topic_position> position(std::string topic) override {
    check_owner(topic);
    const std::lock_guard lock{mutex_};
    auto at = history_.position(std::move(topic));
    shed();
    co_return at;
  }

  asio::awaitable<bool> forget(std::string topic) override {
    check_owner(topic);
    const std::lock_guard lock{mutex_};
    co_return history_.forget(topic);
  }

  asio::awaitable<kept_message> keep(std::string user, prepared_message what,
                                     offline_limits limits) override {
    check_keep(user, what, limits);
    const auto now = time_->wall_now();
    const std::lock_guard lock{mutex_};
    co_return keep_now(std::move(user), std::move(what), limits, now);
  }

  asio::awaitable<std::vector<stored_message>> waiting(std::string user, stored_id after,
                                                       page_limits most) override {
    check_owner(user);
    const auto now = time_->wall_now();
    const std::lock_guard lock{mutex_};
    co_return mailboxes_.waiting(user, after, most, now);
  }

  asio::awaitable<bool> acknowledge(std::string user, stored_id id) override {
    check_owner(user);
    const auto now = time_->wall_now();
    const std::lock_guard lock{mutex_};
    co_return mailboxes_.acknowledge(user, id, now);
  }

  [[nodiscard]] store_health health() const override { return {}; }

  [[nodiscard]] store_stats stats() const override {
    const std::lock_guard lock{mutex_};
    auto now = stats_;
    now.bytes = history_.bytes() + mailboxes_.bytes();
    return now;
  }

 private:
  /// Offline messages are worth more than history: it makes room for them, never the other way round.
  void shed() {
    const auto offline = mailboxes_.bytes();
    history_.shed_to(max_bytes_ - offline);
  }

  kept_message keep_now(std::string user, prepared_message what, const offline_limits& limits,
                        wall_time now) {
    try {
      const auto result = mailboxes_.keep(std::move(user), std::move(what), limits, max_bytes_, now);
      shed();
      return result;
    } catch (const boost::system::system_error& error) {
      if (error.code() == errc::store_full) ++stats_.refused;
      throw;
    }
  }

  const std::shared_ptr<clock> time_;
  const std::size_t max_bytes_;
  mutable std::mutex mutex_;  // of all below
  store_stats stats_;
  memory_history history_;
  memory_mailboxes mailboxes_;
};

}  // namespace
}  // namespace detail

std::shared_ptr<message_store> make_memory_store(memory_store_options options) {
  return std::make_shared<detail::memory_store>(std::move(options));
}

}  // namespace skein
