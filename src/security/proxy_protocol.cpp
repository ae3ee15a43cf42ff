#include "security/proxy_protocol.hpp"

#include "security/client_address.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace skein::detail {
namespace {

namespace ip = boost::asio::ip;
using status = proxy_header::status;

constexpr std::string_view v1_signature = "PROXY ";
constexpr std::string_view v2_signature{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t v2_fixed = 16;

proxy_header need_more() noexcept {
  return {};
}

proxy_header fail(proxy_error why) noexcept {
  proxy_header result;
  result.state = status::failed;
  result.error = why;
  return result;
}

proxy_header done(std::size_t consumed, const std::optional<proxied_endpoints>& endpoints = {}) noexcept {
  proxy_header result;
  result.state = status::done;
  result.consumed = consumed;
  result.endpoints = endpoints;
  return result;
}

/// Whether `bytes` and `signature` are equal as far as both go.
bool agree(std::string_view bytes, std::string_view signature) noexcept {
  const auto size = std::min(bytes.size(), signature.size());
  return bytes.substr(0, size) == signature.substr(0, size);
}

unsigned byte_at(std::string_view bytes, std::size_t at) noexcept {
  return static_cast<unsigned char>(bytes[at]);
}

std::uint16_t big_endian_16(std::string_view bytes, std::size_t at) noexcept {
  return static_cast<std::uint16_t>(byte_at(bytes, at) << 8U | byte_at(bytes, at + 1));
}

/// Decimal without a leading zero, up to 65,535.
std::optional<std::uint16_t> parse_port(std::string_view text) noexcept {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || (text.size() > 1 && text.front() == '0'))
    return std::nullopt;
  return port;
}

/// Takes the text up to the next space, and the space; up to the end if there is none.
std::string_view take_word(std::string_view& rest) noexcept {
  const auto space = std::min(rest.find(' '), rest.size());
  const auto word = rest.substr(0, space);
  rest.remove_prefix(std::min(space + 1, rest.size()));
  return word;
}

std::optional<proxied_endpoints> parse_v1_addresses(std::string_view rest, bool is_v4) noexcept {
  if (std::count(rest.begin(), rest.end(), ' ') != 3) return std::nullopt;
  const auto source = take_word(rest);
  const auto destination = take_word(rest);
  const auto source_port = parse_port(take_word(rest));
  const auto destination_port = parse_port(rest);
  const auto wrong_family = [is_v4](std::string_view text) {
    return (text.find(':') == std::string_view::npos) != is_v4;
  };
  if (wrong_family(source) || wrong_family(destination) || !source_port || !destination_port)
    return std::nullopt;
  const auto from = parse_address(source);
  const auto to = parse_address(destination);
  if (!from || !to) return std::nullopt;
  return proxied_endpoints{{*from, *source_port}, {*to, *destination_port}};
}

proxy_header parse_v1(std::string_view bytes) noexcept {
  const auto seen = bytes.substr(0, max_proxy_v1_bytes);
  const auto end = seen.find('\r');
  if (end == std::string_view::npos) {
    if (seen.find('\n') != std::string_view::npos) return fail(proxy_error::malformed);
    return seen.size() == max_proxy_v1_bytes ? fail(proxy_error::too_long) : need_more();
  }
  if (seen.substr(0, end).find('\n') != std::string_view::npos) return fail(proxy_error::malformed);
  if (end + 1 == max_proxy_v1_bytes) return fail(proxy_error::too_long);
  if (end + 1 == seen.size()) return need_more();
  if (seen[end + 1] != '\n') return fail(proxy_error::malformed);
  auto line = seen.substr(v1_signature.size(), end - v1_signature.size());
  const auto consumed = end + 2;
  // Whatever stands behind UNKNOWN is to be ignored.
  if (line == "UNKNOWN" || line.starts_with("UNKNOWN ")) return done(consumed);
  const auto family = take_word(line);
  if (family != "TCP4" && family != "TCP6") return fail(proxy_error::malformed);
  const auto endpoints = parse_v1_addresses(line, family == "TCP4");
  return endpoints ? done(consumed, endpoints) : fail(proxy_error::malformed);
}

constexpr std::array<std::uint32_t, 256> make_crc32c_table() noexcept {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    auto value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1U) != 0 ? value >> 1U ^ 0x82f63b78U : value >> 1U;
    table[i] = value;
  }
  return table;
}

/// CRC32c (RFC 3720 appendix B.4) of `bytes`, with the four at `hole` taken as zero.
std::uint32_t crc32c(std::string_view bytes, std::size_t hole) noexcept {
  static constexpr auto table = make_crc32c_table();
  std::uint32_t sum = 0xffffffffU;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = i >= hole && i < hole + 4 ? 0U : byte_at(bytes, i);
    sum = table[(sum ^ byte) & 0xffU] ^ sum >> 8U;
  }
  return ~sum;
}

/// Walks over the fields from `at` to the end of the header, and verifies a checksum.
std::optional<proxy_error> check_fields(std::string_view header, std::size_t at) noexcept {
  constexpr unsigned crc32c_type = 0x03;
  constexpr std::size_t field_head = 3;
  bool checked = false;
  while (at < header.size()) {
    if (header.size() - at < field_head) return proxy_error::malformed;
    const auto type = byte_at(header, at);
    const std::size_t length = big_endian_16(header, at + 1);
    at += field_head;
    if (header.size() - at < length) return proxy_error::malformed;
    if (type == crc32c_type) {
      if (length != 4 || checked) return proxy_error::malformed;
      const auto stated = std::uint32_t{big_endian_16(header, at)} << 16U | big_endian_16(header, at + 2);
      if (crc32c(header, at) != stated) return proxy_error::checksum;
      checked = true;
    }
    at += length;
  }
  return std::nullopt;
}

template <class Address>
Address address_at(std::string_view bytes, std::size_t at) noexcept {
  typename Address::bytes_type raw;
  std::transform(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                 bytes.begin() + static_cast<std::ptrdiff_t>(at + raw.size()), raw.begin(),
                 [](char c) { return static_cast<unsigned char>(c); });
  return Address{raw};
}

/// Two addresses and two ports from the end of the fixed part.
template <class Address>
proxied_endpoints endpoints_of(std::string_view header) noexcept {
  constexpr auto size = sizeof(typename Address::bytes_type);
  constexpr auto ports = v2_fixed + 2 * size;
  return {{unmapped(address_at<Address>(header, v2_fixed)), big_endian_16(header, ports)},
          {unmapped(address_at<Address>(header, v2_fixed + size)), big_endian_16(header, ports + 2)}};
}

proxy_header parse_v2(std::string_view bytes, std::size_t max_bytes) noexcept {
  constexpr unsigned local = 0x20, proxied = 0x21;
  if (bytes.size() <= v2_signature.size()) return need_more();
  const auto command = byte_at(bytes, 12);
  if (command != local && command != proxied) return fail(proxy_error::malformed);
  if (bytes.size() <= 13) return need_more();
  const auto family = byte_at(bytes, 13);
  // The bytes that addresses take: section 2.2. LOCAL has to be accepted with any family.
  std::size_t addresses = 0;
  if (command == proxied) {
    switch (family) {
      case 0x00:
        break;
      case 0x11:
      case 0x12:
        addresses = 12;
        break;
      case 0x21:
      case 0x22:
        addresses = 36;
        break;
      case 0x31:
      case 0x32:
        addresses = 216;
        break;
      default:
        return fail(proxy_error::malformed);
    }
  }
  if (bytes.size() < v2_fixed) return need_more();
  const std::size_t length = big_endian_16(bytes, 14);
  if (v2_fixed + length > max_bytes) return fail(proxy_error::too_long);
  if (length < addresses) return fail(proxy_error::malformed);
  if (bytes.size() < v2_fixed + length) return need_more();
  const auto header = bytes.substr(0, v2_fixed + length);
  if (addresses == 0) return done(header.size());
  if (const auto error = check_fields(header, v2_fixed + addresses)) return fail(*error);
  if (family == 0x11) return done(header.size(), endpoints_of<ip::address_v4>(header));
  if (family == 0x21) return done(header.size(), endpoints_of<ip::address_v6>(header));
  // A valid combination that means nothing here has to be taken as UNSPEC.
  return done(header.size());
}

}  // namespace

proxy_header parse_proxy_header(std::string_view bytes, std::size_t max_v2_bytes) noexcept {
  if (bytes.empty()) return need_more();
  if (agree(bytes, v1_signature)) return bytes.size() < v1_signature.size() ? need_more() : parse_v1(bytes);
  if (agree(bytes, v2_signature)) return parse_v2(bytes, max_v2_bytes);
  return fail(proxy_error::not_proxy);
}

std::size_t proxy_header_needs(std::string_view got) noexcept {
  constexpr std::size_t shortest = 15;  // of either version
  constexpr std::size_t length_at = 14;
  if (got.size() < shortest) return shortest - got.size();
  if (got.front() == v1_signature.front()) return 1;
  if (got.size() < v2_fixed) return v2_fixed - got.size();
  return v2_fixed + big_endian_16(got, length_at) - got.size();
}

}  // namespace skein::detail
