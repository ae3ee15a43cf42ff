#pragma once

// The thread that owns the connection. It answers reads from what is committed, and carries out everything
// else in groups, each in one transaction: whoever comes while a commit is under way shares the next.

#include "ports/sqlite/request.hpp"
#include "ports/sqlite/retention.hpp"
#include "ports/sqlite/schema.hpp"

#include <skein/sqlite.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace skein::detail::sqlite {

class worker {
 public:
  /// Opens the database and starts the thread. The options are allowed.
  worker(sqlite_store_options options, std::shared_ptr<request_queue> queue);
  /// The queue is closed. Does what waits in it, and joins the thread.
  ~worker();
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;

  [[nodiscard]] store_health health() const;
  [[nodiscard]] store_stats stats() const;

 private:
  using requests = std::vector<std::shared_ptr<request>>;

  void run();
  void serve(requests batch);
  void answer_reads(requests& batch);
  /// Carries out a group in one transaction. Whoever fails alone is told so and leaves a null pointer. Throws
  /// `failure` if none of the others was kept.
  void commit(requests& group, store_stats& counted);
  void commit_or_fail(requests group);
  bool change_one(request& which, store_stats& counted);
  void sweep();
  void roll_back() noexcept;
  void checkpoint();

  void note_commit(const store_stats& counted);
  void note_failure(const std::string& why);
  void measure();
  void fail(request& which, errc error, const std::string& why);
  void tell(sqlite_event::kind what, const std::string& text) const noexcept;

  const sqlite_store_options options_;
  const std::shared_ptr<clock> time_;
  const std::shared_ptr<request_queue> queue_;

  mutable std::mutex mutex_;  // of the next three
  store_health health_;
  std::string log_problem_;
  store_stats stats_;

  // The thread's own.
  opened opened_;
  connection& database_;
  tables tables_;
  retention retention_;
  statement savepoint_, release_, roll_back_to_, begin_, commit_, trial_, page_count_;
  std::uint64_t page_size_ = 0;
  int log_pages_ = 0;

  std::thread thread_;  // the last: it uses all of the above
};

}  // namespace skein::detail::sqlite
