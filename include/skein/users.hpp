#pragma once

// Sending to a user, on all of the user's connections.
//
// Who a connection belongs to is what the handshake found: `identity::user` (handshake.hpp). Anonymous
// connections belong to nobody.

#include <skein/delivery.hpp>
#include <skein/manager.hpp>
#include <skein/message.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skein {

/// All functions are legal on any thread; coroutines go on where they were called. An empty name is nobody.
class users {
 public:
  users() = default;
  users(const users&) = delete;
  users& operator=(const users&) = delete;
  virtual ~users() = default;

  /// Sends a message to every open connection of a user, and waits for what becomes of each copy, as
  /// `manager::broadcast` does, with the same errors and the same cancellation. `matched` is 0 for a user who
  /// is not there.
  [[nodiscard]] virtual asio::awaitable<delivery_report> send(std::string user, prepared_message what,
                                                              delivery how = {}) = 0;

  /// As `send`, without waiting and without a report.
  virtual void post_send(std::string_view user, prepared_message what, delivery how = {}) = 0;

  /// The registered connections of a user, in no particular order.
  [[nodiscard]] virtual asio::awaitable<std::vector<connection_id>> connections(std::string user) = 0;

  /// Starts closing every connection of a user, as after a revoked permission; completes with how many there
  /// were, without waiting for their ends. Throws `std::invalid_argument` for a code that may not be sent.
  virtual asio::awaitable<std::size_t> close(std::string user, close_code code, std::string text = {}) = 0;
};

/// The users of a manager that `make_manager` made; throws `std::invalid_argument` for any other.
[[nodiscard]] std::shared_ptr<users> make_users(const std::shared_ptr<manager>& of);

}  // namespace skein
