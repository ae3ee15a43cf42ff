#pragma once

// Messages, and messages made ready to be sent to many.
//
// `message` is a value: an opcode and a payload. `prepared_message` is a message that was encoded once into
// the bytes that go on the wire; it is an immutable, reference-counted handle, so one encoding serves any
// number of recipients on any number of threads, and so does its compressed form, which is made on first
// need. Both are safe to copy and to destroy on any thread.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

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

namespace detail {
class frame_block;
}
class message;

/// A message encoded once, shared by all its recipients.
class prepared_message {
 public:
  prepared_message() noexcept = default;  ///< holds nothing; sending it is a precondition violation
  prepared_message(message source);       // NOLINT: a message may be given wherever a prepared one is wanted
  prepared_message(const prepared_message& other) noexcept : block_(other.block_) {
    if (block_) retain();
  }
  prepared_message(prepared_message&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  prepared_message& operator=(prepared_message other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~prepared_message() {
    if (block_) release();
  }

  [[nodiscard]] explicit operator bool() const noexcept { return block_ != nullptr; }
  [[nodiscard]] skein::opcode type() const noexcept;
  [[nodiscard]] bool is_text() const noexcept { return type() == opcode::text; }
  [[nodiscard]] std::string_view payload() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return payload().size(); }

  /// For the library's own use, as all that follows. Takes over a reference to the block.
  explicit prepared_message(detail::frame_block* block) noexcept : block_(block) {}
  [[nodiscard]] detail::frame_block* block() const noexcept { return block_; }
  /// Lets go of the reference without giving it back.
  [[nodiscard]] detail::frame_block* take_block() noexcept { return std::exchange(block_, nullptr); }

 private:
  [[nodiscard]] static detail::frame_block* make_empty(skein::opcode type);
  void retain() const noexcept;
  void release() const noexcept;

  detail::frame_block* block_ = nullptr;
};

/// A text or binary message. Text is UTF-8; what arrives from a peer has been checked, what you send is sent
/// as it is given.
///
/// A value, though copies share the payload, which nobody changes: a copy costs no memory. The payload stands
/// where it is sent from, so that sending on what was received, to one or to many, encodes and copies
/// nothing.
class message {
 public:
  message() noexcept = default;
  /// Up to 4 KiB are copied, more are moved. Throws `std::bad_alloc`, and `std::length_error` for more than
  /// 4 GiB less 1 KiB.
  message(skein::opcode op, std::string payload);

  [[nodiscard]] static message text(std::string payload) { return {opcode::text, std::move(payload)}; }
  [[nodiscard]] static message binary(std::string payload) { return {opcode::binary, std::move(payload)}; }

  [[nodiscard]] skein::opcode type() const noexcept { return opcode_; }
  [[nodiscard]] bool is_text() const noexcept { return opcode_ == opcode::text; }
  [[nodiscard]] bool is_binary() const noexcept { return opcode_ == opcode::binary; }
  [[nodiscard]] std::string_view payload() const noexcept { return frame_.payload(); }
  [[nodiscard]] std::size_t size() const noexcept { return payload().size(); }
  /// The payload as a string of the caller's own; the message is empty afterwards. More than 4 KiB that no
  /// copy of the message shares are moved, anything else is copied. Throws `std::bad_alloc`, and is then as
  /// it was.
  [[nodiscard]] std::string release();

  friend bool operator==(const message& a, const message& b) noexcept {
    return a.opcode_ == b.opcode_ && a.payload() == b.payload();
  }

  /// For the library's own use: as a message of this payload is sent.
  message(skein::opcode op, prepared_message frame) noexcept : frame_(std::move(frame)), opcode_(op) {}

 private:
  friend prepared_message;
  prepared_message frame_;  // or nothing, if the payload is empty
  skein::opcode opcode_ = opcode::text;
};

inline prepared_message::prepared_message(message source)
    : block_(source.frame_ ? source.frame_.take_block() : make_empty(source.type())) {}

}  // namespace skein
