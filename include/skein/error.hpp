#pragma once

// Error codes of Skein. Operations of a connection report how a message fared as an `outcome`
// (delivery.hpp); `errc` is what the parts around a connection fail with: starting a server, loading a
// configuration, running a test helper. Values start at 1, so that 0 is never a real error.

#include <boost/system/error_code.hpp>

#include <type_traits>

namespace skein {

using boost::system::error_code;

enum class errc {
  connection_closed = 1,  ///< the connection has ended
  connection_limit,       ///< the manager holds as many connections as it may
  draining,               ///< the server is shutting down and takes no new work
  handshake_refused,      ///< the opening handshake was answered with a status other than 101
  handshake_timeout,      ///< the opening handshake took longer than it may
  address_unavailable,    ///< the server cannot listen on the address it was given
  bad_configuration,      ///< an option has a value that is not allowed
  timed_out,              ///< an operation with a time limit did not complete in time
  store_unavailable,      ///< the message store cannot do its work now; what was asked for was not done
  store_full,             ///< the message store has no room, on its disk, in its memory or in its queue
  store_incompatible,     ///< the database belongs to a newer version, or to another program
  message_too_big,        ///< the message alone is larger than a limit
};

/// The category of `errc`; its messages are for people, compare codes.
[[nodiscard]] const boost::system::error_category& skein_category() noexcept;
[[nodiscard]] error_code make_error_code(errc code) noexcept;

}  // namespace skein

template <>
struct boost::system::is_error_code_enum<skein::errc> : std::true_type {};
