#include <skein/error.hpp>
#include <skein/testing.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/system/system_error.hpp>

#include <mutex>
#include <utility>

namespace skein::testing {
namespace {

using real_time = std::chrono::steady_clock;

// How long a cancelled coroutine may take to end.
constexpr std::chrono::seconds grace{1};

struct task_state {
  bool ended = false;
  std::exception_ptr error;
  asio::cancellation_signal cancel;
};

void run_until_ended(asio::io_context& context, const task_state& task, real_time::time_point deadline) {
  while (!task.ended && real_time::now() < deadline) {
    context.restart();
    context.run_one_until(deadline);
  }
}

void settle_until(asio::io_context& context, real_time::time_point deadline) {
  context.restart();
  while (context.poll_one() != 0 && real_time::now() < deadline) {
  }
  context.restart();
}

struct context_pool {
  std::mutex mutex;
  std::vector<std::unique_ptr<asio::io_context>> free;
};

context_pool& contexts() {
  static auto* const pool = new context_pool;  // never destroyed
  return *pool;
}

}  // namespace

namespace detail {

leased_context::leased_context() {
  auto& pool = contexts();
  const std::lock_guard lock{pool.mutex};
  if (pool.free.empty()) {
    context_ = std::make_unique<asio::io_context>(1);
  } else {
    context_ = std::move(pool.free.back());
    pool.free.pop_back();
  }
}

leased_context::~leased_context() {
  context_->restart();
  context_->poll();
  if (!context_->stopped()) return;  // something still waits on it: it goes, with what waits
  auto& pool = contexts();
  const std::lock_guard lock{pool.mutex};
  pool.free.push_back(std::move(context_));
}

}  // namespace detail

void run(asio::io_context& context, asio::awaitable<void> task, std::chrono::milliseconds limit) {
  const auto deadline = real_time::now() + limit;
  auto state = std::make_shared<task_state>();
  auto ended = [state](std::exception_ptr error) {
    state->ended = true;
    state->error = std::move(error);
  };
  asio::co_spawn(context, std::move(task),
                 asio::bind_cancellation_slot(state->cancel.slot(), std::move(ended)));

  run_until_ended(context, *state, deadline);
  if (!state->ended) {
    // What the coroutine refers to is about to go; let it go first.
    state->cancel.emit(asio::cancellation_type::terminal);
    run_until_ended(context, *state, real_time::now() + grace);
    throw boost::system::system_error{make_error_code(errc::timed_out)};
  }
  settle_until(context, deadline);
  if (state->error) std::rethrow_exception(state->error);
}

void run(asio::awaitable<void> task, std::chrono::milliseconds limit) {
  detail::leased_context context;
  run(context.get(), std::move(task), limit);
}

void settle(asio::io_context& context) {
  settle_until(context, real_time::time_point::max());
}

}  // namespace skein::testing
