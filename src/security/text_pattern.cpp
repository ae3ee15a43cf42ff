#include "security/text_pattern.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

namespace skein::detail {
namespace {

using character_class = text_pattern::character_class;
using positions = text_pattern::positions;

constexpr std::uint32_t last_code_point = 0x10ffff;

/// The next code point of UTF-8, taken off the front. Bytes that are none count as one each.
std::uint32_t take_code_point(std::string_view& text) noexcept {
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t size = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (size == 1 || text.size() < size) {
    text.remove_prefix(1);
    return first;
  }
  auto value = first & (0xffU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) value = value << 6U | (static_cast<unsigned char>(text[i]) & 0x3fU);
  text.remove_prefix(size);
  return value;
}

/// Sorted, and what touches joined.
character_class normal(character_class ranges) {
  std::sort(ranges.begin(), ranges.end());
  character_class joined;
  for (const auto& one : ranges) {
    if (!joined.empty() && one.first <= joined.back().second + 1) {
      joined.back().second = std::max(joined.back().second, one.second);
    } else {
      joined.push_back(one);
    }
  }
  return joined;
}

character_class all_but(const character_class& ranges) {
  character_class rest;
  std::uint32_t next = 0;
  for (const auto& [low, high] : normal(ranges)) {
    if (low > next) rest.emplace_back(next, low - 1);
    next = high + 1;
  }
  if (next <= last_code_point) rest.emplace_back(next, last_code_point);
  return rest;
}

const character_class digits{{'0', '9'}};
const character_class word_characters{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const character_class spaces{{0x09, 0x0d},     {0x20, 0x20},     {0xa0, 0xa0},     {0x1680, 0x1680},
                             {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f},
                             {0x3000, 0x3000}, {0xfeff, 0xfeff}};
const character_class line_ends{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

/// A part of the expression: where it may begin and end, and whether it may be empty.
struct part {
  positions first, last;
  bool may_be_empty = true;
};

/// Reads an expression and makes positions of it.
class reader {
 public:
  explicit reader(std::string_view expression) : whole_(expression), rest_(expression) {}

  part read() {
    at_beginning = take('^');
    if (rest_.ends_with('$') && !is_escaped_end()) {
      at_end = true;
      rest_.remove_suffix(1);
    }
    auto result = read_alternatives(0);
    if (!rest_.empty()) fail("there is a parenthesis too many");
    if ((at_beginning || at_end) && has_top_level_alternatives_)
      fail("^ and $ beside | need parentheses around the alternatives");
    return result;
  }

  std::vector<character_class> classes;
  std::vector<positions> following;
  bool at_beginning = false;
  bool at_end = false;

 private:
  static constexpr int max_nesting = 32;
  static constexpr int max_atoms = 4096;  // repetitions of empty groups have no positions to be counted by

  [[noreturn]] void fail(const std::string& why) const {
    const auto at = whole_.size() - rest_.size() - (at_end ? 1 : 0);
    throw std::invalid_argument("the pattern cannot be used: " + why + " (at byte " + std::to_string(at) +
                                ")");
  }

  [[nodiscard]] bool at(char c) const noexcept { return rest_.starts_with(c); }
  bool take(char c) noexcept {
    if (!at(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  /// Whether the last character is behind an odd number of backslashes.
  [[nodiscard]] bool is_escaped_end() const noexcept {
    std::size_t backslashes = 0;
    while (backslashes + 1 < rest_.size() && rest_[rest_.size() - 2 - backslashes] == '\\') ++backslashes;
    return backslashes % 2 == 1;
  }

  part read_alternatives(int nesting) {
    if (nesting > max_nesting) fail("its groups are nested too deeply");
    auto result = read_sequence(nesting);
    while (take('|')) {
      if (nesting == 0) has_top_level_alternatives_ = true;
      const auto other = read_sequence(nesting);
      result.first |= other.first;
      result.last |= other.last;
      result.may_be_empty = result.may_be_empty || other.may_be_empty;
    }
    return result;
  }

  part read_sequence(int nesting) {
    part result;
    while (!rest_.empty() && !at('|') && !at(')')) result = join(result, read_repeated(nesting));
    return result;
  }

  part join(const part& one, const part& next) {
    one.last.each([&](std::size_t i) { following[i] |= next.first; });
    part both;
    both.first = one.may_be_empty ? one.first | next.first : one.first;
    both.last = next.may_be_empty ? one.last | next.last : next.last;
    both.may_be_empty = one.may_be_empty && next.may_be_empty;
    return both;
  }

  part read_repeated(int nesting) {
    const auto source = rest_;
    auto once = read_atom(nesting);
    const auto behind_atom = rest_;
    const auto count = read_count();
    if (!count) return once;
    if (at('?') || at('*') || at('+') || at('{')) fail("a repetition of a repetition");
    const auto [fewest, most] = *count;
    const auto behind = rest_;
    // Written out: the atom is read again for each of its times.
    part result;
    const auto copies = most.value_or(std::max<std::size_t>(fewest, 1));
    for (std::size_t i = 0; i < copies; ++i) {
      if (i != 0) {
        rest_ = source.substr(0, source.size() - behind_atom.size());
        once = read_atom(nesting);
      }
      if (!most && i + 1 == copies) {  // the last of an open number repeats itself
        once.last.each([&](std::size_t p) { following[p] |= once.first; });
      }
      if (i >= fewest) once.may_be_empty = true;
      result = join(result, once);
    }
    rest_ = behind;
    return result;
  }

  using times = std::pair<std::size_t, std::optional<std::size_t>>;
  std::optional<times> read_count() {
    if (take('?')) return times{0, 1};
    if (take('*')) return times{0, std::nullopt};
    if (take('+')) return times{1, std::nullopt};
    if (!take('{')) return std::nullopt;
    const auto fewest = read_number();
    if (take('}')) return times{fewest, fewest};
    if (!take(',')) fail("a repetition is {n}, {n,} or {n,m}");
    if (take('}')) return times{fewest, std::nullopt};
    const auto most = read_number();
    if (!take('}')) fail("a repetition is {n}, {n,} or {n,m}");
    if (most < fewest) fail("a repetition has its most below its fewest");
    return times{fewest, most};
  }

  std::size_t read_number() {
    std::size_t value = 0;
    const auto before = rest_.size();
    while (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') {
      value = value * 10 + static_cast<std::size_t>(rest_.front() - '0');
      if (value > text_pattern::max_positions) fail("more repetitions than there may be positions");
      rest_.remove_prefix(1);
    }
    if (rest_.size() == before) fail("a repetition needs a number");
    return value;
  }

  part read_atom(int nesting) {
    if (++atoms_ > max_atoms) fail("its repetitions are too many");
    const char c = rest_.front();
    if (c == '(') {
      take('(');
      if (take('?') && !take(':')) fail("of groups that begin with (? only (?: can be used");
      auto inside = read_alternatives(nesting + 1);
      if (!take(')')) fail("a parenthesis is not closed");
      return inside;
    }
    if (c == '[') return position(read_class());
    if (take('.')) return position(all_but(line_ends));
    if (c == '\\') return position(read_escape());
    if (c == '*' || c == '+' || c == '?' || c == '{') fail("a repetition of nothing");
    if (c == '}' || c == ']') fail("a bracket that was not opened needs a backslash");
    if (c == '^') fail("^ can only stand at the beginning");
    if (c == '$') fail("$ can only stand at the end");
    const auto code = take_code_point(rest_);
    return position({{code, code}});
  }

  part position(character_class what) {
    if (classes.size() == text_pattern::max_positions)
      fail("it has more than " + std::to_string(text_pattern::max_positions) + " positions");
    part result;
    result.first.set(classes.size());
    result.last.set(classes.size());
    result.may_be_empty = false;
    classes.push_back(normal(std::move(what)));
    following.emplace_back();
    return result;
  }

  /// What stands behind a backslash.
  character_class read_escape() {
    take('\\');
    if (rest_.empty()) fail("a backslash at the end");
    const char c = rest_.front();
    rest_.remove_prefix(1);
    switch (c) {
      case 'd':
        return digits;
      case 'D':
        return all_but(digits);
      case 'w':
        return word_characters;
      case 'W':
        return all_but(word_characters);
      case 's':
        return spaces;
      case 'S':
        return all_but(spaces);
      case 't':
        return {{'\t', '\t'}};
      case 'n':
        return {{'\n', '\n'}};
      case 'r':
        return {{'\r', '\r'}};
      case 'f':
        return {{'\f', '\f'}};
      case 'v':
        return {{'\v', '\v'}};
      case 'u': {
        const auto code = read_hexadecimal();
        return {{code, code}};
      }
      default:
        break;
    }
    if (std::string_view{"^$\\.*+?()[]{}|/-"}.find(c) == std::string_view::npos)
      fail("this cannot stand behind a backslash");
    const auto code = static_cast<std::uint32_t>(static_cast<unsigned char>(c));
    return {{code, code}};
  }

  std::uint32_t read_hexadecimal() {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i) {
      constexpr std::string_view hexadecimal = "0123456789abcdef0123456789ABCDEF";
      const auto digit = rest_.empty() ? std::string_view::npos : hexadecimal.find(rest_.front());
      if (digit == std::string_view::npos) fail("\\u needs four hexadecimal digits");
      value = value << 4U | static_cast<std::uint32_t>(digit % 16);
      rest_.remove_prefix(1);
    }
    if (value >= 0xd800 && value <= 0xdfff) fail("half of a surrogate pair is no character");
    return value;
  }

  character_class read_class() {
    take('[');
    const bool is_negated = take('^');
    character_class all;
    while (!at(']')) {
      const auto low = read_class_member();
      if (low.size() == 1 && low[0].first == low[0].second && at('-') && rest_.substr(0, 2) != "-]") {
        take('-');
        const auto high = read_class_member();
        if (high.size() != 1 || high[0].first != high[0].second)
          fail("a range of characters ends in a class");
        if (high[0].first < low[0].first) fail("a range of characters is the wrong way round");
        all.emplace_back(low[0].first, high[0].first);
      } else {
        all.insert(all.end(), low.begin(), low.end());
      }
    }
    take(']');
    return is_negated ? all_but(all) : all;
  }

  character_class read_class_member() {
    if (rest_.empty()) fail("a class is not closed");
    if (at('\\')) return read_escape();
    if (at('[')) fail("an opening bracket in a class needs a backslash");
    const auto code = take_code_point(rest_);
    return {{code, code}};
  }

  std::string_view whole_;
  std::string_view rest_;
  bool has_top_level_alternatives_ = false;
  int atoms_ = 0;
};

}  // namespace

text_pattern::text_pattern(std::string_view expression) {
  reader source{expression};
  const auto whole = source.read();
  classes_ = std::move(source.classes);
  following_ = std::move(source.following);
  first_ = whole.first;
  last_ = whole.last;
  matches_empty_ = whole.may_be_empty;
  at_beginning_ = source.at_beginning;
  at_end_ = source.at_end;
  for (std::uint32_t c = 0; c < reading_ascii_.size(); ++c) {
    for (std::size_t i = 0; i < classes_.size(); ++i) {
      const bool reads = std::any_of(classes_[i].begin(), classes_[i].end(),
                                     [c](const range& one) { return c >= one.first && c <= one.second; });
      if (reads) reading_ascii_[c].set(i);
    }
  }
}

text_pattern::positions text_pattern::reading(std::uint32_t code_point,
                                              const positions& candidates) const noexcept {
  if (code_point < reading_ascii_.size()) return candidates & reading_ascii_[code_point];
  auto result = candidates;
  candidates.each([&](std::size_t i) {
    const auto& ranges = classes_[i];
    const auto behind = std::upper_bound(ranges.begin(), ranges.end(), code_point,
                                         [](std::uint32_t c, const range& one) { return c < one.first; });
    if (behind == ranges.begin() || code_point > std::prev(behind)->second) result.reset(i);
  });
  return result;
}

bool text_pattern::matches(std::string_view text) const noexcept {
  if (matches_empty_ && (!at_beginning_ || !at_end_ || text.empty())) return true;
  positions alive;
  bool is_first = true;
  while (!text.empty()) {
    positions candidates;
    alive.each([&](std::size_t i) { candidates |= following_[i]; });
    if (is_first || !at_beginning_) candidates |= first_;
    is_first = false;
    alive = reading(take_code_point(text), candidates);
    if (!at_end_ && (alive & last_).any()) return true;
    if (at_beginning_ && !alive.any()) return false;
  }
  return (alive & last_).any();
}

}  // namespace skein::detail
