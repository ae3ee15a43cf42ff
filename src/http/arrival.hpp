#pragma once

// What comes before the first request: the header of the PROXY protocol, then the TLS handshake.

#include "http/http_stream.hpp"
#include "http/server_core.hpp"
#include "http/session_deadline.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <memory>
#include <optional>

namespace skein::detail {

struct arrival {
  asio::ip::tcp::endpoint peer;                           ///< as the PROXY protocol has it, if that is spoken
  std::shared_ptr<const client_certificate> certificate;  ///< null: none
  entrance how = entrance::open;
};

/// Completes with who is there, or with nothing: then it was counted why, and there is nothing to be done but
/// to close. The deadline has been started. The arguments outlive the call.
[[nodiscard]] asio::awaitable<std::optional<arrival>> arrive(server_core& server, http_stream& stream,
                                                             session_deadline& deadline);

/// Reads what still comes, for a moment: closing with unread bytes would reset the connection, and the peer
/// might never see the answer.
[[nodiscard]] asio::awaitable<void> linger(http_stream& stream, session_deadline& deadline);

}  // namespace skein::detail
