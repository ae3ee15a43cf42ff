// A fuzz target: up to eight fields of X-Forwarded-For or of Forwarded, each on a line.

#include "fuzz_input.hpp"
#include "security/client_address.hpp"

namespace {

using namespace skein::detail;

client_address find(const trusted_proxies& proxies, const char* name,
                    const std::vector<std::string>& fields) {
  skein::request::header_list headers;
  for (const auto& field : fields) headers.emplace_back(name, field);
  const skein::request what{"GET", "/", headers, "10.0.0.1:1"};
  return find_client(boost::asio::ip::make_address("10.0.0.1"), what, proxies);
}

bool same(const client_address& a, const client_address& b) {
  return a.source == b.source && a.address == b.address;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const std::vector<network> trusted{*network::parse("10.0.0.0/8"), *network::parse("fd00::/8")};
  const bool standard = (data[0] & 1U) != 0;
  const trusted_proxies proxies{trusted,
                                standard ? forwarded_header::forwarded : forwarded_header::x_forwarded_for};
  const auto* name = standard ? "Forwarded" : "X-Forwarded-For";
  auto fields = fuzz::lines(data + 1, size - 1, 8);
  while (fields.size() > 1 && fields.back().empty()) fields.pop_back();

  const auto found = find(proxies, name, fields);
  const bool is_trusted = contains(trusted, found.address);
  switch (found.source) {
    case client_source::peer:
      fuzz::require(false, "the header was not seen");
      break;
    case client_source::forwarded:
      break;
    case client_source::hidden:
      fuzz::require(is_trusted, "nobody who is trusted says so");
      break;
    case client_source::malformed:
      fuzz::require(found.address.to_string() == "10.0.0.1", "a malformed header has an address");
      break;
  }
  fuzz::require(!found.address.is_v6() || !found.address.to_v6().is_v4_mapped(),
                "a mapped address came through");

  // What a client puts before the list changes nothing once the client is known, but for too many hops and
  // for what is malformed in a list that must be well formed as a whole.
  const auto known =
      found.source == client_source::hidden || (found.source == client_source::forwarded && !is_trusted);
  auto longer = fields;
  longer.insert(longer.begin(), standard ? "for=198.51.100.99" : "\"garbage");
  const auto again = find(proxies, name, longer);
  if (known)
    fuzz::require(same(again, found) || (standard && again.source == client_source::malformed),
                  "a client's own field was believed");

  // One more trusted proxy behind it changes nothing either.
  auto behind = fields;
  behind.emplace_back(standard ? "for=10.9.9.9" : "10.9.9.9");
  const auto passed_on = find(proxies, name, behind);
  if (found.source == client_source::forwarded)
    fuzz::require(same(passed_on, found) || passed_on.source == client_source::malformed,
                  "a trusted proxy was taken for the client");

  (void)network::parse(fields.front());
  return 0;
}
