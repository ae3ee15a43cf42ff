#pragma once

// What the messages say. A payload is filler, or JSON such as a market data feed sends, with a sequence
// number of eight hexadecimal digits in a place of its own: checking a message that comes back is one
// comparison of eight bytes, and sending the next one is a copy with eight bytes changed.

#include "frame.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skein::bench {

constexpr std::size_t token_bytes = 8;
constexpr std::size_t min_json_bytes = 64;

/// A sequence number as its eight digits, packed so that one comparison does.
using token = std::uint64_t;

token make_token(std::uint32_t sequence) noexcept;
std::optional<std::uint32_t> parse_token(token digits) noexcept;

class payload {
 public:
  /// `bytes` of filler, at least `token_bytes`; or of JSON, at least `min_json_bytes`.
  payload(std::size_t bytes, bool json);

  [[nodiscard]] std::size_t size() const noexcept { return text_.size(); }
  [[nodiscard]] std::string_view text() const noexcept { return text_; }
  [[nodiscard]] std::size_t token_at() const noexcept { return token_at_; }

  [[nodiscard]] std::string with(token digits) const;

  /// The digits of a message of the right size; 0, which no token is, otherwise.
  [[nodiscard]] token token_of(std::string_view message) const noexcept;

  /// Whether all but the token is as it was sent.
  [[nodiscard]] bool same_filler(std::string_view message) const noexcept;

 private:
  std::string text_;
  std::size_t token_at_ = 0;
};

/// A payload as a masked frame, ready to be copied. The mask is the same for each copy: servers unmask it all
/// the same, and the load generator masks nothing but the token.
class premade_frame {
 public:
  premade_frame(const payload& body, opcode kind, std::uint32_t mask);

  void append_to(std::string& out, token digits) const;

 private:
  std::string bytes_;
  std::size_t token_at_ = 0;
  token token_mask_ = 0;
};

}  // namespace skein::bench
