#include "conductor.hpp"

#include "clock.hpp"

#include <csignal>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <poll.h>

namespace skein::bench {
namespace {

constexpr double quiet_s = 2;  // a run that is over by then says nothing
constexpr std::int64_t second_ns = 1'000'000'000;

sigset_t ending_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

conductor::conductor(double time_limit_s, bool always_show)
    : time_limit_s_(time_limit_s),
      started_ns_(now_ns()),
      deadline_ns_(started_ns_ + to_ns(time_limit_s)),
      next_show_ns_(started_ns_ + to_ns(quiet_s)),
      terminal_(::isatty(STDERR_FILENO) == 1),
      shows_(always_show || terminal_) {
  const auto set = ending_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

conductor::~conductor() {
  clear_line();
  ::close(signals_);
}

bool conductor::out_of_time() const noexcept {
  return now_ns() >= deadline_ns_;
}

void conductor::pause(int wake, std::int64_t until_ns) {
  const auto wait = std::clamp<std::int64_t>(until_ns - now_ns(), 0, second_ns);
  const timespec longest{.tv_sec = wait / second_ns, .tv_nsec = wait % second_ns};
  std::array<pollfd, 2> watched{pollfd{wake, POLLIN, 0}, pollfd{signals_, POLLIN, 0}};
  ::ppoll(watched.data(), watched.size(), &longest, nullptr);
  std::uint64_t wakes = 0;
  if (watched[0].revents != 0) [[maybe_unused]]
    const auto got = ::read(wake, &wakes, sizeof wakes);
  signalfd_siginfo info{};
  while (::read(signals_, &info, sizeof info) == sizeof info) {
    if (interrupted_) ::_exit(128 + static_cast<int>(info.ssi_signo));
    interrupted_ = true;
  }
}

void conductor::show(std::string_view phase, std::int64_t begin_ns, double seconds, std::uint64_t done) {
  const auto now = now_ns();
  if (!shows_ || now < next_show_ns_) return;
  next_show_ns_ = now + second_ns;
  std::array<char, 32> of{};
  if (seconds > 0) std::snprintf(of.data(), of.size(), " of %.1f", seconds);
  std::fprintf(stderr, "%sskein-bench: %.*s, %.1f%s s, %llu so far%s", terminal_ ? "\r\x1b[K" : "",
               static_cast<int>(phase.size()), phase.data(), to_seconds(now - begin_ns), of.data(),
               static_cast<unsigned long long>(done), terminal_ ? "" : "\n");
  line_open_ = terminal_;
}

void conductor::clear_line() {
  if (line_open_) std::fputs("\r\x1b[K", stderr);
  line_open_ = false;
}

}  // namespace skein::bench
