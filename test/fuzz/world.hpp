#pragma once

// What the targets that run whole connections share: a manager on a context that the target runs, and a clock
// that it turns. One of them lasts as long as the process; every input begins and ends with nobody there.

#include "fuzz_input.hpp"

#include <skein/manager.hpp>
#include <skein/testing.hpp>

#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fuzz {

/// An input, read piece by piece; past its end everything is zero and empty.
class reader {
 public:
  reader(const std::uint8_t* data, std::size_t size) noexcept
      : rest_(reinterpret_cast<const char*>(data), size) {}

  [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }
  [[nodiscard]] unsigned byte() noexcept {
    if (rest_.empty()) return 0;
    const auto value = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }
  [[nodiscard]] std::string_view bytes(std::size_t count) noexcept {
    const auto taken = rest_.substr(0, count);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  /// Up to the next line feed, which is left out.
  [[nodiscard]] std::string_view line() noexcept {
    const auto taken = rest_.substr(0, rest_.find('\n'));
    rest_.remove_prefix(std::min(taken.size() + 1, rest_.size()));
    return taken;
  }

 private:
  std::string_view rest_;
};

struct ended {
  skein::connection_id id = 0;
  skein::close_reason reason;
};

class world {
 public:
  explicit world(skein::manager_options options) {
    options.shards = 1;
    options.time = time;
    options.on_open = [this, more = std::move(options.on_open)](skein::connection& who) {
      ++opened;
      if (more) more(who);
    };
    options.on_closed = [this](skein::connection& who, const skein::close_reason& why) {
      closed.push_back({who.id(), why});
    };
    options.on_problem = [this](std::string_view line) { problems.emplace_back(line); };
    hub = skein::make_manager(context.get_executor(), std::move(options));
  }

  void settle() { skein::testing::settle(context); }
  void advance(skein::duration by) {
    time->advance(by);
    settle();
  }
  void begin() {
    opened = 0;
    closed.clear();
    problems.clear();
  }
  /// Turns the clock until every connection has ended. Whoever says nothing at all is gone after the ping
  /// interval, the pong timeout and the close timeout.
  void end_within(skein::duration limit) {
    const auto last = time->now() + limit;
    settle();
    // One that has yet to bring its token is not told of, but it is there.
    while (closed.size() < opened || hub->stats().active != 0) {
      const auto next = time->next();
      require(next && *next <= last, "a connection of which nobody hears any more does not end");
      advance(std::max(*next - time->now(), skein::duration{1}));
    }
    check_empty();
  }

  boost::asio::io_context context{1};
  std::shared_ptr<skein::testing::virtual_clock> time = std::make_shared<skein::testing::virtual_clock>();
  std::size_t opened = 0;
  std::vector<ended> closed;
  std::vector<std::string> problems;
  std::shared_ptr<skein::manager> hub;

 private:
  void check_empty() const {
    const auto now = hub->stats();
    require(closed.size() == opened, "more ends than connections");
    require(now.total == now.closed, "a connection was counted that has not ended");
    require(now.active == 0 && now.open == 0 && now.closing == 0, "a connection is still counted");
    require(now.queued_messages == 0 && now.queued_bytes == 0, "something is queued for nobody");
    for (const auto& [id, why] : closed) check(why);
  }
  static void check(const skein::close_reason& why) {
    using skein::close_code;
    using skein::closed_by;
    switch (why.by) {
      case closed_by::nobody:
        require(false, "nobody closed it");
        break;
      case closed_by::peer:
      case closed_by::local:
        require(why.code == close_code::none || skein::is_sendable(why.code),
                "closed with a code that is none");
        break;
      case closed_by::transport:
        require(why.code == close_code::abnormal, "a lost transport is 1006");
        break;
    }
  }
};

}  // namespace fuzz
