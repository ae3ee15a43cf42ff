#pragma once

// One message there and back, to see that a connection is served and not only open.

#include "client_socket.hpp"
#include "payload.hpp"

namespace skein::bench {

class greeting {
 public:
  greeting(std::size_t bytes, opcode kind)
      : kind_(kind), body_(bytes, false), frame_(body_, kind, 0x5ca1ab1e) {}

  /// `number` tells one exchange from another.
  void say(client_socket& socket, std::uint32_t number) const {
    frame_.append_to(socket.output(), make_token(number));
  }

  /// A compressed answer is an answer: its bytes are the echo mode's business.
  [[nodiscard]] bool answers(const message_view& message, std::uint32_t number) const noexcept {
    return message.kind == kind_ &&
           (message.compressed || body_.token_of(message.payload) == make_token(number));
  }

 private:
  opcode kind_;
  payload body_;
  premade_frame frame_;
};

constexpr std::size_t greeting_bytes = 64;

}  // namespace skein::bench
