#pragma once

// Reads what a server wrote, and stops where a server may not write that (RFC 6455 section 5).

#include "fuzz_input.hpp"
#include "wire/inflate.hpp"

#include <skein/message.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fuzz {

class server_frames {
 public:
  explicit server_frames(bool compressed) noexcept : compressed_(compressed) {}

  /// The messages that end with these bytes. Skein never fragments what it writes. What is text has been
  /// checked before it was sent, or is the server's own.
  std::vector<skein::message> take(std::string_view bytes) {
    std::vector<skein::message> all;
    pending_ += bytes;
    while (const auto size = whole_frame()) {
      require(!close_, "something was written behind the close frame");
      const auto first = byte(0);
      const auto payload = pending_.substr(*size - payload_size_, payload_size_);
      const auto op = static_cast<skein::opcode>(first & 0x0fU);
      const bool rsv1 = (first & 0x40U) != 0;
      require((first & 0x80U) != 0 && (first & 0x30U) == 0, "a fragment, or a reserved bit");
      switch (op) {
        case skein::opcode::text:
        case skein::opcode::binary:
          require(!rsv1 || compressed_, "compressed, which was not agreed on");
          all.emplace_back(op, rsv1 ? inflated(payload) : payload);
          break;
        case skein::opcode::close:
          check_control(rsv1);
          read_close(payload);
          break;
        case skein::opcode::ping:
        case skein::opcode::pong:
          check_control(rsv1);
          break;
        default:
          require(false, "an opcode that no server writes");
      }
      pending_.erase(0, *size);
    }
    return all;
  }

  [[nodiscard]] std::optional<skein::close_code> close() const noexcept { return close_; }

 private:
  [[nodiscard]] unsigned byte(std::size_t at) const noexcept {
    return static_cast<unsigned char>(pending_[at]);
  }

  /// The size of the frame at the front, if all of it is there.
  std::optional<std::size_t> whole_frame() {
    if (pending_.size() < 2) return std::nullopt;
    require((byte(1) & 0x80U) == 0, "a server's frame is masked");
    const auto length = byte(1) & 0x7fU;
    const std::size_t wide = length < 126 ? 0 : length == 126 ? 2 : 8;
    if (pending_.size() < 2 + wide) return std::nullopt;
    payload_size_ = wide == 0 ? length : 0;
    for (std::size_t i = 0; i < wide; ++i) payload_size_ = payload_size_ << 8U | byte(2 + i);
    require(payload_size_ >= (wide == 0 ? 0U : wide == 2 ? 126U : 65'536U), "a length that is not minimal");
    require(payload_size_ < 1U << 24U, "a frame that is far too large");
    if (pending_.size() - 2 - wide < payload_size_) return std::nullopt;
    return 2 + wide + payload_size_;
  }
  static std::string inflated(const std::string& payload) {
    std::string message;
    skein::detail::message_inflater one{15, 0, false};
    fuzz::require(one.take(payload, message) == skein::close_code::none &&
                      one.finish(message) == skein::close_code::none,
                  "what was compressed cannot be inflated");
    return message;
  }
  void check_control(bool rsv1) const { require(!rsv1 && payload_size_ <= 125, "no control frame"); }
  void read_close(const std::string& payload) {
    require(payload.size() != 1, "half a close code");
    close_ = skein::close_code::none;
    if (payload.empty()) return;
    close_ = static_cast<skein::close_code>(static_cast<unsigned char>(payload[0]) << 8U |
                                            static_cast<unsigned char>(payload[1]));
    require(skein::is_sendable(*close_), "a close code that nobody may send");
  }

  bool compressed_;
  std::string pending_;
  std::size_t payload_size_ = 0;
  std::optional<skein::close_code> close_;
};

}  // namespace fuzz
