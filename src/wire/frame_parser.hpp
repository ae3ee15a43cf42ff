#pragma once

// Frames as they arrive (RFC 6455 section 5): bytes in, events out. No I/O, no memory but for a control frame
// that arrives in pieces. What breaks a rule or a limit is refused as early as it can be told: a header at
// its first wrong byte, a length before any of its payload, a text at its first byte that is not UTF-8.

#include "wire/utf8.hpp"

#include <skein/message.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace skein::detail {

/// What a peer's messages may be. Zero: no limit.
struct frame_limits {
  /// Past it 1009. Of a compressed message whoever inflates it counts; here it may have twice as many bytes,
  /// and 1,024 more.
  std::size_t message_bytes = 0;
  std::uint32_t message_frames = 0;  ///< past it 1008
  bool compression = false;          ///< RSV1 may mark a message as compressed (RFC 7692 section 6)
};

struct frame_event {
  enum class kind : std::uint8_t {
    starved,  ///< all input is used up
    data,     ///< a piece of a message, unmasked; of a text, checked
    ping,
    pong,
    close,    ///< nothing follows it
    failure,  ///< nothing follows it
  };
  kind what = kind::starved;
  bool begins = false;                 ///< data: the first piece of its message
  bool ends = false;                   ///< data: the last piece of its message
  close_code code = close_code::none;  ///< of a close frame, or to close with after a failure
  /// The piece, the payload, or the text of a close frame. Valid until the next call.
  std::string_view bytes{};
};

class frame_parser {
 public:
  explicit frame_parser(const frame_limits& limits) noexcept
      : max_bytes_(limits.message_bytes),
        max_frames_(limits.message_frames),
        compression_(limits.compression) {}

  /// The next event; takes what belongs to it from the front of `input`, and unmasks it where it stands.
  [[nodiscard]] frame_event next(std::span<char>& input);

  /// Nothing comes any more.
  void stop() noexcept { state_ = state::over; }

  [[nodiscard]] std::size_t max_message_bytes() const noexcept {
    return static_cast<std::size_t>(max_bytes_);
  }
  /// Whether a data message has begun and its last frame has not ended.
  [[nodiscard]] bool in_message() const noexcept { return in_message_; }
  // Of the message whose piece was the last event.
  [[nodiscard]] opcode message_type() const noexcept { return text_ ? opcode::text : opcode::binary; }
  [[nodiscard]] bool message_compressed() const noexcept { return compressed_; }

 private:
  enum class state : std::uint8_t { header, data, control, over };

  /// Whether a small message in one frame stands in front, which is most of them; then it is taken.
  [[nodiscard]] bool take_small_message(std::span<char>& input, frame_event& event) noexcept;
  [[nodiscard]] bool read_header(std::span<char>& input, close_code& refused) noexcept;
  [[nodiscard]] close_code judge(const unsigned char* header, std::size_t size) const noexcept;
  [[nodiscard]] close_code judge_opcode(unsigned char first) const noexcept;
  [[nodiscard]] close_code judge_length(const unsigned char* header, std::size_t size) const noexcept;
  void begin_frame(const unsigned char* header, std::size_t size) noexcept;
  [[nodiscard]] frame_event take_data(std::span<char>& input) noexcept;
  [[nodiscard]] frame_event take_control(std::span<char>& input);
  [[nodiscard]] frame_event finish_control(std::string_view payload) noexcept;
  [[nodiscard]] frame_event fail(close_code code) noexcept;

  static constexpr std::size_t longest_header = 14;

  std::uint64_t remaining_ = 0;      // of the frame's payload
  std::uint64_t message_bytes_ = 0;  // of the message, as far as declared
  std::uint64_t max_bytes_;
  std::unique_ptr<std::array<char, 125>> control_{};  // a control frame that has arrived in part
  std::uint32_t max_frames_;
  std::uint32_t frames_ = 0;  // of the message
  std::uint32_t key_ = 0;     // for the next byte of the payload
  utf8_validator utf8_{};
  std::array<unsigned char, longest_header> header_{};  // as much as has arrived
  std::uint8_t header_size_ = 0;
  std::uint8_t control_size_ = 0;
  opcode opcode_ = opcode::continuation;
  state state_ = state::header;
  bool compression_ : 1;
  bool final_ : 1 = false;
  bool in_message_ : 1 = false;
  bool begins_ : 1 = false;  // no piece of the message has been reported
  bool text_ : 1 = false;
  bool compressed_ : 1 = false;
};

}  // namespace skein::detail
