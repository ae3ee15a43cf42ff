#pragma once

// Sending to a user, on all of the user's connections.
//
// Who a connection belongs to is what the handshake found: `identity::user` (handshake.hpp). Anonymous
// connections belong to nobody.
//
// A message that is sent with `delivery().stored()` is first kept in a message store, and waits there until
// one of the user's connections acknowledges it: whoever is away gets it at the next connection, and it comes
// again until it is acknowledged. At least once, with an id by which to recognise repeats.

#include <skein/delivery.hpp>
#include <skein/manager.hpp>
#include <skein/message.hpp>
#include <skein/message_store.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skein {

struct users_options {
  std::shared_ptr<message_store> store{};  ///< empty: one in memory
  offline_limits limits{};                 ///< of each user's stored messages
};

/// What became of a message to a user.
struct user_report : delivery_report {
  stored_id id = 0;            ///< if it was stored
  std::size_t pushed_out = 0;  ///< older messages that made room for it in the store

  user_report() {}  // user-provided: this type is made inside co_await expressions
};

/// Since the start.
struct users_stats {
  std::uint64_t stored = 0;
  std::uint64_t unkept = 0;      ///< messages that the store could not keep
  std::uint64_t pushed_out = 0;  ///< stored messages that made room for newer ones
  std::uint64_t replayed = 0;    ///< stored messages that were sent to a connection that began
  std::uint64_t acknowledged = 0;
};

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
  ///
  /// With `delivery().stored()` it is first kept: it is sent, and this completes, once the store has it. If
  /// the store fails, `boost::system::system_error` with `errc::store_full`, `errc::store_unavailable` or
  /// `errc::message_too_big`, and nothing is sent. Once it is being kept, cancellation has no effect. Those
  /// who speak the JSON protocol get the id with it (docs/reference/protocol.md).
  [[nodiscard]] virtual asio::awaitable<user_report> send(std::string user, prepared_message what,
                                                          delivery how = {}) = 0;

  /// As `send`, without waiting and without a report.
  virtual void post_send(std::string_view user, prepared_message what, delivery how = {}) = 0;

  /// Sends what waits for the connection's user, the oldest first. What is sent to the user meanwhile is held
  /// back for this connection, and follows. Completes with how many were sent. Routes that run the JSON
  /// protocol do this when a connection begins. Throws `std::invalid_argument` if the connection is not one
  /// of the manager's, and what the store throws; then nothing is held back any more.
  virtual asio::awaitable<std::size_t> replay(connection& to) = 0;

  /// Removes a stored message; completes with whether it was there, once it cannot come again.
  virtual asio::awaitable<bool> acknowledge(std::string user, stored_id id) = 0;

  /// As `acknowledge` of each, at once; completes with how many were there.
  virtual asio::awaitable<std::size_t> acknowledge_all(std::string user, std::vector<stored_id> ids);

  /// The messages that wait for a user, as `message_store::waiting`.
  [[nodiscard]] virtual asio::awaitable<std::vector<stored_message>> waiting(std::string user,
                                                                             stored_id after,
                                                                             page_limits most) = 0;

  /// The registered connections of a user, in no particular order.
  [[nodiscard]] virtual asio::awaitable<std::vector<connection_id>> connections(std::string user) = 0;

  /// Starts closing every connection of a user, as after a revoked permission; completes with how many there
  /// were, without waiting for their ends. Throws `std::invalid_argument` for a code that may not be sent.
  virtual asio::awaitable<std::size_t> close(std::string user, close_code code, std::string text = {}) = 0;

  [[nodiscard]] virtual users_stats stats() const = 0;
};

/// The users of a manager that `make_manager` made; throws `std::invalid_argument` for any other.
[[nodiscard]] std::shared_ptr<users> make_users(const std::shared_ptr<manager>& of,
                                                users_options options = {});

}  // namespace skein
