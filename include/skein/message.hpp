#pragma once

// Messages, and messages made ready to be sent to many.
//
// `message` is a plain value: an opcode and a payload. `prepared_message` is a message that was encoded
// once into the bytes that go on the wire; it is an immutable, reference-counted handle, so one encoding
// serves any number of recipients on any number of threads, and so does its compressed form, which is made
// on first need. Both are safe to copy and to destroy on any thread.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace skein {

/// Opcodes of RFC 6455 section 5.2.
enum class opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

/// Close codes of RFC 6455 section 7.4.1, and Skein's own: 4000 to 4499 invite the client to reconnect,
/// 4500 to 4999 tell it not to.
enum class close_code : std::uint16_t {
  none = 0,  ///< no code was given: what 1005 means, which never appears on the wire
  normal = 1000,
  going_away = 1001,
  protocol_error = 1002,
  unsupported_data = 1003,
  no_status = 1005,  ///< reported only, never sent
  abnormal = 1006,   ///< reported only, never sent: the connection ended without a close frame
  invalid_payload = 1007,
  policy_violation = 1008,
  message_too_big = 1009,
  internal_error = 1011,
  service_restart = 1012,
  try_again_later = 1013,
  pong_timeout = 4000,   ///< the peer did not answer a ping in time
  unauthorized = 4001,   ///< the token has expired, or none that is good came in the first message
  slow_consumer = 4008,  ///< the peer reads more slowly than it is sent to
};

/// Whether an endpoint may put this code into a close frame (RFC 6455 section 7.4).
[[nodiscard]] bool is_sendable(close_code code) noexcept;

/// A text or binary message. Text is UTF-8; what arrives from a peer has been checked, what you send is sent
/// as it is given.
class message {
 public:
  message() = default;
  message(skein::opcode op, std::string payload) noexcept : payload_(std::move(payload)), opcode_(op) {}

  [[nodiscard]] static message text(std::string payload) { return {opcode::text, std::move(payload)}; }
  [[nodiscard]] static message binary(std::string payload) { return {opcode::binary, std::move(payload)}; }

  [[nodiscard]] skein::opcode type() const noexcept { return opcode_; }
  [[nodiscard]] bool is_text() const noexcept { return opcode_ == opcode::text; }
  [[nodiscard]] bool is_binary() const noexcept { return opcode_ == opcode::binary; }
  [[nodiscard]] std::string_view payload() const noexcept { return payload_; }
  [[nodiscard]] std::size_t size() const noexcept { return payload_.size(); }
  /// Moves the payload out; the message is empty afterwards.
  [[nodiscard]] std::string release() noexcept { return std::move(payload_); }

  friend bool operator==(const message&, const message&) = default;

 private:
  std::string payload_;
  skein::opcode opcode_ = opcode::text;
};

namespace detail {
class frame_block;
}

/// A message encoded once, shared by all its recipients.
class prepared_message {
 public:
  prepared_message() noexcept = default;  ///< holds nothing; sending it is a precondition violation
  prepared_message(message source);       // NOLINT: a message may be given wherever a prepared one is wanted
  prepared_message(const prepared_message& other) noexcept;
  prepared_message(prepared_message&& other) noexcept : block_(other.block_) { other.block_ = nullptr; }
  prepared_message& operator=(prepared_message other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~prepared_message();

  [[nodiscard]] explicit operator bool() const noexcept { return block_ != nullptr; }
  [[nodiscard]] skein::opcode type() const noexcept;
  [[nodiscard]] bool is_text() const noexcept { return type() == opcode::text; }
  [[nodiscard]] std::string_view payload() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return payload().size(); }

  /// For the library's own use.
  [[nodiscard]] detail::frame_block* block() const noexcept { return block_; }

 private:
  detail::frame_block* block_ = nullptr;
};

}  // namespace skein
