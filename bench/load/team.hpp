#pragma once

// Several loads, each on a thread of its own, told what to do by the main thread: what happens on the loads'
// threads is a step, or the check of a goal; in between the main thread waits. So a mode reads as a script,
// and no load needs a lock.

#include "conductor.hpp"
#include "load.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace skein::bench {

class team {
 public:
  using step = std::function<void(load&)>;
  using goal = std::function<bool(const load&)>;

  /// Starts a thread for each load; the i-th must be made for thread i.
  team(std::vector<std::unique_ptr<load>> loads, conductor& host);
  /// Ends the threads.
  ~team();
  team(const team&) = delete;
  team& operator=(const team&) = delete;

  /// Runs the step on every load's thread, on all of them at once; returns when each has. Throws what a
  /// load's thread has thrown since.
  void each(const step& what);

  /// Waits until the goal holds on every thread, at most `seconds`; true when it does. Returns at once when
  /// the run is cut short.
  bool wait(std::string_view phase, double seconds, const goal& until);

  /// The same for what must still come in after the run was cut short.
  bool drain(std::string_view phase, double seconds, const goal& until);

  /// When the goal of the last wait was reached on the last thread; the present if it was not.
  [[nodiscard]] std::int64_t reached_ns() const;

  /// Opens `counts[i]` connections with thread i, `at_once` in the handshake at a time over all of them, and
  /// returns when each is open or refused.
  void open(const std::vector<std::uint32_t>& counts, std::uint32_t at_once);

  /// Closes every connection, and waits a little for the server to agree.
  void close_all();

  /// CPU time of each load's thread.
  [[nodiscard]] std::vector<std::int64_t> cpu_ns() const;

  /// What became of the connections of all threads.
  [[nodiscard]] connection_tally tally();

  [[nodiscard]] std::size_t size() const noexcept { return members_.size(); }
  [[nodiscard]] conductor& host() noexcept { return host_; }

 private:
  struct member;
  using order = std::function<void(member&)>;

  struct member {
    std::unique_ptr<load> work;
    std::thread thread;
    std::atomic<const order*> mail = nullptr;
    std::atomic<std::uint64_t> progress = 0;
    std::atomic<bool> reached = false;
    bool quits = false;           // on the load's thread only
    goal aim;                     // on the load's thread only
    std::int64_t reached_ns = 0;  // written before `reached`
    bool dead = false;            // under the mutex
  };

  bool wait_until(std::string_view phase, double seconds, std::int64_t deadline_ns, bool even_if_cut_short,
                  const goal& until);
  void ask_each(const order& what);
  void deliver(const order& what);
  void serve(member& self);
  void take_mail(member& self);

  conductor& host_;
  int wake_ = -1;  // an eventfd: a goal was reached
  std::vector<std::unique_ptr<member>> members_;
  std::mutex mutex_;
  std::condition_variable answered_;
  std::size_t unanswered_ = 0;
  std::exception_ptr failure_;
  std::latch no_thread_works_{1};
};

/// A team whose loads are all of one kind, which has `result()`.
template <class Load>
class team_of : public team {
 public:
  /// `make(thread)` gives the load of each thread.
  template <class Make>
  team_of(std::uint32_t threads, conductor& host, Make make) : team(all_of(threads, make), host) {}

  template <class Step>
  void each(Step what) {
    team::each([&what](load& work) { what(static_cast<Load&>(work)); });
  }

  /// The results of all, merged.
  auto result() {
    decltype(std::declval<const Load&>().result()) all;
    std::mutex turn;
    each([&](const Load& work) {
      const std::lock_guard lock{turn};
      all.merge(work.result());
    });
    return all;
  }

 private:
  template <class Make>
  static std::vector<std::unique_ptr<load>> all_of(std::uint32_t threads, Make& make) {
    std::vector<std::unique_ptr<load>> loads;
    for (std::uint32_t i = 0; i < threads; ++i) loads.push_back(make(i));
    return loads;
  }
};

}  // namespace skein::bench
