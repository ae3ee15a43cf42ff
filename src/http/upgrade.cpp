#include "http/upgrade.hpp"

#include "http/answer.hpp"
#include "http/request_form.hpp"
#include "security/token_place.hpp"
#include "wire/http_text.hpp"

#include <algorithm>

namespace skein::detail {
namespace {

/// Whether a comma-separated header, which may be written as several, contains this element.
bool lists(const request& what, std::string_view header, std::string_view element, bool ignore_case) {
  for (const auto& [name, value] : what.headers()) {
    if (!same_name(name, header)) continue;
    for (auto rest = value;;) {
      const auto comma = rest.find(',');
      const auto listed = trim(rest.substr(0, comma));
      if (ignore_case ? same_name(listed, element) : listed == element) return true;
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

/// Sixteen bytes in base64 (RFC 6455 section 4.1): 22 characters and two pads, the last character with four
/// zero bits.
bool is_key(std::string_view key) noexcept {
  if (key.size() != 24 || !key.ends_with("==")) return false;
  const auto in_alphabet = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  };
  return std::all_of(key.begin(), key.begin() + 22, in_alphabet) &&
         std::string_view{"AQgw"}.find(key[21]) != std::string_view::npos;
}

refusal refuse(unsigned status, std::string text) {
  refusal why;
  why.status = status;
  why.text = std::move(text);
  return why;
}

}  // namespace

bool asks_for_upgrade(const request& what, unsigned version) noexcept {
  return version >= 11 && lists(what, "Upgrade", "websocket", true) &&
         lists(what, "Connection", "upgrade", true);
}

refusal bad_handshake() {
  return refuse(400, "malformed WebSocket handshake\n");
}

std::optional<std::pair<refusal, refusal_reason>> check_upgrade(const request& what, unsigned version,
                                                                const route_options& route,
                                                                const server_options& options,
                                                                const hub_shared& hub) {
  if (what.method() != "GET") {
    auto why = refuse(405, "method not allowed\n");
    why.headers.emplace_back("Allow", "GET");
    return std::pair{std::move(why), refusal_reason::malformed};
  }
  if (!asks_for_upgrade(what, version)) {
    auto why = refuse(426, "this resource speaks WebSocket\n");
    why.headers.emplace_back("Upgrade", "websocket");
    why.headers.emplace_back("Connection", "Upgrade");
    return std::pair{std::move(why), refusal_reason::malformed};
  }
  if (trim(what.header("Sec-WebSocket-Version")) != "13") {
    auto why = refuse(426, "WebSocket version 13 is spoken here\n");
    why.headers.emplace_back("Sec-WebSocket-Version", "13");
    why.headers.emplace_back("Upgrade", "websocket");
    why.headers.emplace_back("Connection", "Upgrade");
    return std::pair{std::move(why), refusal_reason::malformed};
  }
  // What came behind the header would be taken for frames.
  if (has_content(what)) {
    return std::pair{refuse(400, "a request to upgrade has no content\n"), refusal_reason::malformed};
  }
  if (what.count("Sec-WebSocket-Key") != 1 || what.count("Sec-WebSocket-Version") != 1 ||
      !is_key(trim(what.header("Sec-WebSocket-Key")))) {
    return std::pair{bad_handshake(), refusal_reason::malformed};
  }
  if (hub.draining.load(std::memory_order_relaxed)) {
    return std::pair{unavailable("shutting down"), refusal_reason::draining};
  }
  if (hub.taken.load(std::memory_order_relaxed) >= hub.options.max_connections) {
    return std::pair{unavailable("too many connections"), refusal_reason::connection_limit};
  }
  if (!origin_allowed(route.origin ? *route.origin : options.origin, what)) {
    return std::pair{refuse(403, "this origin may not connect\n"), refusal_reason::origin};
  }
  return std::nullopt;
}

std::string choose_subprotocol(const request& what, const route_options& route) {
  for (const auto& candidate : route.subprotocols) {
    if (lists(what, "Sec-WebSocket-Protocol", candidate, false)) return candidate;
  }
  if (lists(what, "Sec-WebSocket-Protocol", token_protocol, false)) return std::string{token_protocol};
  return {};
}

}  // namespace skein::detail
