#pragma once

// A manager whose context and clock the fuzz target runs: everything of an input happens in one thread, and
// nothing of it in real time.

#include "fuzz_input.hpp"

#include <skein/manager.hpp>
#include <skein/testing.hpp>

#include <boost/asio/io_context.hpp>

#include <memory>
#include <string_view>

namespace fuzz {

struct memory_hub {
  explicit memory_hub(skein::manager_options options = {}) : hub(make(std::move(options))) {}

  void settle() { skein::testing::settle(context); }
  void advance(skein::duration by) {
    time->advance(by);
    settle();
  }
  /// Everything must end in this time, whatever went before.
  void end_within(skein::duration limit) {
    advance(limit);
    require(hub->stats().open == 0, "a connection does not end");
    require(hub->stats().queued_bytes == 0, "bytes are left of connections that have ended");
  }

  boost::asio::io_context context{1};
  std::shared_ptr<skein::testing::virtual_clock> time = std::make_shared<skein::testing::virtual_clock>();
  std::shared_ptr<skein::manager> hub;

 private:
  std::shared_ptr<skein::manager> make(skein::manager_options options) {
    options.shards = 1;
    options.time = time;
    // Whatever a peer sends is no problem of the server's.
    options.on_problem = [](std::string_view line) { require(false, std::string{line}.c_str()); };
    return skein::make_manager(context.get_executor(), std::move(options));
  }
};

}  // namespace fuzz
