#pragma once

// Receiving compressed messages: permessage-deflate (RFC 7692 section 7.2.2) on zlib, without context
// takeover, so that a connection keeps nothing between messages. What inflating needs, about 40 KiB, is
// borrowed from a pool of the thread for as long as a message is being received.

#include "wire/utf8.hpp"

#include <skein/message.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

struct z_stream_s;

namespace skein::detail {

/// zlib's state for one stream, borrowed.
class inflate_context {
 public:
  /// `window_bits`: the largest window that the sender may use.
  explicit inflate_context(int window_bits);
  inflate_context(inflate_context&& other) noexcept : stream_(other.stream_) { other.stream_ = nullptr; }
  inflate_context& operator=(inflate_context&&) = delete;
  ~inflate_context();
  [[nodiscard]] z_stream_s& stream() const noexcept { return *stream_; }

  /// Contexts that wait in this thread's pool.
  [[nodiscard]] static std::size_t pooled() noexcept;
  static constexpr std::size_t max_pooled = 8;

 private:
  z_stream_s* stream_;
};

/// Inflates one message, piece by piece.
class message_inflater {
 public:
  /// `limit`: bytes of the message; 0: none. Text is checked to be UTF-8 as it comes.
  message_inflater(int window_bits, std::size_t limit, bool text)
      : context_(window_bits), limit_(limit), text_(text) {}

  /// Takes the next piece and appends what comes of it. `none`, or the code to close with. Never makes more
  /// than the limit and one byte.
  [[nodiscard]] close_code take(std::string_view piece, std::string& message);
  /// The message's last piece has been taken.
  [[nodiscard]] close_code finish(std::string& message);

 private:
  [[nodiscard]] close_code run(std::string& message);
  [[nodiscard]] close_code append(std::string_view made, std::string& message);
  [[nodiscard]] bool between_blocks() const noexcept;

  inflate_context context_;
  std::size_t limit_;
  utf8_validator utf8_;
  bool text_;
  bool begun_ = false;         // something has been taken
  bool stream_ended_ = false;  // by a block that says it is the last
};

}  // namespace skein::detail
