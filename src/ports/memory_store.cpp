// The store that forgets with the process: two plain states behind one lock.

#include "ports/history_rules.hpp"
#include "ports/memory_history.hpp"
#include "ports/memory_mailboxes.hpp"

#include <skein/error.hpp>
#include <skein/message_store.hpp>

#include <boost/system/system_error.hpp>

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace skein {
namespace detail {
namespace {

class memory_store final : public message_store, public std::enable_shared_from_this<memory_store> {
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
    return call<topic_position>(shared_from_this(),
                                [topic = std::move(topic), what = std::move(what), limits](memory_store& in) {
                                  check_append(topic, what);
                                  const auto now = in.time_->wall_now();
                                  const std::lock_guard lock{in.mutex_};
                                  auto at = in.history_.append(topic, what, limits, now);
                                  in.shed();
                                  return at;
                                });
  }

  asio::awaitable<history_page> read(std::string topic, topic_position since, page_limits most) override {
    return call<history_page>(shared_from_this(),
                              [topic = std::move(topic), since = std::move(since), most](memory_store& in) {
                                check_owner(topic);
                                const auto now = in.time_->wall_now();
                                const std::lock_guard lock{in.mutex_};
                                return in.history_.read(topic, since, most, now);
                              });
  }

  asio::awaitable<topic_position> position(std::string topic) override {
    return call<topic_position>(shared_from_this(), [topic = std::move(topic)](memory_store& in) {
      check_owner(topic);
      const std::lock_guard lock{in.mutex_};
      return in.history_.position(topic);
    });
  }

  asio::awaitable<bool> forget(std::string topic) override {
    return call<bool>(shared_from_this(), [topic = std::move(topic)](memory_store& in) {
      check_owner(topic);
      const std::lock_guard lock{in.mutex_};
      return in.history_.forget(topic);
    });
  }

  asio::awaitable<kept_message> keep(std::string user, prepared_message what,
                                     offline_limits limits) override {
    return call<kept_message>(shared_from_this(),
                              [user = std::move(user), what = std::move(what), limits](memory_store& in) {
                                check_keep(user, what, limits);
                                const auto now = in.time_->wall_now();
                                const std::lock_guard lock{in.mutex_};
                                return in.keep_now(user, what, limits, now);
                              });
  }

  asio::awaitable<std::vector<stored_message>> waiting(std::string user, stored_id after,
                                                       page_limits most) override {
    return call<std::vector<stored_message>>(shared_from_this(),
                                             [user = std::move(user), after, most](memory_store& in) {
                                               check_owner(user);
                                               const auto now = in.time_->wall_now();
                                               const std::lock_guard lock{in.mutex_};
                                               return in.mailboxes_.waiting(user, after, most, now);
                                             });
  }

  asio::awaitable<bool> acknowledge(std::string user, stored_id id) override {
    return call<bool>(shared_from_this(), [user = std::move(user), id](memory_store& in) {
      check_owner(user);
      const auto now = in.time_->wall_now();
      const std::lock_guard lock{in.mutex_};
      return in.mailboxes_.acknowledge(user, id, now);
    });
  }

  [[nodiscard]] store_health health() const override { return {}; }

  [[nodiscard]] store_stats stats() const override {
    const std::lock_guard lock{mutex_};
    auto now = stats_;
    now.bytes = history_.bytes() + mailboxes_.bytes();
    return now;
  }

 private:
  /// What is awaited later keeps the store until then.
  template <class T, class Action>
  static asio::awaitable<T> call(std::shared_ptr<memory_store> store, Action action) {
    co_return action(*store);
  }

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

asio::awaitable<std::size_t> message_store::acknowledge_all(std::string user, std::vector<stored_id> ids) {
  std::size_t gone = 0;
  for (const auto id : ids) {
    const bool was_there = co_await acknowledge(user, id);
    if (was_there) ++gone;
  }
  co_return gone;
}

std::shared_ptr<message_store> make_memory_store(memory_store_options options) {
  return std::make_shared<detail::memory_store>(std::move(options));
}

}  // namespace skein
