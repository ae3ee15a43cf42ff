#pragma once

// One TCP connection as long as it speaks HTTP.

#include "http/handshakes.hpp"
#include "http/server_core.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <memory>

namespace skein::detail {

/// Answers requests until the peer leaves, a request asks for an end, or a request is upgraded: then the
/// socket goes to a connection. Completes when the session has ended; the connection lives on.
asio::awaitable<void> serve_http(std::shared_ptr<server_core> server, std::shared_ptr<shard> where,
                                 asio::ip::tcp::socket socket, handshake_place place);

}  // namespace skein::detail
