#include <skein/handshake.hpp>

#include <algorithm>
#include <optional>

namespace skein {
namespace {

bool same_name(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
    return lower(x) == lower(y);
  });
}

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

request::request(std::string_view method, std::string_view target, const header_list& headers,
                 std::string_view remote_address, std::string_view body) {
  auto size = method.size() + target.size() + remote_address.size() + body.size();
  for (const auto& [name, value] : headers) size += name.size() + value.size();
  block_.reserve(size);
  headers_.reserve(headers.size());
  const auto append = [this](std::string_view text) {
    block_ += text;
    return static_cast<std::uint32_t>(text.size());
  };
  method_ = append(method);
  target_ = append(target);
  remote_address_ = append(remote_address);
  for (const auto& [name, value] : headers) {
    const auto name_size = append(name);
    headers_.emplace_back(name_size, append(value));
  }
  body_ = append(body);
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
    if (!found && same_name(stored, name)) found = value;
  });
  return found.value_or(std::string_view{});
}

bool request::has_header(std::string_view name) const noexcept {
  return count(name) != 0;
}

std::size_t request::count(std::string_view name) const noexcept {
  std::size_t found = 0;
  each_header([&](std::string_view stored, std::string_view) { found += same_name(stored, name) ? 1U : 0U; });
  return found;
}

request::header_list request::headers() const {
  header_list all;
  all.reserve(headers_.size());
  each_header([&](std::string_view name, std::string_view value) { all.emplace_back(name, value); });
  return all;
}

}  // namespace skein
