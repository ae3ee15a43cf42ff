#include "wire/frame_parser.hpp"

#include "wire/frame.hpp"
#include "wire/unmask.hpp"

#include <algorithm>
#include <cstring>

namespace skein::detail {
namespace {

constexpr unsigned fin_bit = 0x80, rsv1_bit = 0x40, other_rsv_bits = 0x30, opcode_bits = 0x0f,
                   control_bit = 0x08;
constexpr unsigned mask_bit = 0x80, length_bits = 0x7f;
constexpr unsigned length_in_16_bits = 126, length_in_64_bits = 127;
constexpr std::size_t key_size = 4;

constexpr std::size_t wide_length(unsigned char second) noexcept {
  const auto length = second & length_bits;
  return length == length_in_16_bits ? 2 : length == length_in_64_bits ? 8 : 0;
}

constexpr std::size_t header_size(unsigned char second) noexcept {
  return 2 + wide_length(second) + key_size;
}

std::uint64_t read_length(const unsigned char* header) noexcept {
  const auto wide = wide_length(header[1]);
  if (wide == 0) return header[1] & length_bits;
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < wide; ++i) length = length << 8U | header[2 + i];
  return length;
}

/// What a message of the limit's size may take when it is compressed. What does not compress grows by little,
/// five bytes for each stored block (RFC 1951 section 3.2.4); but blocks may also be empty, so that a message
/// of no bytes at all could go on for ever.
constexpr std::uint64_t largest_compressed(std::uint64_t max_bytes) noexcept {
  constexpr std::uint64_t longest_length = (1ULL << 63U) - 1, a_few_blocks = 1024;
  return max_bytes > (longest_length - a_few_blocks) / 2 ? longest_length : 2 * max_bytes + a_few_blocks;
}

close_code read_code(std::string_view payload) noexcept {
  return static_cast<close_code>(static_cast<unsigned char>(payload[0]) << 8U |
                                 static_cast<unsigned char>(payload[1]));
}

/// What is wrong with a close frame's payload, or with as much of it as has come.
close_code judge_close(std::string_view payload, bool whole) noexcept {
  if (payload.size() < 2) return close_code::none;
  // Section 7.4: codes that are reserved, or of nobody, must not be sent.
  if (!is_sendable(read_code(payload))) return close_code::protocol_error;
  // Section 5.5.1: the rest is UTF-8. Section 8.1: bytes that are to be UTF-8 and are not fail the
  // connection.
  utf8_validator text;
  if (!text.take(payload.substr(2)) || (whole && !text.complete())) return close_code::invalid_payload;
  return close_code::none;
}

}  // namespace

frame_event frame_parser::next(std::span<char>& input) {
  // One object from the first store to the caller: a copy would wait for what was stored in smaller pieces.
  frame_event event;
  if (control_ && state_ != state::control) control_.reset();
  if (state_ == state::header) {
    if (take_small_message(input, event)) return event;
    auto refused = close_code::none;
    if (!read_header(input, refused)) {
      if (refused != close_code::none) event = fail(refused);
      return event;
    }
  }
  if (state_ == state::data) {
    event = take_data(input);
  } else if (state_ == state::control) {
    event = take_control(input);
  }
  return event;
}

// --- Headers ---

/// Breaks no rule that `judge` knows: it is masked, its length is minimal, no message has begun, and no bit
/// is reserved.
bool frame_parser::take_small_message(std::span<char>& input, frame_event& event) noexcept {
  constexpr std::size_t size = 2 + key_size;
  if (input.size() < size || header_size_ != 0 || in_message_) return false;
  const auto* const header = reinterpret_cast<const unsigned char*>(input.data());
  const auto type = static_cast<opcode>(header[0] & ~fin_bit);
  const std::size_t length = header[1] & ~mask_bit;
  if ((header[0] & fin_bit) == 0 || (type != opcode::text && type != opcode::binary) ||
      (header[1] & mask_bit) == 0 || length >= length_in_16_bits || input.size() - size < length ||
      (max_bytes_ != 0 && length > max_bytes_)) {
    return false;
  }
  std::uint32_t key = 0;
  std::memcpy(&key, header + 2, key_size);
  const auto payload = input.subspan(size, length);
  const bool ascii = unmask(payload, key);
  input = input.subspan(size + length);
  text_ = type == opcode::text;
  compressed_ = false;
  event.what = frame_event::kind::data;
  event.begins = event.ends = true;
  event.bytes = {payload.data(), length};
  if (text_ && !ascii) {
    // Section 8.1: text that is not UTF-8 fails the connection.
    utf8_.reset();
    if (!utf8_.take(event.bytes) || !utf8_.complete()) event = fail(close_code::invalid_payload);
  }
  return true;
}

/// Whether there is a whole header now.
bool frame_parser::read_header(std::span<char>& input, close_code& refused) noexcept {
  if (header_size_ == 0 && input.size() >= 2) {
    const auto* const header = reinterpret_cast<const unsigned char*>(input.data());
    const auto size = header_size(header[1]);
    if (input.size() >= size) {  // the common case: no need to put it together
      refused = judge(header, size);
      if (refused != close_code::none) return false;
      begin_frame(header, size);
      input = input.subspan(size);
      return true;
    }
  }
  while (!input.empty()) {
    header_[header_size_++] = static_cast<unsigned char>(input.front());
    input = input.subspan(1);
    refused = judge(header_.data(), header_size_);
    if (refused != close_code::none) return false;
    if (header_size_ >= 2 && header_size_ == header_size(header_[1])) {
      begin_frame(header_.data(), header_size_);
      header_size_ = 0;
      return true;
    }
  }
  return false;
}

/// The rules that can be checked with so much of a header; `none` if it breaks none.
close_code frame_parser::judge(const unsigned char* header, std::size_t size) const noexcept {
  const auto wrong = judge_opcode(header[0]);
  if (wrong != close_code::none || size < 2) return wrong;
  // Section 5.1: a server must close the connection upon a frame that is not masked.
  if ((header[1] & mask_bit) == 0) return close_code::protocol_error;
  if ((header[0] & control_bit) != 0) {
    const auto length = header[1] & length_bits;
    // Section 5.5: control frames have at most 125 bytes.
    if (length > max_control_payload) return close_code::protocol_error;
    // Section 5.5.1: if there is a body, it begins with a code of two bytes.
    const bool is_close = (header[0] & opcode_bits) == static_cast<unsigned>(opcode::close);
    return is_close && length == 1 ? close_code::protocol_error : close_code::none;
  }
  return judge_length(header, size);
}

close_code frame_parser::judge_opcode(unsigned char first) const noexcept {
  const auto code = first & opcode_bits;
  if ((code & control_bit) != 0) {
    // Section 5.2: opcodes 11 to 15 are reserved.
    if (code > static_cast<unsigned>(opcode::pong)) return close_code::protocol_error;
    // Section 5.5: control frames are not fragmented. RFC 7692 section 6.1: nor compressed.
    if ((first & fin_bit) == 0 || (first & (rsv1_bit | other_rsv_bits)) != 0)
      return close_code::protocol_error;
    return close_code::none;
  }
  // Section 10.4: an implementation may limit what a message is made of.
  if (max_frames_ != 0 && frames_ >= max_frames_) return close_code::policy_violation;
  // Section 5.2: opcodes 3 to 7 are reserved.
  if (code > static_cast<unsigned>(opcode::binary)) return close_code::protocol_error;
  // Section 5.4: a message is continued if and only if one has begun.
  const bool continues = code == static_cast<unsigned>(opcode::continuation);
  if (continues != in_message_) return close_code::protocol_error;
  // Section 5.2: reserved bits are zero without an extension. RFC 7692 section 6.1: RSV1 is for first frames.
  const bool may_be_compressed = compression_ && !continues;
  const auto forbidden = may_be_compressed ? other_rsv_bits : other_rsv_bits | rsv1_bit;
  return (first & forbidden) != 0 ? close_code::protocol_error : close_code::none;
}

close_code frame_parser::judge_length(const unsigned char* header, std::size_t size) const noexcept {
  const auto wide = wide_length(header[1]);
  // Section 5.2: the most significant bit of 64 must be zero.
  if (wide == 8 && size > 2 && (header[2] & 0x80U) != 0) return close_code::protocol_error;
  if (size < 2 + wide) return close_code::none;
  const auto length = read_length(header);
  // Section 5.2: the minimal number of bytes must be used to encode the length.
  if ((wide == 2 && length < length_in_16_bits) || (wide == 8 && length <= 0xffff)) {
    return close_code::protocol_error;
  }
  const bool compressed = in_message_ ? compressed_ : (header[0] & rsv1_bit) != 0;
  const auto limit = compressed ? largest_compressed(max_bytes_) : max_bytes_;
  // Section 7.4.1, 1009. What is left can be no less than zero.
  const bool too_big = max_bytes_ != 0 && length > limit - message_bytes_;
  return too_big ? close_code::message_too_big : close_code::none;
}

void frame_parser::begin_frame(const unsigned char* header, std::size_t size) noexcept {
  remaining_ = read_length(header);
  std::memcpy(&key_, header + size - key_size, key_size);
  opcode_ = static_cast<opcode>(header[0] & opcode_bits);
  if ((header[0] & control_bit) != 0) {
    state_ = state::control;
    control_size_ = 0;
    return;
  }
  state_ = state::data;
  final_ = (header[0] & fin_bit) != 0;
  if (!in_message_) {
    in_message_ = true;
    begins_ = true;
    text_ = opcode_ == opcode::text;
    compressed_ = (header[0] & rsv1_bit) != 0;
    message_bytes_ = 0;
    frames_ = 0;
    utf8_.reset();
  }
  ++frames_;
  message_bytes_ += remaining_;
}

// --- Payloads ---

frame_event frame_parser::take_data(std::span<char>& input) noexcept {
  if (input.empty() && remaining_ != 0) return {};
  const auto size = remaining_ < input.size() ? static_cast<std::size_t>(remaining_) : input.size();
  const auto piece = input.first(size);
  input = input.subspan(size);
  remaining_ -= size;
  const bool ascii = unmask(piece, key_);
  const bool frame_ends = remaining_ == 0;
  const bool message_ends = frame_ends && final_;
  const std::string_view bytes{piece.data(), piece.size()};
  if (text_ && !compressed_) {
    // Section 8.1: text that is not UTF-8 fails the connection.
    const bool right = ascii ? utf8_.take_ascii(size) : utf8_.take(bytes);
    if (!right || (message_ends && !utf8_.complete())) return fail(close_code::invalid_payload);
  }
  if (frame_ends) {
    state_ = state::header;
  } else {
    key_ = advance_key(key_, size);
  }
  if (message_ends) {
    in_message_ = false;
    frames_ = 0;
    message_bytes_ = 0;
  }
  frame_event event{.what = frame_event::kind::data, .begins = begins_, .ends = message_ends, .bytes = bytes};
  begins_ = false;
  return event;
}

frame_event frame_parser::take_control(std::span<char>& input) {
  const auto size = remaining_ < input.size() ? static_cast<std::size_t>(remaining_) : input.size();
  const auto piece = input.first(size);
  unmask(piece, key_);
  key_ = advance_key(key_, size);
  if (control_size_ == 0 && size == remaining_) {  // the common case: no need to put it together
    input = input.subspan(size);
    return finish_control({piece.data(), piece.size()});
  }
  if (!control_) control_ = std::make_unique<std::array<char, max_control_payload>>();
  std::copy(piece.begin(), piece.end(), control_->data() + control_size_);
  input = input.subspan(size);
  control_size_ = static_cast<std::uint8_t>(control_size_ + size);
  remaining_ -= size;
  const std::string_view payload{control_->data(), control_size_};
  if (remaining_ == 0) return finish_control(payload);
  const auto wrong = opcode_ == opcode::close ? judge_close(payload, false) : close_code::none;
  return wrong == close_code::none ? frame_event{} : fail(wrong);
}

frame_event frame_parser::finish_control(std::string_view payload) noexcept {
  using kind = frame_event::kind;
  state_ = state::header;
  if (opcode_ == opcode::ping) return {.what = kind::ping, .bytes = payload};
  if (opcode_ == opcode::pong) return {.what = kind::pong, .bytes = payload};
  const auto wrong = judge_close(payload, true);
  if (wrong != close_code::none) return fail(wrong);
  state_ = state::over;
  // Section 7.1.5: without a code there is none.
  if (payload.empty()) return {.what = kind::close};
  return {.what = kind::close, .code = read_code(payload), .bytes = payload.substr(2)};
}

frame_event frame_parser::fail(close_code code) noexcept {
  state_ = state::over;
  return {.what = frame_event::kind::failure, .code = code};
}

}  // namespace skein::detail
