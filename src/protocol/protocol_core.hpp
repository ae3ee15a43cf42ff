#pragma once

// What all conversations of one protocol share.

#include <skein/protocol.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace skein {

/// The own types are read-only once there are connections; the rest is safe on any thread.
struct json_protocol::impl {
  impl(std::shared_ptr<skein::topics> t, std::shared_ptr<skein::users> u, protocol_options o)
      : topics(std::move(t)), users(std::move(u)), options(std::move(o)) {}

  const std::shared_ptr<skein::topics> topics;
  const std::shared_ptr<skein::users> users;
  const protocol_options options;
  std::map<std::string, request_handler, std::less<>> own;
  std::atomic<std::uint64_t> requests{0}, errors{0}, faults{0}, denied{0};
};

}  // namespace skein
