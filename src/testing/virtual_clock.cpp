#include <skein/testing.hpp>

#include <boost/asio/post.hpp>

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

namespace skein::testing {
namespace {

// One alarm. Rings only for its latest setting: `set` and `cancel` begin a new one.
struct entry {
  asio::any_io_executor executor;
  std::function<void()> ring;
  std::uint64_t setting = 0;
};

// What a clock shares with its alarms.
struct hands {
  mutable std::mutex mutex;                               // of all below and of every entry's setting
  time_point now = time_point{} + std::chrono::hours{1};  // so that one may look back
  std::multimap<time_point, std::shared_ptr<entry>> waiting;

  void forget(const std::shared_ptr<entry>& which) {
    std::erase_if(waiting, [&](const auto& each) { return each.second == which; });
    ++which->setting;
  }
};

void post_ring(std::shared_ptr<hands> of, std::shared_ptr<entry> which) {
  auto executor = which->executor;
  const auto setting = which->setting;
  asio::post(executor, [of = std::move(of), setting, which = std::move(which)] {
    {
      const std::lock_guard lock{of->mutex};
      if (which->setting != setting) return;
    }
    which->ring();
  });
}

class virtual_alarm final : public alarm {
 public:
  virtual_alarm(std::shared_ptr<hands> of, asio::any_io_executor executor, std::function<void()> ring)
      : hands_(std::move(of)), entry_(std::make_shared<entry>()) {
    entry_->executor = std::move(executor);
    entry_->ring = std::move(ring);
  }
  virtual_alarm(const virtual_alarm&) = delete;
  virtual_alarm& operator=(const virtual_alarm&) = delete;
  ~virtual_alarm() override { virtual_alarm::cancel(); }

  void set(time_point when) override {
    const std::lock_guard lock{hands_->mutex};
    hands_->forget(entry_);
    if (when > hands_->now) {
      hands_->waiting.emplace(when, entry_);
    } else {
      post_ring(hands_, entry_);
    }
  }

  void cancel() override {
    const std::lock_guard lock{hands_->mutex};
    hands_->forget(entry_);
  }

 private:
  std::shared_ptr<hands> hands_;
  std::shared_ptr<entry> entry_;
};

}  // namespace

struct virtual_clock::impl : hands {};

virtual_clock::virtual_clock() : impl_(std::make_shared<impl>()) {}
virtual_clock::~virtual_clock() = default;

std::chrono::system_clock::time_point virtual_clock::wall() const noexcept {
  using namespace std::chrono;
  return sys_days{year{2030} / January / 1} + (now() - hands{}.now);
}

time_point virtual_clock::now() const noexcept {
  const std::lock_guard lock{impl_->mutex};
  return impl_->now;
}

std::unique_ptr<alarm> virtual_clock::make_alarm(asio::any_io_executor executor, std::function<void()> ring) {
  return std::make_unique<virtual_alarm>(impl_, std::move(executor), std::move(ring));
}

void virtual_clock::advance(duration by) {
  const std::lock_guard lock{impl_->mutex};
  impl_->now += by;
  auto& waiting = impl_->waiting;
  const auto due = waiting.upper_bound(impl_->now);
  for (auto each = waiting.begin(); each != due; each = waiting.erase(each)) post_ring(impl_, each->second);
}

std::optional<time_point> virtual_clock::next() const {
  const std::lock_guard lock{impl_->mutex};
  if (impl_->waiting.empty()) return std::nullopt;
  return impl_->waiting.begin()->first;
}

}  // namespace skein::testing
