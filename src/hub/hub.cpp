#include "hub/hub.hpp"

#include "connection/remote.hpp"
#include "hub/broadcast.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <future>
#include <list>
#include <stdexcept>
#include <thread>

namespace skein::detail {
namespace {

constexpr unsigned max_shards = 1024;
constexpr unsigned shard_mask = max_shards - 1;

void require(bool allowed, const char* what) {
  if (!allowed) throw std::invalid_argument{what};
}

constexpr std::size_t max_message_limit = std::size_t{2} << 30U;

manager_options checked(manager_options options) {
  using namespace std::chrono_literals;
  const auto& limits = options.limits;
  require(options.shards <= max_shards, "shards: at most 1024");
  require(options.max_connections >= 1, "max_connections: at least 1");
  require(limits.send_queue_messages >= 1, "send_queue_messages: at least 1");
  require(limits.send_queue_bytes >= 1, "send_queue_bytes: at least 1");
  require(limits.receive_queue_messages >= 1, "receive_queue_messages: at least 1");
  require(limits.receive_queue_bytes >= 1, "receive_queue_bytes: at least 1");
  require(limits.max_pings_per_second == 0 || limits.ping_burst >= 1, "ping_burst: at least 1");
  require(limits.message_timeout >= 0ns, "message_timeout: not negative");
  require(limits.ping_interval >= 0ns, "ping_interval: not negative");
  require(limits.ping_interval == 0ns || limits.pong_timeout > 0ns, "pong_timeout: more than zero");
  require(limits.write_timeout >= 0ns, "write_timeout: not negative");
  require(limits.close_timeout > 0ns, "close_timeout: more than zero");
  require(options.compression.level >= 1 && options.compression.level <= 9, "compression level: from 1 to 9");
  // A peer could make one short frame grow without end.
  require(!options.compression.enabled || limits.max_message_bytes > 0,
          "max_message_bytes: more than zero with compression");
  // Frames count their bytes in 32 bits.
  require(limits.max_message_bytes <= max_message_limit, "max_message_bytes: at most 2 GiB");
  require(options.stall_threshold > 0ns, "stall_threshold: more than zero");
  if (options.shards == 0) options.shards = std::max(1U, std::thread::hardware_concurrency());
  if (!options.time) options.time = steady_clock();
  return options;
}

void require_broadcast(const prepared_message& what, const delivery& how) {
  require(static_cast<bool>(what), "broadcast: the message is empty");
  require(how.policy() != overflow::wait, "broadcast: the policy cannot be wait");
}

}  // namespace

hub::hub(manager_options options, asio::any_io_executor embedded_in)
    : shared_(std::make_shared<hub_shared>()) {
  shared_->options = checked(std::move(options));
  shared_->time = shared_->options.time;
  shared_->shard_count = shared_->options.shards;
  started_ = shared_->time->now();
  for (unsigned i = 0; i < shared_->shard_count; ++i) {
    if (embedded_in) {
      shards_.push_back(std::make_shared<strand_shard>(asio::make_strand(embedded_in), shared_, i));
      asio::post(shards_.back()->executor(), [one = shards_.back()] { one->begin(); });
    } else {
      threads_.push_back(thread_shard::make(shared_, i));
      shards_.push_back(threads_.back());
    }
  }
  for (const auto& one : threads_) one->start();
}

/// Ends the connections of a shard: on its executor, or when the executor's context is destroyed without
/// having run it.
class hub::last_order {
 public:
  last_order(std::shared_ptr<shard> to, std::promise<void> done)
      : shard_(std::move(to)), done_(std::move(done)) {}
  last_order(last_order&&) noexcept = default;
  last_order& operator=(last_order&&) = delete;
  ~last_order() {
    if (shard_) shard_->let_go(false);
  }
  void operator()() {
    const auto where = std::exchange(shard_, nullptr);
    where->force_all();
    where->cancel_handlers();
    done_.set_value();
  }

 private:
  std::shared_ptr<shard> shard_;
  std::promise<void> done_;
};

hub::~hub() {
  shut_down();
}

void hub::shut_down() {
  if (std::exchange(down_, true)) return;
  {
    const std::lock_guard lock{drain_mutex_};
    // A shard may be calling it already, if there was a drain.
    if (!drain_) shared_->on_all_joined = [] {};
    shared_->draining = true;
  }
  // Connections that are still there end now, so that everybody who waits for an outcome learns it.
  std::vector<std::future<void>> forced;
  for (const auto& one : shards_) {
    std::promise<void> done;
    forced.push_back(done.get_future());
    one->post(last_order{one, std::move(done)});
  }
  if (threads_.empty()) return;  // the strands' context is somebody else's to run
  using namespace std::chrono_literals;
  for (auto& one : forced) one.wait_for(1s);
  for (auto until = std::chrono::steady_clock::now() + 1s;
       shared_->alive.load() > 0 && std::chrono::steady_clock::now() < until;) {
    std::this_thread::sleep_for(1ms);
  }
  for (const auto& one : threads_) one->halt();
  shared_->stopped = true;
  // What is still queued runs here, and what the ends of the last connections lead to.
  for (const auto& one : threads_) one->run_rest();
  for (const auto& one : threads_) one->let_go(true);
  for (const auto& one : threads_) one->run_rest();
  for (const auto& one : threads_) one->discard();
  for (const auto& one : threads_) one->release();
}

bool hub::running_here() const noexcept {
  return std::any_of(threads_.begin(), threads_.end(), [](const auto& one) { return one->running_here(); });
}

shard* hub::shard_of(connection_id id) const noexcept {
  const auto index = static_cast<std::size_t>(id & shard_mask);
  const bool known = id != 0 && index < shards_.size() && !shared_->stopped.load(std::memory_order_relaxed);
  return known ? shards_[index].get() : nullptr;
}

// --- Delivery ---

asio::awaitable<delivery_report> hub::broadcast(prepared_message what, delivery how) {
  require_broadcast(what, how);
  broadcasts_.fetch_add(1, std::memory_order_relaxed);
  co_return co_await deliver_to_all(shards_, shared_->time, std::move(what), std::move(how), nullptr);
}

void hub::post_broadcast(prepared_message what, delivery how) {
  require_broadcast(what, how);
  if (shared_->stopped.load(std::memory_order_relaxed)) return;
  broadcasts_.fetch_add(1, std::memory_order_relaxed);
  post_to_all(shards_, what, how, nullptr);
}

namespace {

asio::awaitable<outcome> send_on(std::shared_ptr<shard> where, connection_id id, prepared_message what,
                                 delivery how) {
  auto* const to = where->find(id);
  if (!to) co_return outcome::closed;
  const auto keep = to->shared_from_this();
  co_return co_await keep->send(std::move(what), std::move(how));
}

asio::awaitable<bool> close_on(std::shared_ptr<shard> where, connection_id id, close_code code,
                               std::string text) {
  auto* const who = where->find(id);
  if (!who || !who->is_open()) co_return false;
  who->begin_close(closed_by::local, code, text);
  co_return true;
}

asio::awaitable<std::exception_ptr> visit_on(std::shared_ptr<shard> where,
                                             std::shared_ptr<std::function<void(connection&)>> visit) {
  co_return where->for_each(*visit);
}

}  // namespace

asio::awaitable<outcome> hub::send_to(connection_id id, prepared_message what, delivery how) {
  require(static_cast<bool>(what), "send_to: the message is empty");
  auto* const where = shard_of(id);
  if (!where) co_return outcome::closed;
  const auto keep = where->shared_from_this();
  co_return co_await run_on(*keep, send_on(keep, id, std::move(what), std::move(how)), outcome::closed);
}

asio::awaitable<bool> hub::close(connection_id id, close_code code, std::string text) {
  require(code == close_code::none || is_sendable(code), "close: this code may not be sent");
  auto* const where = shard_of(id);
  if (!where) co_return false;
  const auto keep = where->shared_from_this();
  co_return co_await run_on(*keep, close_on(keep, id, code, std::move(text)), false);
}

asio::awaitable<void> hub::for_each(std::function<void(connection&)> visit) {
  const auto shared_visit = std::make_shared<std::function<void(connection&)>>(std::move(visit));
  const auto all = shards_;  // this may go while it waits
  std::exception_ptr first;
  for (const auto& one : all) {
    std::exception_ptr none;
    const auto error = co_await run_on(*one, visit_on(one, shared_visit), none);
    if (!first) first = error;
  }
  if (first) std::rethrow_exception(first);
}

// --- Ownership ---

namespace {

/// Ends hubs whose last owner has let go on one of their own threads, which cannot wait for itself: a handler
/// that holds its manager, for instance.
class reaper {
 public:
  reaper() = default;
  reaper(const reaper&) = delete;
  reaper& operator=(const reaper&) = delete;
  ~reaper() {
    for (auto& one : jobs_) one.thread.join();
  }
  void take(hub* what) {
    const std::lock_guard lock{mutex_};
    jobs_.remove_if([](job& one) {
      if (!one.done) return false;
      one.thread.join();
      return true;
    });
    auto& added = jobs_.emplace_back();
    added.thread = std::thread{[what, &added] {
      delete what;
      added.done = true;
    }};
  }

 private:
  struct job {
    std::thread thread;
    std::atomic<bool> done{false};
  };
  std::mutex mutex_;
  std::list<job> jobs_;
};

std::shared_ptr<manager> owned(std::unique_ptr<hub> what) {
  return {what.release(), [](hub* last) {
            static reaper elsewhere;
            if (last->running_here()) {
              elsewhere.take(last);
            } else {
              delete last;
            }
          }};
}

}  // namespace
}  // namespace skein::detail

namespace skein {

std::shared_ptr<manager> make_manager(manager_options options) {
  return detail::owned(std::make_unique<detail::hub>(std::move(options), asio::any_io_executor{}));
}

std::shared_ptr<manager> make_manager(asio::any_io_executor executor, manager_options options) {
  if (!executor) throw std::invalid_argument{"make_manager: the executor is empty"};
  return detail::owned(std::make_unique<detail::hub>(std::move(options), std::move(executor)));
}

}  // namespace skein
