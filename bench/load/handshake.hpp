#pragma once

// The client's half of the opening handshake: plain text in, plain text out.

#include "endpoint.hpp"
#include "tls.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skein::bench {

/// What every connection of a run asks for; shared by all load threads, which only read it.
struct handshake_settings {
  endpoint target;
  std::vector<std::string> headers;  // whole lines, "Name: value"
  bool offer_deflate = false;
  std::int64_t patience_ns = 10'000'000'000;  // for each connection to become open
  std::shared_ptr<const tls_context> tls;     // null for ws://
};

/// The Sec-WebSocket-Key of connection `index`. Predictable: a load generator hides nothing from proxies.
std::string handshake_key(std::uint32_t index);

std::string upgrade_request(const handshake_settings& settings, std::uint32_t index);

struct upgrade_answer {
  bool accepted = false;
  bool deflate = false;  // permessage-deflate without context takeover on either side
  std::string problem;   // why it was not accepted
};

/// Reads a response that ends with an empty line.
upgrade_answer read_response(std::string_view response, const handshake_settings& settings,
                             std::uint32_t index);

}  // namespace skein::bench
