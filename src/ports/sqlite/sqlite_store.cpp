// What the port's functions ask of the worker.

#include "ports/history_rules.hpp"
#include "ports/sqlite/worker.hpp"

#include <skein/sqlite.hpp>

#include <algorithm>
#include <system_error>
#include <utility>

namespace skein {
namespace detail::sqlite {
namespace {

// What a request takes in the queue beside its payload.
constexpr std::size_t request_overhead = 256;

/// What `check` throws.
template <class Check>
std::exception_ptr refusal_by(Check check) {
  try {
    check();
    return nullptr;
  } catch (...) {
    return std::current_exception();
  }
}

std::exception_ptr refusal_of(const std::string& owner) {
  return refusal_by([&] { check_owner(owner); });
}

class sqlite_store final : public message_store {
 public:
  explicit sqlite_store(sqlite_store_options options)
      : queue_(std::make_shared<request_queue>(options.max_queued, options.max_queued_bytes)),
        worker_(std::move(options), queue_) {}
  ~sqlite_store() override { queue_->close(); }

  asio::awaitable<topic_position> append(std::string topic, prepared_message what,
                                         history_limits limits) override {
    const auto refusal = refusal_by([&] { check_append(topic, what); });
    const auto bytes = refusal ? 0 : what.size() + request_overhead;
    return ask<topic_position>(refusal, bytes, {},
                               [topic = std::move(topic), what = std::move(what), limits](
                                   tables& in, wall_time now, store_stats& counted) {
                                 return in.topics.append(topic, what, limits, now, counted);
                               });
  }

  asio::awaitable<history_page> read(std::string topic, topic_position since, page_limits most) override {
    const auto refusal = refusal_of(topic);
    return ask<history_page>(refusal, request_overhead,
                             [topic, since = std::move(since), most](tables& in, wall_time now) {
                               return std::optional{in.topics.read(topic, since, most, now)};
                             },
                             {});
  }

  asio::awaitable<topic_position> position(std::string topic) override {
    const auto refusal = refusal_of(topic);
    return ask<topic_position>(
        refusal, request_overhead,
        [topic](tables& in, wall_time) { return std::optional{in.topics.position(topic)}; }, {});
  }

  asio::awaitable<bool> forget(std::string topic) override {
    const auto refusal = refusal_of(topic);
    return ask<bool>(
        refusal, request_overhead, {},
        [topic](tables& in, wall_time, store_stats& counted) { return in.topics.forget(topic, counted); },
        true);
  }

  asio::awaitable<kept_message> keep(std::string user, prepared_message what,
                                     offline_limits limits) override {
    const auto refusal = refusal_by([&] { check_keep(user, what, limits); });
    const auto bytes = refusal ? 0 : what.size() + request_overhead;
    return ask<kept_message>(refusal, bytes, {},
                             [user = std::move(user), what = std::move(what), limits](
                                 tables& in, wall_time now, store_stats& counted) {
                               return in.users.keep(user, what, limits, now, counted);
                             });
  }

  asio::awaitable<std::vector<stored_message>> waiting(std::string user, stored_id after,
                                                       page_limits most) override {
    const auto refusal = refusal_of(user);
    return ask<std::vector<stored_message>>(refusal, request_overhead,
                                            [user, after, most](tables& in, wall_time now) {
                                              return std::optional{in.users.waiting(user, after, most, now)};
                                            },
                                            {});
  }

  asio::awaitable<bool> acknowledge(std::string user, stored_id id) override {
    const auto refusal = refusal_of(user);
    return ask<bool>(
        refusal, request_overhead, {},
        [user, id](tables& in, wall_time now, store_stats& counted) {
          return in.users.acknowledge(user, id, now, counted);
        },
        true);
  }

  asio::awaitable<std::size_t> acknowledge_all(std::string user, std::vector<stored_id> ids) override {
    const auto refusal = refusal_of(user);
    return ask<std::size_t>(
        refusal, request_overhead, {},
        [user, ids = std::move(ids)](tables& in, wall_time now, store_stats& counted) {
          return static_cast<std::size_t>(std::count_if(ids.begin(), ids.end(), [&](stored_id id) {
            return in.users.acknowledge(user, id, now, counted);
          }));
        },
        true);
  }

  [[nodiscard]] store_health health() const override { return worker_.health(); }
  [[nodiscard]] store_stats stats() const override { return worker_.stats(); }

 private:
  template <class T>
  asio::awaitable<T> ask(const std::exception_ptr& refusal, std::size_t bytes, typename call<T>::looker look,
                         typename call<T>::changer change, bool makes_room = false) {
    auto what = std::make_shared<call<T>>(std::move(look), std::move(change));
    what->refusal = refusal;
    what->bytes = bytes;
    what->makes_room = makes_room;
    return call<T>::run(std::move(what), queue_);
  }

  const std::shared_ptr<request_queue> queue_;
  worker worker_;
};

void check(const sqlite_store_options& options) {
  require(!options.path.empty() && options.path.find('\0') == std::string::npos, "path must name a file");
  require(options.max_queued > 0, "max_queued must be at least 1");
  require(options.max_queued_bytes > 0, "max_queued_bytes must be at least 1");
  require(options.max_batch > 0, "max_batch must be at least 1");
  require(
      options.sweep_interval > std::chrono::milliseconds{0} && options.sweep_interval <= std::chrono::days{1},
      "sweep_interval must be from 1 ms to a day");
}

}  // namespace
}  // namespace detail::sqlite

std::shared_ptr<message_store> make_sqlite_store(sqlite_store_options options) {
  detail::sqlite::check(options);
  try {
    return std::make_shared<detail::sqlite::sqlite_store>(std::move(options));
  } catch (const detail::sqlite::failure& error) {
    throw detail::sqlite::to_system_error(error);
  } catch (const std::system_error& error) {  // no thread
    throw boost::system::system_error{make_error_code(errc::store_unavailable), error.what()};
  }
}

}  // namespace skein
