#pragma once

// Follows the frame headers in what a peer sends, and nothing else: where each frame ends, how many frames
// the message being read has. Plain state without I/O.
//
// The Beast engine needs it for three things. Beast accepts fragments without end, the empty ones too
// (design: budgets on what arrives). And Beast's stream posts whenever it finds a second frame in its own
// buffer, so it is fed frame by frame. And of a compressed message without payload it makes what the peer
// never sent.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace skein::detail {

class frame_scanner {
 public:
  /// From now on a step ends with a frame's header too, if there is a payload.
  void split_headers() noexcept { split_ = true; }

  /// Advances over at most one frame, or what there is of it.
  struct step {
    std::size_t bytes = 0;          ///< of the input that belong to the current frame
    std::uint64_t frames = 0;       ///< of the message, up to and with the current frame
    bool message_complete = false;  ///< the last frame of a message ends with them
    bool nothing_to_inflate =
        false;  ///< and it is compressed (RFC 7692 section 6), but has no payload at all
  };
  [[nodiscard]] step advance(std::string_view input) noexcept {
    step result;
    while (result.bytes < input.size()) {
      if (header_filled_ < header_needed_) {
        header_[header_filled_++] = static_cast<unsigned char>(input[result.bytes++]);
        if (header_filled_ == 2) header_needed_ = 2 + length_bytes() + ((header_[1] & 0x80U) != 0 ? 4U : 0U);
        if (header_filled_ == header_needed_) {
          begin_frame();
          if (remaining_ == 0) return finish(result);
          if (split_) break;
        }
        continue;
      }
      const std::uint64_t available = input.size() - result.bytes;
      const auto taken = available < remaining_ ? available : remaining_;
      result.bytes += static_cast<std::size_t>(taken);
      remaining_ -= taken;
      if (remaining_ == 0) return finish(result);
    }
    result.frames = message_frames_;
    return result;
  }

  /// Whether a data message has begun and its last frame has not ended.
  [[nodiscard]] bool in_message() const noexcept { return message_frames_ != 0; }

 private:
  [[nodiscard]] unsigned length_bytes() const noexcept {
    const auto length = header_[1] & 0x7fU;
    return length == 126 ? 2U : length == 127 ? 8U : 0U;
  }
  void begin_frame() noexcept {
    const auto wide = length_bytes();
    std::uint64_t length = wide == 0 ? header_[1] & 0x7fU : 0;
    for (unsigned i = 0; i < wide; ++i) length = length << 8U | header_[2 + i];
    remaining_ = length;
    if ((header_[0] & 0x08U) != 0) return;
    if (++message_frames_ == 1) {
      compressed_ = (header_[0] & 0x40U) != 0;
      has_payload_ = false;
    }
    has_payload_ = has_payload_ || length != 0;
  }
  step finish(step result) noexcept {
    const bool data = (header_[0] & 0x08U) == 0;
    const bool final_frame = (header_[0] & 0x80U) != 0;
    result.frames = message_frames_;
    if (data && final_frame) message_frames_ = 0;
    header_filled_ = 0;
    header_needed_ = 2;
    result.message_complete = data && final_frame;
    result.nothing_to_inflate = result.message_complete && compressed_ && !has_payload_;
    return result;
  }

  std::uint64_t remaining_ = 0;
  std::uint64_t message_frames_ = 0;
  unsigned char header_[14] = {};
  unsigned header_filled_ = 0;
  unsigned header_needed_ = 2;
  bool split_ = false;
  bool compressed_ = false;   // the message
  bool has_payload_ = false;  // the message, so far
};

}  // namespace skein::detail
