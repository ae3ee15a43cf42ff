// A fuzz target: an entry of the list, an Origin and a Host, each on a line. Whatever they are, the answers
// must agree with each other.

#include "fuzz_input.hpp"

#include <skein/handshake.hpp>

#include <algorithm>

namespace {

skein::request asking(std::string_view origin, std::string_view host) {
  return {"GET", "/", {{"Host", host}, {"Origin", origin}}, "192.0.2.1:1"};
}

bool allows(std::string_view entry, std::string_view origin) {
  skein::origin_policy policy;
  policy.allowed.emplace_back(entry);
  return origin_allowed(policy, asking(origin, "example.com"));
}

bool is_plain(std::string_view origin) {
  return std::all_of(origin.begin(), origin.end(),
                     [](char c) { return c > ' ' && c < 0x7f && c != '@' && c != '*'; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto lines = fuzz::lines(data, size, 3);
  const auto &entry = lines[0], &origin = lines[1], &host = lines[2];
  const bool well_formed = skein::is_origin(origin);
  fuzz::require(well_formed ? is_plain(origin) : true, "an origin with characters that none has");
  fuzz::require(allows(origin, origin) == (well_formed || origin == "*"), "an origin is not what it is");
  if (entry != "*" && origin != "*") {
    const bool allowed = allows(entry, origin);
    fuzz::require(!allowed || (well_formed && skein::is_origin(entry)), "what is no origin is allowed");
    fuzz::require(allowed == allows(origin, entry), "equality has two sides");
  }
  const bool same = origin_allowed({}, asking(origin, host));
  fuzz::require(!same || well_formed, "what is no origin is the same origin");
  // A Host that is the same as an origin's is so in the list too, but for the scheme, which a Host has not.
  const auto authority = origin.find("://");
  if (same)
    fuzz::require(allows(origin.substr(0, authority + 3) + host, origin), "the list and the Host disagree");
  return 0;
}
