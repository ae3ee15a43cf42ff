#pragma once

// The seam between a connection and the protocol: bytes in; messages and control events out, and control
// frames to write. An engine does no I/O and knows no executor of its own: everything happens inside `feed`,
// on the shard. Nothing above this file knows which engine runs.

#include <skein/handshake.hpp>
#include <skein/manager.hpp>
#include <skein/message.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace skein::detail {

/// What an engine reports to. Called only from inside `protocol_engine::feed`.
class protocol_sink {
 public:
  /// A whole message. False: enough for now, `feed` returns behind this message.
  virtual bool on_message(message what) = 0;
  /// A ping has arrived. False: one too many, the engine stops and answers nothing more.
  virtual bool on_ping() = 0;
  virtual void on_pong(std::string_view payload) = 0;
  /// A ready frame to write ahead of data: the answer to a ping.
  virtual void on_control(std::string_view frame) = 0;
  /// The peer's close frame; nothing follows it. `none` if it had no code.
  virtual void on_close(close_code code, std::string_view text) = 0;
  /// The peer broke a rule: close with this code (RFC 6455 section 7.1.7). Nothing follows it.
  virtual void on_failure(close_code code) = 0;

 protected:
  ~protocol_sink() = default;
};

struct engine_options {
  std::size_t max_message_bytes = 0;
  std::size_t max_message_frames = 0;
  bool compression = false;
  engine kind = engine::native;
};

class protocol_engine {
 public:
  virtual ~protocol_engine() = default;
  /// Takes bytes from the peer, which it may unmask where they stand; returns how many were used. Fewer than
  /// given: the sink said enough, and the rest, untouched, is to be given again; or the protocol has ended
  /// and the rest is of no interest.
  virtual std::size_t feed(std::span<char> bytes, protocol_sink& sink) = 0;
  /// Whether a message has begun and not ended.
  [[nodiscard]] virtual bool in_message() const noexcept = 0;
  /// The window, in bits, of what may be sent compressed; 0 if permessage-deflate was not agreed on.
  [[nodiscard]] virtual int send_window_bits() const noexcept = 0;
};

/// The result of the opening handshake: an engine and the bytes of the 101 response that must be written
/// first, or, if `engine` is empty, nothing of use.
struct upgrade {
  std::unique_ptr<protocol_engine> engine;
  std::string response;
};

/// Accepts with the engine that the options name. `scratch` is memory of the shard that engines use while
/// they are fed, at least `scratch_size(options)` bytes; it must outlive the engine.
[[nodiscard]] upgrade accept_upgrade(const request& what, std::string_view subprotocol,
                                     const engine_options& options, std::span<char> scratch);

/// The engine of our own, which needs no scratch memory.
[[nodiscard]] upgrade accept_natively(const request& what, std::string_view subprotocol,
                                      const engine_options& options);

/// The engine on Boost.Beast.
[[nodiscard]] upgrade accept_with_beast(const request& what, std::string_view subprotocol,
                                        const engine_options& options, std::span<char> scratch);

/// Beast refuses valid compressed messages unless it inflates into a buffer with room for the largest message
/// and 64 bytes more.
[[nodiscard]] inline std::size_t scratch_size(const engine_options& options) noexcept {
  if (options.kind == engine::native) return 0;
  constexpr std::size_t least = 64 * 1024;
  // No more than a manager allows, should an engine be made without one.
  constexpr std::size_t most = std::size_t{2} << 30U;
  const auto limit =
      options.max_message_bytes == 0 ? std::size_t{16} << 20U : std::min(options.max_message_bytes, most);
  return options.compression && limit + 64 > least ? limit + 64 : least;
}

}  // namespace skein::detail
