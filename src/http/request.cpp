#include "wire/http_text.hpp"

#include <skein/handshake.hpp>

#include <algorithm>
#include <optional>

namespace skein {
namespace {

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Undoes percent encoding and `+`; what is not well encoded stays as it is.
std::string decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
               hex_digit(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

/// Where everything stands in the block.
struct request::layout {
  std::string_view method, target, remote_address, body;
  std::size_t headers = 0;
  const char* sizes = nullptr;  // of the headers
  const char* text = nullptr;   // of the headers
};

namespace {

// Seven bits in each byte, the lowest first; the last byte has no high bit.

std::size_t width_of(std::size_t number) noexcept {
  std::size_t bytes = 1;
  while (number >>= 7U) ++bytes;
  return bytes;
}

char* put(char* place, std::size_t number) noexcept {
  for (; number > 0x7f; number >>= 7U) *place++ = static_cast<char>(0x80U | (number & 0x7fU));
  *place++ = static_cast<char>(number);
  return place;
}

std::size_t take(const char*& place) noexcept {
  std::size_t number = 0;
  for (unsigned shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(*place++);
    number |= std::size_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return number;
  }
}

}  // namespace

request::request(std::string_view method, std::string_view target, const header_list& headers,
                 std::string_view remote_address, std::string_view body) {
  std::vector<std::string_view> texts{method, target, remote_address, body};
  texts.reserve(texts.size() + 2 * headers.size());
  for (const auto& [name, value] : headers) {
    texts.push_back(name);
    texts.push_back(value);
  }
  constexpr std::size_t fixed = 4;  // texts, and then the number of headers
  auto size = width_of(headers.size());
  for (const auto text : texts) size += width_of(text.size()) + text.size();
  block_ = std::make_unique<char[]>(size);
  auto* place = block_.get();
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (i == fixed) place = put(place, headers.size());
    place = put(place, texts[i].size());
  }
  if (texts.size() == fixed) place = put(place, 0);
  for (const auto text : texts) place = std::copy(text.begin(), text.end(), place);
}

request::request(const request& other)
    : request(other.method(), other.target(), other.headers(), other.remote_address(), other.body()) {
  certificate_ = other.certificate_;
}

request::layout request::parts() const noexcept {
  layout all;
  if (!block_) return all;
  const char* place = block_.get();
  const auto method = take(place);
  const auto target = take(place);
  const auto remote_address = take(place);
  const auto body = take(place);
  all.headers = take(place);
  all.sizes = place;
  for (std::size_t i = 0; i < 2 * all.headers; ++i) take(place);
  const auto text = [&place](std::size_t size) {
    const std::string_view found{place, size};
    place += size;
    return found;
  };
  all.method = text(method);
  all.target = text(target);
  all.remote_address = text(remote_address);
  all.body = text(body);
  all.text = place;
  return all;
}

template <class Visit>
void request::each_header(Visit&& visit) const {
  auto all = parts();
  for (; all.headers > 0; --all.headers) {
    const std::string_view name{all.text, take(all.sizes)};
    const std::string_view value{name.data() + name.size(), take(all.sizes)};
    all.text = value.data() + value.size();
    visit(name, value);
  }
}

std::string_view request::method() const noexcept {
  return parts().method;
}

std::string_view request::target() const noexcept {
  return parts().target;
}

std::string_view request::remote_address() const noexcept {
  return parts().remote_address;
}

std::string_view request::body() const noexcept {
  return parts().body;
}

std::string_view request::path() const noexcept {
  const auto whole = target();
  return whole.substr(0, whole.find('?'));
}

std::string_view request::query() const noexcept {
  const auto whole = target();
  const auto mark = whole.find('?');
  return mark == std::string_view::npos ? std::string_view{} : whole.substr(mark + 1);
}

std::optional<std::string> request::query(std::string_view name) const {
  auto rest = query();
  while (!rest.empty()) {
    const auto end = rest.find('&');
    const auto pair = rest.substr(0, end);
    const auto equals = pair.find('=');
    if (decode(pair.substr(0, equals)) == name) {
      return equals == std::string_view::npos ? std::string{} : decode(pair.substr(equals + 1));
    }
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  return std::nullopt;
}

std::string_view request::header(std::string_view name) const noexcept {
  std::optional<std::string_view> found;
  each_header([&](std::string_view stored, std::string_view value) {
    if (!found && detail::same_name(stored, name)) found = value;
  });
  return found.value_or(std::string_view{});
}

bool request::has_header(std::string_view name) const noexcept {
  return count(name) != 0;
}

std::size_t request::count(std::string_view name) const noexcept {
  std::size_t found = 0;
  each_header(
      [&](std::string_view stored, std::string_view) { found += detail::same_name(stored, name) ? 1U : 0U; });
  return found;
}

request::header_list request::headers() const {
  header_list all;
  all.reserve(parts().headers);
  each_header([&](std::string_view name, std::string_view value) { all.emplace_back(name, value); });
  return all;
}

}  // namespace skein
