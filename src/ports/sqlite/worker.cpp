#include "ports/sqlite/worker.hpp"

#include <algorithm>
#include <new>
#include <stdexcept>

namespace skein::detail::sqlite {
namespace {

// A log of so many pages is moved into the database. Until that is done it grows by what a batch writes.
constexpr int checkpoint_pages = 1000;

opened open_and_report(const sqlite_store_options& options, const std::shared_ptr<clock>& time) {
  auto result = open_database({options.path, options.busy_timeout, options.max_bytes, time->wall_now()});
  if (!result.moved_aside.empty() && options.on_event) {
    options.on_event({sqlite_event::kind::moved_aside, result.moved_aside});
  }
  return result;
}

void add(store_stats& to, const store_stats& more) {
  to.appends += more.appends;
  to.kept += more.kept;
  to.acknowledged += more.acknowledged;
  to.trimmed += more.trimmed;
  to.forgotten += more.forgotten;
  to.expired += more.expired;
  to.pushed_out += more.pushed_out;
  to.bytes_in += more.bytes_in;
}

}  // namespace

std::optional<errc> request_queue::push(std::shared_ptr<request> what) {
  const std::lock_guard lock{mutex_};
  if (closed_) return errc::store_unavailable;
  if (waiting_.size() >= max_requests_ || what->bytes > max_bytes_ || bytes_ > max_bytes_ - what->bytes) {
    refused_.fetch_add(1, std::memory_order_relaxed);
    return errc::store_full;
  }
  const auto bytes = what->bytes;
  try {
    waiting_.push_back(std::move(what));
  } catch (const std::bad_alloc&) {
    return errc::store_full;
  }
  bytes_ += bytes;
  if (waiting_.size() == 1) arrived_.notify_one();
  return std::nullopt;
}

std::vector<std::shared_ptr<request>> request_queue::pop(std::size_t most, std::chrono::milliseconds wait) {
  std::vector<std::shared_ptr<request>> taken;
  std::unique_lock lock{mutex_};
  if (wait > std::chrono::milliseconds{0}) {
    arrived_.wait_for(lock, wait, [&] { return closed_ || !waiting_.empty(); });
  }
  const auto count = std::min(most, waiting_.size());
  taken.reserve(count);
  for (std::size_t n = 0; n < count; ++n) {
    bytes_ -= waiting_.front()->bytes;
    taken.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return taken;
}

void request_queue::close() {
  const std::lock_guard lock{mutex_};
  closed_ = true;
  arrived_.notify_one();
}

bool request_queue::is_closed() const {
  const std::lock_guard lock{mutex_};
  return closed_;
}

std::size_t request_queue::size() const {
  const std::lock_guard lock{mutex_};
  return waiting_.size();
}

worker::worker(sqlite_store_options options, std::shared_ptr<request_queue> queue)
    : options_(std::move(options)),
      time_(options_.time ? options_.time : steady_clock()),
      queue_(std::move(queue)),
      opened_(open_and_report(options_, time_)),
      database_(*opened_.database),
      tables_(database_),
      retention_(tables_.topics, tables_.users, options_.sweep_interval, options_.forget_idle_topics,
                 time_->now()),
      savepoint_(database_, "SAVEPOINT one"),
      release_(database_, "RELEASE one"),
      roll_back_to_(database_, "ROLLBACK TO one"),
      begin_(database_, "BEGIN IMMEDIATE"),
      commit_(database_, "COMMIT"),
      trial_(database_, "UPDATE ids SET next = next"),
      page_count_(database_, "PRAGMA page_count"),
      page_size_(static_cast<std::uint64_t>(database_.number_of("PRAGMA page_size"))) {
  health_.moved_aside = opened_.moved_aside;
  measure();
  sqlite3_wal_hook(
      database_.get(),
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<worker*>(self)->log_pages_ = pages;
        return SQLITE_OK;
      },
      this);
  thread_ = std::thread{[this] { run(); }};
}

worker::~worker() {
  thread_.join();
}

store_health worker::health() const {
  const std::lock_guard lock{mutex_};
  return health_;
}

store_stats worker::stats() const {
  const std::lock_guard lock{mutex_};
  auto now = stats_;
  now.refused = queue_->refused();
  now.queued = queue_->size();
  return now;
}

void worker::run() {
  while (true) {
    const bool is_due = retention_.is_due(time_->now());
    auto batch =
        queue_->pop(options_.max_batch, is_due ? std::chrono::milliseconds{0} : options_.sweep_interval);
    const bool was_empty = batch.empty();
    if (!was_empty) serve(std::move(batch));
    if (was_empty && queue_->is_closed() && queue_->size() == 0) break;
    if (retention_.is_due(time_->now())) sweep();
    if (log_pages_ >= checkpoint_pages) checkpoint();
  }
}

void worker::serve(requests batch) {
  std::erase_if(batch, [](const auto& each) { return !each->claim(); });
  answer_reads(batch);
  if (!batch.empty()) commit_or_fail(std::move(batch));
}

void worker::answer_reads(requests& batch) {
  // Not in the transaction: nobody may see what is not committed yet.
  std::erase_if(batch, [this](const auto& each) {
    try {
      if (!each->look(tables_, time_->wall_now())) return false;
      each->complete();
    } catch (const failure& error) {
      note_failure(error.what());
      fail(*each, to_errc(error), error.what());
    } catch (const std::exception& error) {
      fail(*each, errc::store_unavailable, error.what());
    }
    return true;
  });
}

void worker::commit_or_fail(requests group) {
  store_stats counted;
  try {
    commit(group, counted);
  } catch (const failure& error) {
    roll_back();
    note_failure(error.what());
    const bool is_full = error.code() == SQLITE_FULL;
    // What makes room must not wait for room, or there never will be any: it is tried once more, alone.
    requests again;
    const bool is_mixed =
        std::any_of(group.begin(), group.end(), [](const auto& each) { return each && !each->makes_room; });
    for (auto& each : group) {
      if (!each) continue;
      if (is_full && is_mixed && each->makes_room) {
        again.push_back(std::move(each));
      } else {
        fail(*each, to_errc(error), error.what());
      }
    }
    if (is_full) checkpoint();
    if (!again.empty()) commit_or_fail(std::move(again));
    return;
  }
  // It is committed: nothing that fails from here on may be told to those who asked for it.
  note_commit(counted);
  for (const auto& each : group) {
    if (each) each->complete();
  }
}

void worker::commit(requests& group, store_stats& counted) {
  begin_.run();
  for (auto& each : group) {
    if (!change_one(*each, counted)) each.reset();
  }
  commit_.run();
}

bool worker::change_one(request& which, store_stats& counted) {
  auto error = errc::store_unavailable;
  std::string why;
  auto with_this = counted;
  savepoint_.run();
  try {
    which.change(tables_, time_->wall_now(), with_this);
    release_.run();
    counted = with_this;
    return true;
  } catch (const failure& failed) {
    // A transaction that SQLite has ended itself is lost for all.
    if (!failed.is_of_request() || !database_.in_transaction()) throw;
    error = to_errc(failed);
    why = failed.what();
  } catch (const std::exception& failed) {
    why = failed.what();
  }
  roll_back_to_.run();
  release_.run();
  fail(which, error, why);
  return false;
}

void worker::sweep() {
  try {
    store_stats counted;
    begin_.run();
    retention_.slice(time_->now(), time_->wall_now(), counted);
    // If commits failed, this finds out whether they succeed again: perhaps nobody else dares to try.
    const bool is_trial = !health().available;
    if (is_trial) trial_.run();
    commit_.run();
    if (is_trial) {
      note_commit(counted);
    } else {
      measure();
      const std::lock_guard lock{mutex_};
      add(stats_, counted);
    }
  } catch (const std::exception& error) {
    roll_back();
    retention_.give_up(time_->now());
    note_failure(error.what());
  }
}

void worker::roll_back() noexcept {
  if (database_.in_transaction()) sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void worker::checkpoint() {
  // Waits for nobody: what a reader still needs stays in the log until the next time.
  const int code =
      sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  log_pages_ = 0;  // tried again after as many pages
  const bool is_done = code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED;
  // Otherwise nothing is lost, it is all in the log; but that grows, and somebody should know why.
  const std::lock_guard lock{mutex_};
  log_problem_ = is_done ? "" : std::string{"the log cannot be emptied: "} + sqlite3_errstr(code);
  if (health_.available) health_.problem = log_problem_;
}

void worker::measure() {
  std::uint64_t count = 0;
  try {
    statement::use pages{page_count_};
    if (!pages.step()) return;
    count = pages.count(0);
  } catch (const failure&) {
    return;  // the size stays what it was; the next commit will say what is wrong
  }
  const std::lock_guard lock{mutex_};
  stats_.bytes = count * page_size_;
}

void worker::note_commit(const store_stats& counted) {
  measure();
  bool is_back = false;
  {
    const std::lock_guard lock{mutex_};
    add(stats_, counted);
    ++stats_.commits;
    is_back = !health_.available;
    health_.available = true;
    health_.problem = log_problem_;
  }
  if (is_back) tell(sqlite_event::kind::available, {});
}

void worker::note_failure(const std::string& why) {
  bool is_new = false;
  {
    const std::lock_guard lock{mutex_};
    is_new = health_.available;
    health_.available = false;
    health_.problem = why;
  }
  if (is_new) tell(sqlite_event::kind::unavailable, why);
}

void worker::fail(request& which, errc error, const std::string& why) {
  {
    const std::lock_guard lock{mutex_};
    ++stats_.failed;
  }
  which.complete(make_error_code(error), why);
}

void worker::tell(sqlite_event::kind what, const std::string& text) const noexcept {
  if (!options_.on_event) return;
  try {
    options_.on_event({what, text});
  } catch (...) {  // it must not; and this thread serves everybody
  }
}

}  // namespace skein::detail::sqlite
