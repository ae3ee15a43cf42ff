#include "team.hpp"

#include "clock.hpp"

#include <csignal>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <pthread.h>
#include <sched.h>
#include <system_error>
#include <utility>

namespace skein::bench {
namespace {

constexpr double no_limit_s = 1e6;  // the run's own holds
constexpr double close_patience_s = 2;
constexpr double patience_past_the_limit_s = 1;

void take_own_file_table() {
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
  return;  // it takes equal descriptors of different tables for the same file
#endif
#endif
  ::unshare(CLONE_FILES);  // not allowed everywhere, and not needed
}

}  // namespace

team::team(std::vector<std::unique_ptr<load>> loads, conductor& host)
    : host_(host), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (wake_ < 0) throw std::system_error{errno, std::system_category(), "eventfd"};
  for (auto& work : loads) {
    auto& self = *members_.emplace_back(std::make_unique<member>());
    self.work = std::move(work);
  }
  for (auto& self : members_) self->thread = std::thread{[this, &self = *self] { serve(self); }};
}

team::~team() {
  // No load may be destroyed while another can still call it.
  deliver([](member& self) { self.quits = true; });
  no_thread_works_.count_down();
  for (auto& self : members_) self->thread.join();
  ::close(wake_);
}

void team::serve(member& self) {
  try {
    ::prctl(PR_SET_TIMERSLACK, 1000UL);  // or a timetable is kept to 50 us only
    take_own_file_table();
    auto& work = *self.work;
    auto& driver = work.driver();
    while (true) {
      if (self.mail.load(std::memory_order_relaxed) != nullptr) take_mail(self);
      if (self.quits) break;
      const auto now = driver.tick();
      const auto next = std::min(work.take_turn(now), driver.keep_going(now));
      driver.flush();
      self.progress.store(work.progress(), std::memory_order_relaxed);
      if (self.aim && self.aim(work)) {
        self.aim = nullptr;
        self.reached_ns = driver.tick();
        self.reached.store(true);
        ::eventfd_write(wake_, 1);
      }
      driver.poll(next);
    }
  } catch (...) {
    const std::lock_guard lock{mutex_};
    if (!failure_) failure_ = std::current_exception();
    self.dead = true;
    self.reached_ns = now_ns();
    self.reached.store(true);
    if (self.mail.exchange(nullptr) != nullptr) --unanswered_;
    answered_.notify_one();
    ::eventfd_write(wake_, 1);
  }
  no_thread_works_.wait();
  self.work.reset();  // here, since its sockets are open on this thread only
}

void team::take_mail(member& self) {
  (*self.mail.load())(self);
  const std::lock_guard lock{mutex_};
  self.mail.store(nullptr);
  --unanswered_;
  answered_.notify_one();
}

void team::each(const step& what) {
  ask_each([&what](member& self) { what(*self.work); });
}

void team::ask_each(const order& what) {
  deliver(what);
  const std::lock_guard lock{mutex_};
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

/// Has each thread that is alive carry out the order.
void team::deliver(const order& what) {
  std::unique_lock lock{mutex_};
  for (auto& self : members_) {
    if (self->dead) continue;
    ++unanswered_;
    self->mail.store(&what);
    self->work->driver().wake();
  }
  answered_.wait(lock, [this] { return unanswered_ == 0; });
}

bool team::wait(std::string_view phase, double seconds, const goal& until) {
  return wait_until(phase, seconds, host_.deadline_ns(), false, until);
}

bool team::drain(std::string_view phase, double seconds, const goal& until) {
  const auto last = std::max(host_.deadline_ns(), now_ns() + to_ns(patience_past_the_limit_s));
  return wait_until(phase, seconds, last, true, until);
}

bool team::wait_until(std::string_view phase, double seconds, std::int64_t deadline_ns,
                      bool even_if_cut_short, const goal& until) {
  const auto begin = now_ns();
  const auto end = std::min(deadline_ns, begin + to_ns(seconds));
  const auto all_reached = [this] {
    return std::all_of(members_.begin(), members_.end(),
                       [](const auto& self) { return self->reached.load(); });
  };
  ask_each([&until](member& self) {
    self.reached.store(false);
    self.aim = until;
  });
  while (!all_reached() && now_ns() < end && (even_if_cut_short || !host_.interrupted())) {
    host_.pause(wake_, end);
    std::uint64_t done = 0;
    for (const auto& self : members_) done += self->progress.load(std::memory_order_relaxed);
    host_.show(phase, begin, seconds < no_limit_s ? seconds : 0, done);
  }
  return all_reached();
}

std::int64_t team::reached_ns() const {
  std::int64_t last = 0;
  for (const auto& self : members_) {
    if (!self->reached.load()) return now_ns();
    last = std::max(last, self->reached_ns);
  }
  return last;
}

void team::open(const std::vector<std::uint32_t>& counts, std::uint32_t at_once) {
  const auto threads = static_cast<std::uint32_t>(members_.size());
  each([&](load& work) { work.driver().open(counts[work.thread()], std::max(1U, at_once / threads)); });
  const auto settled = [](const load& work) { return work.driver().all_settled(); };
  if (!wait("opening", no_limit_s, settled)) each([](load& work) { work.driver().stop_opening(); });
}

void team::close_all() {
  each([](load& work) { work.driver().close_all(); });
  drain("closing", close_patience_s, [](const load& work) { return work.driver().all_closed(); });
}

std::vector<std::int64_t> team::cpu_ns() const {
  std::vector<std::int64_t> used;
  for (const auto& self : members_) {
    clockid_t clock{};
    timespec time{};
    if (::pthread_getcpuclockid(self->thread.native_handle(), &clock) == 0) ::clock_gettime(clock, &time);
    used.push_back(std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec);
  }
  return used;
}

connection_tally team::tally() {
  connection_tally all;
  std::mutex turn;
  each([&](const load& work) {
    const std::lock_guard lock{turn};
    all.merge(work.driver().tally());
  });
  return all;
}

}  // namespace skein::bench
