#include "connection/host.hpp"

namespace skein::detail {

namespace {
constexpr std::size_t read_buffer_size = 64 * 1024;
constexpr std::size_t gather_size = 32 * 1024;
}  // namespace

std::string what_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "not a std::exception";
  }
}

host::host(asio::any_io_executor executor, std::shared_ptr<clock> time, const manager_options& options)
    : executor_(std::move(executor)),
      time_(std::move(time)),
      options_(options),
      engine_{options.limits.max_message_bytes, options.limits.max_message_frames,
              options.compression.enabled, options.engine},
      channel_{options.limits.send_queue_messages, options.limits.send_queue_bytes},
      beats_{std::chrono::duration_cast<duration>(options.limits.ping_interval),
             std::chrono::duration_cast<duration>(options.limits.pong_timeout)},
      pings_{options.limits.max_pings_per_second, options.limits.ping_burst},
      poller_(std::in_place, executor_),
      read_buffer_(read_buffer_size),
      scratch_(scratch_size(engine_)),
      gather_(gather_size) {}

void host::begin(const std::weak_ptr<host>& self) {
  // Weak, because the last owner may let go on any thread while the alarm rings on the executor.
  alarm_ = time_->make_alarm(executor_, [self] {
    if (const auto strong = self.lock()) strong->ring();
  });
  rearm();
  watch(self);
}

void host::watch(std::weak_ptr<host> self) {
  poller_->wait([self = std::move(self)](error_code ec) mutable {
    const auto strong = self.lock();
    if (ec || !strong) return;
    try {
      strong->poller_->dispatch();
    } catch (...) {
      strong->problem("a connection failed: " + what_of(std::current_exception()));
    }
    strong->watch(std::move(self));
  });
}

void host::close_gate() {
  const std::lock_guard lock{gate_};
  gone_ = true;
}

void host::finish() {
  alarm_.reset();
  poller_.reset();
}

void host::ring() {
  armed_ = time_point::max();
  deadlines_.run(now());
  rearm();
}

void host::rearm() {
  const auto next = deadlines_.next();
  // An alarm that rings too early costs less than one that is set for every change.
  if (next >= armed_ || !alarm_) return;
  armed_ = time_point::max();
  alarm_->set(next);  // if there is no memory for it, the next deadline that is set tries again
  armed_ = next;
}

}  // namespace skein::detail
