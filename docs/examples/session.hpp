#pragma once

// What the gateway knows about one connection: the channels it subscribed. It is kept in the connection's
// attributes, where the predicate of a broadcast finds it, and by orders that are being filled.
//
// The connection's handler changes it; it may be read on any thread.

#include <skein/connection.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace skein::examples {

enum class channel : unsigned { orders = 1, market_data = 2 };

inline constexpr std::array<std::pair<std::string_view, channel>, 2> channels{
    {{"orders", channel::orders}, {"market_data", channel::market_data}}};

[[nodiscard]] inline std::optional<channel> channel_named(std::string_view name) {
  for (const auto& [known, which] : channels) {
    if (known == name) return which;
  }
  return std::nullopt;
}

class session {
 public:
  explicit session(connection_id owner) noexcept : owner_(owner) {}

  [[nodiscard]] connection_id owner() const noexcept { return owner_; }
  [[nodiscard]] bool has(channel which) const noexcept { return (subscribed_ & bit(which)) != 0; }
  /// Whether this was new.
  bool subscribe(channel which) noexcept { return (subscribed_.fetch_or(bit(which)) & bit(which)) == 0; }
  /// Whether it had been subscribed.
  bool unsubscribe(channel which) noexcept { return (subscribed_.fetch_and(~bit(which)) & bit(which)) != 0; }

 private:
  static unsigned bit(channel which) noexcept { return static_cast<unsigned>(which); }
  connection_id owner_;
  std::atomic<unsigned> subscribed_{0};
};

/// Gives a connection a session. On the connection's executor.
[[nodiscard]] inline std::shared_ptr<session> open_session(connection& client) {
  auto made = std::make_shared<session>(client.id());
  client.attributes() = made;
  return made;
}

/// Whether this connection subscribed the channel. On the connection's executor, as predicates of broadcasts
/// are.
[[nodiscard]] inline bool subscribed(const connection& client, channel which) {
  const auto* found = std::any_cast<std::shared_ptr<session>>(&client.attributes());
  return found != nullptr && (*found)->has(which);
}

}  // namespace skein::examples
