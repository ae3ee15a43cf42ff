#pragma once

// A server whose clock the test turns, and clients of several addresses.

#include "http.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

namespace skein::test {

inline constexpr std::uint32_t address_a = 0x7f000002, address_b = 0x7f000101;  // 127.0.0.2, 127.0.1.1

struct timed_server {
  explicit timed_server(skein::server_options where, const std::function<void(skein::server&)>& add = {},
                        unsigned shards = quiet_options().shards)
      : server(timed(time, shards), std::move(where), add) {}
  static skein::manager_options timed(std::shared_ptr<skein::clock> by, unsigned shards) {
    auto options = quiet_options();
    options.time = std::move(by);
    options.shards = shards;
    return options;
  }
  std::shared_ptr<skein::testing::virtual_clock> time = std::make_shared<skein::testing::virtual_clock>();
  test_server server;
};

/// The status that a request to upgrade is answered with; 0: the connection was reset without a word.
inline unsigned status_or_reset(const test_server& server, std::string_view headers = {},
                                std::uint32_t from = 0) {
  try {
    raw_client client{server.port(), 0, from};
    return client.send(upgrade_request("/echo", headers)) ? client.read_answer().status : 0;
  } catch (const std::system_error&) {
    return 0;  // reset while it was connecting, or before it could read
  }
}

}  // namespace skein::test
