#include "wire/deflate_terms.hpp"

#include "wire/http_text.hpp"

#include <algorithm>

namespace skein::detail {
namespace {

bool is_space(char c) noexcept {
  return c == ' ' || c == '\t';
}

/// RFC 7230 section 3.2.6: tchar.
bool is_token_char(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view{"!#$%&'*+-.^_`|~"}.find(c) != std::string_view::npos;
}

/// Reads a header's elements from the left.
class reader {
 public:
  explicit reader(std::string_view text) noexcept : rest_(text) {}

  /// Takes this character, and the spaces before it, if it comes next.
  bool take(char c) noexcept {
    skip_spaces();
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool at_end() noexcept {
    skip_spaces();
    return rest_.empty();
  }
  /// Empty if there is none.
  std::string_view token() noexcept {
    skip_spaces();
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_token_char);
    const auto found = rest_.substr(0, static_cast<std::size_t>(end - rest_.begin()));
    rest_.remove_prefix(found.size());
    return found;
  }
  /// A token, or a quoted string, whose value must be a token as well (RFC 6455 section 9.1). Empty if there
  /// is none.
  std::string value() {
    skip_spaces();
    if (rest_.empty() || rest_.front() != '"') return std::string{token()};
    std::string text;
    for (std::size_t i = 1; i < rest_.size(); ++i) {
      if (rest_[i] == '"') {
        rest_.remove_prefix(i + 1);
        return std::all_of(text.begin(), text.end(), is_token_char) ? text : std::string{};
      }
      if (rest_[i] == '\\' && ++i == rest_.size()) break;
      text += rest_[i];
    }
    return {};  // not closed
  }

 private:
  void skip_spaces() noexcept {
    while (!rest_.empty() && is_space(rest_.front())) rest_.remove_prefix(1);
  }
  std::string_view rest_;
};

/// RFC 7692 section 7.1.2: a decimal integer without leading zeros, from 8 to 15. Zero if it is none.
int window_bits(std::string_view value) noexcept {
  if (value == "8" || value == "9") return value.front() - '0';
  if (value.size() == 2 && value[0] == '1' && value[1] >= '0' && value[1] <= '5')
    return 10 + (value[1] - '0');
  return 0;
}

/// One offer of permessage-deflate, parameter by parameter (RFC 7692 section 7.1): an offer with one that is
/// unknown, given twice or wrong is to be declined.
class offer {
 public:
  void add(std::string_view name, const std::optional<std::string>& value) noexcept {
    if (same_name(name, "server_no_context_takeover")) {
      once(seen_server_takeover_, !value);
    } else if (same_name(name, "client_no_context_takeover")) {
      once(seen_client_takeover_, !value);
    } else if (same_name(name, "server_max_window_bits")) {
      // Section 7.1.2.1: whoever accepts it says so, whatever its value.
      terms_.answer_server_window = true;
      terms_.server_window_bits = value ? window_bits(*value) : 0;
      // zlib cannot deflate with a window of 8 bits.
      once(seen_server_window_, terms_.server_window_bits > 8);
    } else if (same_name(name, "client_max_window_bits")) {
      // Section 7.1.2.2: without a value the client only says that it understands one.
      terms_.answer_client_window = value.has_value();
      terms_.client_window_bits = value ? window_bits(*value) : 15;
      once(seen_client_window_, terms_.client_window_bits != 0);
    } else {
      acceptable_ = false;
    }
  }
  [[nodiscard]] bool acceptable() const noexcept { return acceptable_; }
  [[nodiscard]] const deflate_terms& terms() const noexcept { return terms_; }

 private:
  void once(bool& seen, bool right) noexcept {
    if (seen || !right) acceptable_ = false;
    seen = true;
  }

  deflate_terms terms_;
  bool acceptable_ = true;
  bool seen_server_takeover_ = false, seen_client_takeover_ = false;
  bool seen_server_window_ = false, seen_client_window_ = false;
};

/// Reads one extension and its parameters. False: it is not written as one.
bool read_extension(reader& text, std::optional<deflate_terms>& chosen) {
  const auto name = text.token();
  if (name.empty()) return false;
  offer one;
  while (text.take(';')) {
    const auto parameter = text.token();
    if (parameter.empty()) return false;
    std::optional<std::string> value;
    if (text.take('=')) {
      value = text.value();
      if (value->empty()) return false;
    }
    one.add(parameter, value);
  }
  if (!chosen && same_name(name, "permessage-deflate") && one.acceptable()) chosen = one.terms();
  return true;
}

}  // namespace

std::string deflate_terms::answer() const {
  std::string text = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
  if (answer_server_window) text += "; server_max_window_bits=" + std::to_string(server_window_bits);
  if (answer_client_window) text += "; client_max_window_bits=" + std::to_string(client_window_bits);
  return text;
}

std::optional<deflate_terms> choose_offer(std::span<const std::string_view> headers) {
  std::optional<deflate_terms> chosen;
  for (const auto header : headers) {
    reader text{header};
    while (!text.at_end()) {
      if (text.take(',')) continue;  // RFC 7230 section 7: empty elements are allowed
      if (!read_extension(text, chosen)) return std::nullopt;
      if (!text.at_end() && !text.take(',')) return std::nullopt;
    }
  }
  return chosen;
}

}  // namespace skein::detail
