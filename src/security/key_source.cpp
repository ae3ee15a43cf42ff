#include "security/key_source.hpp"

#include "connection/deadline_queue.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace skein::detail {
namespace {

// While there is no key at all nobody can come in, and waiting a minute for the next attempt helps nobody.
constexpr auto pause_without_keys = std::chrono::seconds{5};

}  // namespace

/// A coroutine that waits for the running fetch; in its frame, and known to the source as long.
struct key_source::waiter {
  explicit waiter(key_source& of) : source(of) {}
  waiter(const waiter&) = delete;
  waiter& operator=(const waiter&) = delete;
  ~waiter() {
    const std::lock_guard lock{source.mutex_};
    std::erase(source.waiters_, this);
  }
  struct state {
    wake_slot slot;
    bool done = false;
    bool fetched = false;
  };
  /// Resumes the waiting coroutine where it runs; destroyed uncalled, because its context goes, it lets go of
  /// the coroutine too.
  class wake_up {
   public:
    wake_up(std::shared_ptr<state> whom, bool fetched) noexcept : whom_(std::move(whom)), fetched_(fetched) {}
    wake_up(wake_up&&) noexcept = default;
    wake_up& operator=(wake_up&&) = delete;
    ~wake_up() {
      if (whom_) whom_->slot.abandon();
    }
    void operator()() {
      const auto whom = std::exchange(whom_, nullptr);
      whom->done = true;
      whom->fetched = fetched_;
      whom->slot.wake();
    }

   private:
    std::shared_ptr<state> whom_;
    bool fetched_;
  };
  key_source& source;
  asio::any_io_executor executor;
  std::shared_ptr<state> shared = std::make_shared<state>();
};

/// In the frame of a fetch: says that it brought nothing, even if it was destroyed with its context.
class key_source::running {
 public:
  explicit running(key_source& of) noexcept : source_(&of) {}
  running(const running&) = delete;
  running& operator=(const running&) = delete;
  ~running() {
    if (source_) source_->fail();
  }
  void succeed(std::vector<jwt_key> keys) {
    source_->take(std::move(keys));
    source_ = nullptr;
  }

 private:
  key_source* source_;
};

key_source::key_source(web_address from, jwks_endpoint how, std::shared_ptr<clock> time,
                       std::function<void(std::vector<jwt_key>)> use,
                       std::function<void(std::string_view)> problem)
    : from_(std::move(from)),
      how_(std::move(how)),
      time_(std::move(time)),
      use_(std::move(use)),
      problem_(std::move(problem)) {}

bool key_source::loaded() const {
  const std::lock_guard lock{mutex_};
  return loaded_.has_value();
}

std::uint64_t key_source::fetches() const {
  const std::lock_guard lock{mutex_};
  return fetches_;
}

std::uint64_t key_source::failures() const {
  const std::lock_guard lock{mutex_};
  return failures_;
}

std::optional<wall_time> key_source::loaded_at() const {
  const std::lock_guard lock{mutex_};
  return loaded_at_;
}

bool key_source::may_begin(time_point now) const {
  if (fetching_) return false;
  if (!begun_) return true;
  const auto pause =
      loaded_ ? how_.pause : std::min<std::chrono::nanoseconds>(how_.pause, pause_without_keys);
  return now >= deadline_after(*begun_, pause);
}

bool key_source::fetching() const {
  const std::lock_guard lock{mutex_};
  return fetching_;
}

void key_source::begin(const asio::any_io_executor& where, fetch_when when) {
  {
    const std::lock_guard lock{mutex_};
    const auto now = time_->now();
    if (fetching_ || (when == fetch_when::due && !may_begin(now))) return;
    fetching_ = true;
    begun_ = now;
    ++fetches_;
  }
  // `fetch` looks at every exception itself.
  asio::co_spawn(where, fetch(shared_from_this()), [](const std::exception_ptr&) {});
}

asio::awaitable<bool> key_source::refresh(fetch_when when) {
  const auto keep = shared_from_this();
  if (when == fetch_when::now && fetching()) co_await refresh();
  waiter here{*this};
  here.executor = co_await asio::this_coro::executor;
  const auto state = here.shared;
  {
    const std::lock_guard lock{mutex_};
    if (when == fetch_when::due && !fetching_ && !may_begin(time_->now())) co_return false;
    waiters_.push_back(&here);
  }
  begin(here.executor, when);
  while (!state->done) {
    const bool cancelled = co_await state->slot.wait();
    if (cancelled) throw boost::system::system_error{asio::error::operation_aborted};
  }
  co_return state->fetched;
}

void key_source::refresh_if_old(const asio::any_io_executor& where) {
  {
    const std::lock_guard lock{mutex_};
    if (how_.max_age.count() == 0 || !loaded_ || time_->now() < deadline_after(*loaded_, how_.max_age))
      return;
  }
  begin(where, fetch_when::due);
}

// Under one lock: who sees the new keys finds the fetch over as well.
void key_source::take(std::vector<jwt_key> keys) {
  const std::lock_guard lock{mutex_};
  use_(std::move(keys));
  loaded_ = time_->now();
  loaded_at_ = time_->wall_now();
  finish(true);
}

void key_source::fail() {
  const std::lock_guard lock{mutex_};
  ++failures_;
  finish(false);
}

void key_source::finish(bool fetched) {
  fetching_ = false;
  for (auto* const one : std::exchange(waiters_, {})) {
    asio::post(one->executor, waiter::wake_up{one->shared, fetched});
  }
}

asio::awaitable<void> key_source::fetch(std::shared_ptr<key_source> self) {
  running mine{*self};
  std::string problem;
  try {
    const auto document = co_await fetch_jwks(self->from_, self->how_, *self->time_);
    auto set = parse_jwks(document, self->how_.format);
    for (const auto& skipped : set.skipped) {
      if (!self->problem_) break;
      self->problem_("key " + std::to_string(skipped.index) +
                     " of the JWK set is not used: " + std::string{to_string(skipped.why)});
    }
    // Somebody's mistake, as likely as not; everybody would be locked out.
    if (set.keys.empty()) throw std::runtime_error{"it has no key that can be used"};
    mine.succeed(std::move(set.keys));
    co_return;
  } catch (const std::exception& error) {
    problem = error.what();
  }
  if (self->problem_)
    self->problem_("the JWK set could not be fetched from " + self->from_.authority() + ": " + problem);
}

}  // namespace skein::detail
