#pragma once

// Regular expressions that cannot be made slow: a subset of ECMAScript's, without backtracking.
//
// An expression becomes an automaton of positions (Glushkov's): one for each character or class that it has
// once its counted repetitions are written out, 256 at most. Matching moves a set of positions, so that it
// takes time proportional to the text times the positions that are alive, and no memory.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace skein::detail {

/// Some of 256 positions.
class position_set {
 public:
  void set(std::size_t at) noexcept { words_[at / 64] |= std::uint64_t{1} << (at % 64); }
  void reset(std::size_t at) noexcept { words_[at / 64] &= ~(std::uint64_t{1} << (at % 64)); }
  [[nodiscard]] bool test(std::size_t at) const noexcept { return (words_[at / 64] >> (at % 64) & 1U) != 0; }
  [[nodiscard]] bool any() const noexcept { return (words_[0] | words_[1] | words_[2] | words_[3]) != 0; }
  position_set& operator|=(const position_set& other) noexcept {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
    return *this;
  }
  [[nodiscard]] friend position_set operator|(position_set a, const position_set& b) noexcept {
    return a |= b;
  }
  [[nodiscard]] friend position_set operator&(position_set a, const position_set& b) noexcept {
    for (std::size_t i = 0; i < a.words_.size(); ++i) a.words_[i] &= b.words_[i];
    return a;
  }
  /// Calls `visit` with each position.
  template <class Visit>
  void each(Visit&& visit) const {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      for (auto word = words_[i]; word != 0; word &= word - 1) {
        visit(i * 64 + static_cast<std::size_t>(std::countr_zero(word)));
      }
    }
  }

 private:
  std::array<std::uint64_t, 4> words_{};
};

/// Immutable once made; matching is thread-safe.
///
/// Has: characters; `.` (all but line ends); classes `[a-z_]`, `[^"]`; \d \D \w \W \s \S as in ECMAScript, \t
/// \n \r \f \v \uXXXX, and a backslash before any of ^$\.*+?()[]{}|/-; groups `( )` and `(?: )`; alternatives
/// `|`; `?` `*` `+`
/// `{n}` `{n,}` `{n,m}`; `^` only at the beginning and `$` only at the end of the whole. Anything else is
/// refused: references, lookaround, lazy quantifiers, \b. Works on code points.
class text_pattern {
 public:
  static constexpr std::size_t max_positions = 256;

  /// Throws `std::invalid_argument` saying what is wrong, and at which byte.
  explicit text_pattern(std::string_view expression);

  /// Whether a part of the text, which must be UTF-8, matches; with ^ and $ the whole of it.
  [[nodiscard]] bool matches(std::string_view text) const noexcept;

  using positions = position_set;
  using range = std::pair<std::uint32_t, std::uint32_t>;
  using character_class = std::vector<range>;  // of code points, both ends included

 private:
  [[nodiscard]] positions reading(std::uint32_t code_point, const positions& candidates) const noexcept;

  std::vector<character_class> classes_;        // of each position
  std::vector<positions> following_;            // what may come after each position
  std::array<positions, 128> reading_ascii_{};  // the positions that read each character of ASCII
  positions first_;
  positions last_;
  bool matches_empty_ = false;
  bool at_beginning_ = false;
  bool at_end_ = false;
};

}  // namespace skein::detail
