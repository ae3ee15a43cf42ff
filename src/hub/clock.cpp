#include <skein/clock.hpp>

#include <boost/asio/steady_timer.hpp>

namespace skein {
namespace {

class steady_alarm final : public alarm {
 public:
  steady_alarm(const asio::any_io_executor& executor, std::function<void()> ring)
      : timer_(executor), ring_(std::make_shared<std::function<void()>>(std::move(ring))) {}

  void set(time_point when) override {
    timer_.expires_at(when);
    // The function may outlive this alarm in a completion that is already queued; then it is not called.
    timer_.async_wait([weak = std::weak_ptr{ring_}](const boost::system::error_code& ec) {
      const auto ring = weak.lock();
      if (!ec && ring) (*ring)();
    });
  }
  void cancel() override { timer_.cancel(); }

 private:
  asio::steady_timer timer_;
  std::shared_ptr<std::function<void()>> ring_;
};

class machine_clock final : public clock {
 public:
  [[nodiscard]] time_point now() const noexcept override { return std::chrono::steady_clock::now(); }
  [[nodiscard]] std::unique_ptr<alarm> make_alarm(asio::any_io_executor executor,
                                                  std::function<void()> ring) override {
    return std::make_unique<steady_alarm>(executor, std::move(ring));
  }
};

}  // namespace

wall_time clock::wall_now() const noexcept {
  return std::chrono::system_clock::now();
}

std::shared_ptr<clock> steady_clock() {
  static const auto instance = std::make_shared<machine_clock>();
  return instance;
}

}  // namespace skein
