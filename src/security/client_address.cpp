#include "security/client_address.hpp"

#include "wire/http_text.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <span>

namespace skein::detail {
namespace {

namespace ip = boost::asio::ip;

bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

bool is_port(std::string_view text) noexcept {
  if (text.empty() || text.size() > 5 || !std::all_of(text.begin(), text.end(), is_digit)) return false;
  unsigned port = 0;
  std::from_chars(text.data(), text.data() + text.size(), port);
  return port <= 65'535;
}

/// RFC 9110 section 5.6.2.
bool is_token_char(char c) noexcept {
  return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') ||
         (c != '\0' && std::strchr("!#$%&'*+-.^_`|~", c) != nullptr);
}

/// The obfuscated identifier and port of RFC 7239 section 6.3.
bool is_obfuscated(std::string_view text) noexcept {
  return text.size() > 1 && text.front() == '_' && std::all_of(text.begin() + 1, text.end(), [](char c) {
           return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '.' || c == '_' || c == '-';
         });
}

/// One report of a proxy: an address, or that it does not say.
struct hop {
  ip::address address;
  bool is_hidden = true;
};

std::optional<hop> visible(std::string_view address) noexcept {
  const auto found = parse_address(address);
  if (!found) return std::nullopt;
  return hop{*found, false};
}

/// `[IPv6]`, and whatever follows the bracket.
std::optional<hop> bracketed(std::string_view text, std::string_view& behind) noexcept {
  const auto end = text.find(']');
  if (end == std::string_view::npos) return std::nullopt;
  behind = text.substr(end + 1);
  const auto inside = text.substr(1, end - 1);
  return inside.find(':') == std::string_view::npos ? std::nullopt : visible(inside);
}

/// An element of X-Forwarded-For, which no standard describes.
std::optional<hop> parse_listed(std::string_view text) noexcept {
  if (same_name(text, "unknown")) return hop{};
  std::string_view behind;
  std::optional<hop> found;
  if (text.starts_with('[')) {
    found = bracketed(text, behind);
  } else if (const auto colon = text.find(':');
             colon != std::string_view::npos && text.find(':', colon + 1) == std::string_view::npos) {
    found = visible(text.substr(0, colon));
    behind = text.substr(colon);
  } else {
    found = visible(text);
  }
  if (!behind.empty() && (behind.front() != ':' || !is_port(behind.substr(1)))) return std::nullopt;
  return found;
}

/// A node of RFC 7239 section 6.
std::optional<hop> parse_node(std::string_view text) noexcept {
  std::string_view name = text;
  std::string_view behind;
  std::optional<hop> found;
  if (text.starts_with('[')) {
    found = bracketed(text, behind);
  } else {
    const auto colon = std::min(text.find(':'), text.size());
    name = text.substr(0, colon);
    behind = text.substr(colon);
    found = same_name(name, "unknown") || is_obfuscated(name) ? std::optional{hop{}} : visible(name);
  }
  if (behind.empty()) return found;
  const auto port = behind.substr(1);
  if (behind.front() != ':' || !(is_port(port) || is_obfuscated(port))) return std::nullopt;
  return found;
}

/// Reads a value of the field Forwarded from its beginning to its end.
class forwarded_reader {
 public:
  explicit forwarded_reader(std::string_view text) noexcept : rest_(text) {}

  /// Calls `add` with each element's hop. False: malformed, or `add` has had enough.
  template <class Add>
  bool read(Add&& add) noexcept {
    for (;;) {
      skip_space();
      if (!at(',') && !rest_.empty()) {  // RFC 9110 section 5.6.1.2: an empty element is none
        const auto found = read_element();
        if (!found || !add(*found)) return false;
      }
      if (rest_.empty()) return true;
      if (!take(',')) return false;
    }
  }

 private:
  static constexpr std::size_t max_parameters = 16;
  static constexpr std::size_t max_value = 128;

  [[nodiscard]] bool at(char c) const noexcept { return rest_.starts_with(c); }
  bool take(char c) noexcept {
    if (!at(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void skip_space() noexcept {
    while (at(' ') || at('\t')) rest_.remove_prefix(1);
  }

  std::string_view read_token() noexcept {
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_token_char);
    const auto token = rest_.substr(0, static_cast<std::size_t>(end - rest_.begin()));
    rest_.remove_prefix(token.size());
    return token;
  }

  /// What is between quotation marks, without its backslashes, in `unquoted_`.
  std::optional<std::string_view> read_quoted() noexcept {
    std::size_t size = 0;
    while (!rest_.empty()) {
      auto c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"')
        return size > max_value ? std::nullopt : std::optional{std::string_view{unquoted_.data(), size}};
      if (c == '\\') {
        if (rest_.empty()) return std::nullopt;
        c = rest_.front();
        rest_.remove_prefix(1);
      }
      const auto code = static_cast<unsigned char>(c);
      if ((code < 0x20 && c != '\t') || code == 0x7f) return std::nullopt;
      if (size < max_value) unquoted_[size] = c;
      if (size <= max_value) ++size;
    }
    return std::nullopt;
  }

  std::optional<std::string_view> read_value() noexcept {
    if (take('"')) return read_quoted();
    const auto token = read_token();
    return token.empty() ? std::nullopt : std::optional{token};
  }

  /// Up to a comma or the end.
  std::optional<hop> read_element() noexcept {
    std::array<std::string_view, max_parameters> names;
    std::size_t count = 0;
    hop result;
    for (;;) {
      skip_space();
      if (!at(';') && !at(',') && !rest_.empty()) {
        const auto name = read_token();
        const std::span seen{names.data(), count};
        const bool again = std::any_of(seen.begin(), seen.end(),
                                       [name](std::string_view other) { return same_name(name, other); });
        if (name.empty() || again || count == max_parameters || !take('=')) return std::nullopt;
        names[count++] = name;
        const auto value = read_value();
        if (!value) return std::nullopt;
        if (same_name(name, "for")) {
          const auto node = parse_node(*value);
          if (!node) return std::nullopt;
          result = *node;
        }
        skip_space();
      }
      if (rest_.empty() || at(',')) return result;
      if (!take(';')) return std::nullopt;
    }
  }

  std::string_view rest_;
  std::array<char, max_value> unquoted_{};
};

/// Goes from the peer towards the client, for as long as it meets trusted proxies.
class walk {
 public:
  walk(const ip::address& peer, const trusted_proxies& proxies) noexcept
      : proxies_(proxies), peer_(peer), result_{peer, client_source::peer} {}

  /// The next report; nothing: it cannot be read. False: the client is known.
  bool step(const std::optional<hop>& next) noexcept {
    if (!next || ++hops_ > max_forwarded_hops) return end({peer_, client_source::malformed});
    if (next->is_hidden) return end({result_.address, client_source::hidden});
    result_ = {next->address, client_source::forwarded};
    return contains(proxies_.networks, next->address);
  }

  [[nodiscard]] const client_address& result() const noexcept { return result_; }

 private:
  bool end(const client_address& what) noexcept {
    result_ = what;
    return false;
  }

  const trusted_proxies& proxies_;
  ip::address peer_;
  client_address result_;
  std::size_t hops_ = 0;
};

client_address listed_client(const request::header_list& headers, walk way) noexcept {
  for (auto field = headers.rbegin(); field != headers.rend(); ++field) {
    if (!same_name(field->first, "X-Forwarded-For")) continue;
    for (auto rest = field->second;;) {
      const auto comma = rest.rfind(',');
      const auto last = comma == std::string_view::npos ? rest : rest.substr(comma + 1);
      if (!way.step(parse_listed(trim(last)))) return way.result();
      if (comma == std::string_view::npos) break;
      rest = rest.substr(0, comma);
    }
  }
  return way.result();
}

client_address forwarded_client(const request::header_list& headers, walk way) noexcept {
  std::array<hop, max_forwarded_hops> hops;
  std::size_t count = 0;
  bool present = false;
  for (const auto& [name, value] : headers) {
    if (!same_name(name, "Forwarded")) continue;
    present = true;
    const bool well_formed = forwarded_reader{value}.read([&](const hop& one) {
      if (count == hops.size()) return false;
      hops[count++] = one;
      return true;
    });
    if (!well_formed) {
      (void)way.step(std::nullopt);
      return way.result();
    }
  }
  if (present && count == 0) (void)way.step(std::nullopt);
  for (; count > 0; --count) {
    if (!way.step(hops[count - 1])) break;
  }
  return way.result();
}

}  // namespace

ip::address unmapped(const ip::address& address) noexcept {
  if (!address.is_v6() || !address.to_v6().is_v4_mapped()) return address;
  const auto whole = address.to_v6().to_bytes();
  ip::address_v4::bytes_type last;
  std::copy(whole.begin() + 12, whole.end(), last.begin());
  return ip::address_v4{last};
}

address_key key_of(const ip::address& address) noexcept {
  address_key key{};
  const auto plain = unmapped(address);
  if (plain.is_v4()) {
    const auto bytes = plain.to_v4().to_bytes();
    key[10] = key[11] = 0xff;
    std::copy(bytes.begin(), bytes.end(), key.begin() + 12);
  } else {
    const auto bytes = plain.to_v6().to_bytes();
    std::copy_n(bytes.begin(), 8, key.begin());
  }
  return key;
}

std::optional<ip::address> parse_address(std::string_view text) noexcept {
  // Anything else would end the C string too early, or name a zone.
  constexpr std::string_view letters = "0123456789abcdefABCDEF:.";
  std::array<char, INET6_ADDRSTRLEN> copy{};
  if (text.empty() || text.size() >= copy.size() || text.find_first_not_of(letters) != std::string_view::npos)
    return std::nullopt;
  std::copy(text.begin(), text.end(), copy.begin());
  if (ip::address_v4::bytes_type four; ::inet_pton(AF_INET, copy.data(), four.data()) == 1)
    return ip::address_v4{four};
  if (ip::address_v6::bytes_type sixteen; ::inet_pton(AF_INET6, copy.data(), sixteen.data()) == 1)
    return unmapped(ip::address_v6{sixteen});
  return std::nullopt;
}

std::optional<network> network::parse(std::string_view text) noexcept {
  const auto slash = text.find('/');
  const auto written = text.substr(0, slash);
  const auto address = parse_address(written);
  if (!address) return std::nullopt;
  network result;
  result.is_v4_ = address->is_v4();
  unsigned width = 0;
  if (result.is_v4_) {
    const auto bytes = address->to_v4().to_bytes();
    std::copy(bytes.begin(), bytes.end(), result.bytes_.begin());
    width = 32;
  } else {
    result.bytes_ = address->to_v6().to_bytes();
    width = 128;
  }
  unsigned bits = width;
  if (slash != std::string_view::npos) {
    const auto digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    const bool canonical = digits.size() == 1 || !digits.starts_with('0');
    if (error != std::errc{} || end != digits.data() + digits.size() || !canonical) return std::nullopt;
    // Written as IPv6, meant as IPv4.
    const bool is_mapped = result.is_v4_ && written.find(':') != std::string_view::npos;
    if (is_mapped && (bits < 96 || bits > 128)) return std::nullopt;
    if (is_mapped) bits -= 96;
    if (bits > width) return std::nullopt;
  }
  for (unsigned bit = bits; bit < width; ++bit) {
    if ((result.bytes_[bit / 8] & (0x80U >> (bit % 8))) != 0) return std::nullopt;
  }
  result.bits_ = static_cast<std::uint8_t>(bits);
  return result;
}

bool network::contains(const ip::address& address) const noexcept {
  const auto plain = unmapped(address);
  if (plain.is_v4() != is_v4_) return false;
  std::array<unsigned char, 16> bytes{};
  if (is_v4_) {
    const auto four = plain.to_v4().to_bytes();
    std::copy(four.begin(), four.end(), bytes.begin());
  } else {
    bytes = plain.to_v6().to_bytes();
  }
  const auto whole = std::size_t{bits_} / 8;
  if (!std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(whole), bytes_.begin()))
    return false;
  const auto rest = bits_ % 8U;
  return rest == 0 || ((bytes[whole] ^ bytes_[whole]) & (0xffU << (8U - rest)) & 0xffU) == 0;
}

bool contains(const std::vector<network>& networks, const ip::address& address) noexcept {
  return std::any_of(networks.begin(), networks.end(),
                     [&address](const network& one) { return one.contains(address); });
}

client_address find_client(const ip::address& peer, const request& what, const trusted_proxies& proxies) {
  const auto direct = unmapped(peer);
  if (proxies.header == forwarded_header::none || !contains(proxies.networks, direct))
    return {direct, client_source::peer};
  const auto headers = what.headers();
  const walk way{direct, proxies};
  return proxies.header == forwarded_header::forwarded ? forwarded_client(headers, way)
                                                       : listed_client(headers, way);
}

}  // namespace skein::detail
