// Graceful shutdown.

#include "hub/hub.hpp"

#include <boost/asio/post.hpp>

namespace skein::detail {

namespace {

// How long handlers have after they were cancelled.
constexpr auto cancel_grace = std::chrono::seconds{1};

std::uint64_t sum(const std::vector<std::shared_ptr<shard>>& shards, counter shard_counters::*which) {
  std::uint64_t result = 0;
  for (const auto& one : shards) result += (one->counters.*which).value();
  return result;
}

}  // namespace

/// One shutdown: what there was when it began, and who waits for its end. Lives on the first shard; `mutex`
/// guards what callers touch.
struct hub::drain_state : std::enable_shared_from_this<drain_state> {
  drain_state(const std::vector<std::shared_ptr<shard>>& all, std::shared_ptr<hub_shared> hub)
      : shards(all),
        shared(std::move(hub)),
        begun(shared->time->now()),
        connections(shared->alive.load()),
        resets_before(sum(shards, &shard_counters::resets)),
        discarded_before(sum(shards, &shard_counters::discarded)) {}

  struct limit_entry final : deadline_entry {
    explicit limit_entry(drain_state& s) : owner(s) {}
    void on_deadline(time_point) override { owner.on_limit(); }
    drain_state& owner;
  };

  void on_limit() {
    if (given_up) {
      finish();
      return;
    }
    given_up = true;
    late = shared->alive.load();
    for (const auto& one : shards) {
      asio::post(one->executor(), [one] {
        one->force_all();
        one->cancel_handlers();
      });
    }
    shards.front()->set_deadline(limit, shards.front()->now() + cancel_grace);
  }

  void finish() {
    const auto keep = shared_from_this();
    shards.front()->remove_deadline(limit);
    const std::lock_guard lock{mutex};
    if (finished) return;
    finished = true;
    // A handler that did not end in time counts as forced, even if its connection was closed properly.
    const auto resets = static_cast<std::size_t>(sum(shards, &shard_counters::resets) - resets_before);
    report.forced = std::min(connections, std::max(resets, late));
    report.clean = connections - report.forced;
    report.undelivered = static_cast<std::size_t>(sum(shards, &shard_counters::discarded) - discarded_before);
    report.elapsed = shared->time->now() - begun;
    for (auto& [executor, waiter] : std::exchange(waiters, {})) {
      asio::post(executor, [resume = std::move(waiter)]() mutable { resume(); });
    }
  }

  std::vector<std::shared_ptr<shard>> shards;
  std::shared_ptr<hub_shared> shared;
  time_point begun;
  std::size_t connections;
  std::uint64_t resets_before;
  std::uint64_t discarded_before;
  std::mutex mutex;
  std::vector<std::pair<asio::any_io_executor, resumption<void()>>> waiters;
  drain_report report;
  std::size_t late = 0;  // not ended at the deadline
  bool given_up = false;
  bool finished = false;
  limit_entry limit{*this};
};

void hub::begin_drain(std::chrono::nanoseconds deadline) {
  const std::lock_guard lock{drain_mutex_};
  if (drain_) return;
  drain_ = std::make_shared<drain_state>(shards_, shared_);
  const auto state = drain_;
  // Weak, because the shards' shared part keeps it, and this would keep the shards.
  const auto finish = [weak = std::weak_ptr{state}] {
    const auto kept = weak.lock();
    if (kept) asio::post(kept->shards.front()->executor(), [kept] { kept->finish(); });
  };
  shared_->on_all_joined = finish;
  shared_->draining = true;  // publishes `on_all_joined` to the shards
  for (const auto& one : shards_) {
    asio::post(one->executor(), [one] { one->start_drain(); });
  }
  asio::post(shards_.front()->executor(), [state, deadline] {
    if (state->finished) return;
    auto& first = *state->shards.front();
    first.set_deadline(state->limit, deadline_after(first.now(), deadline));
  });
  if (shared_->alive.load() == 0) finish();
}

asio::awaitable<drain_report> hub::drain(std::chrono::nanoseconds deadline) {
  begin_drain(deadline);
  const auto state = drain_;
  const auto resume_on = co_await asio::this_coro::executor;
  co_await suspend<void()>([&](auto handler) {
    const std::lock_guard lock{state->mutex};
    if (state->finished) {
      asio::post(resume_on,
                 [waiter = resumption<void()>{std::move(handler)}]() mutable { std::move(waiter)(); });
    } else {
      state->waiters.emplace_back(resume_on, std::move(handler));
    }
  });
  co_return state->report;
}

}  // namespace skein::detail
