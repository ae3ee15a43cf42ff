#pragma once

// One TCP connection as long as it speaks HTTP.

#include "connection/wake_slot.hpp"
#include "http/server_core.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <list>
#include <memory>
#include <set>

namespace skein::detail {

class http_stream;

/// The sessions of one listener that wait for a request.
struct idle_sessions {
  std::set<http_stream*> waiting;  ///< those that a stop may end at once
  std::list<http_stream*>
      between_requests;  ///< of them, those that have had an answer; who waits longest first
  wake_slot room;        ///< of the accept loop, which waits for a session to end, or to be between requests
};

/// Answers requests until the peer leaves, a request asks for an end, or a request is upgraded: then the
/// socket goes to a connection. Completes when the session has ended; the connection lives on.
asio::awaitable<void> serve_http(std::shared_ptr<server_core> server, std::shared_ptr<shard> where,
                                 asio::ip::tcp::socket socket, std::shared_ptr<idle_sessions> idle);

}  // namespace skein::detail
