// A fuzz target: any bytes after the handshake, into a whole connection over memory: engine, limits, inbox,
// send channel, heartbeat, closing handshake. Whatever comes, the answer is well-formed frames, and then the
// end.
//
// An input: a byte of settings, and then steps: a byte that says what happens, and what belongs to it.

#include "memory_hub.hpp"

#include <boost/asio/awaitable.hpp>

#include <algorithm>
#include <chrono>

namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;

constexpr unsigned beast_bit = 1, compression_bit = 2, slow_bit = 4;

asio::awaitable<void> echo(skein::connection& client) {
  while (auto got = co_await client.read()) co_await client.write(std::move(*got));
}

/// Takes one message for each that it is told to.
asio::awaitable<void> say_much(skein::connection& client) {
  const std::string long_text(3000, 'x');
  while (auto got = co_await client.read()) {
    for (int i = 0; i < 3; ++i) {
      auto what = skein::message::text(long_text);
      const auto how = skein::delivery().drop();
      co_await client.send(std::move(what), how);
    }
  }
}

skein::manager_options options_of(unsigned settings) {
  skein::manager_options options;
  options.engine = (settings & beast_bit) != 0 ? skein::engine::beast : skein::engine::native;
  options.limits.max_message_bytes = 4096;
  options.limits.max_message_frames = 8;
  return options;
}

/// What the server has written is frames as a server's are, the last of which may not be whole.
void check_frames(std::string_view bytes, bool compressed) {
  while (bytes.size() >= 2) {
    const auto first = static_cast<unsigned char>(bytes[0]);
    const auto second = static_cast<unsigned char>(bytes[1]);
    const auto opcode = first & 0x0fU;
    fuzz::require((second & 0x80U) == 0, "a masked frame");
    fuzz::require((first & 0x30U) == 0 && (compressed || (first & 0x40U) == 0), "a reserved bit");
    fuzz::require((first & 0x80U) != 0, "a fragment");
    fuzz::require(opcode == 1 || opcode == 2 || (opcode >= 8 && opcode <= 10), "an unknown opcode");
    std::size_t size = second & 0x7fU;
    std::size_t header = 2;
    fuzz::require(opcode < 8 || size <= 125, "a long control frame");
    if (size == 126) {
      header = 4;
      if (bytes.size() < header) return;
      size = static_cast<std::size_t>(static_cast<unsigned char>(bytes[2])) << 8U |
             static_cast<unsigned char>(bytes[3]);
      fuzz::require(size > 125, "a length that is longer than it must be");
    }
    fuzz::require(size != 127, "a message that is too long");
    if (bytes.size() < header + size) return;
    if (opcode == 8) {
      fuzz::require(size != 1, "half a close code");
      if (size >= 2) {
        const auto code = static_cast<unsigned>(static_cast<unsigned char>(bytes[2])) << 8U |
                          static_cast<unsigned char>(bytes[3]);
        fuzz::require(skein::is_sendable(static_cast<skein::close_code>(code)),
                      "a close code that is not sent");
      }
      fuzz::require(bytes.size() == header + size, "something behind the close frame");
    }
    bytes.remove_prefix(header + size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const unsigned settings = data[0];
  const bool compression = (settings & compression_bit) != 0;
  fuzz::memory_hub where{options_of(settings)};
  skein::request::header_list headers{{"Host", "x"}};
  if (compression)
    headers.emplace_back("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
  const auto peer = skein::testing::connect(*where.hub, (settings & slow_bit) != 0 ? say_much : echo,
                                            skein::request{"GET", "/", headers, "127.0.0.1:1"});
  peer->answer_control(false);
  std::string written;
  std::string_view rest{reinterpret_cast<const char*>(data) + 1, size - 1};
  while (!rest.empty()) {
    const auto what = static_cast<unsigned char>(rest.front());
    rest.remove_prefix(1);
    switch (what >> 6U) {
      case 0:
      case 1: {  // so many bytes
        const auto piece = rest.substr(0, what & 0x7fU);
        peer->send_bytes(piece);
        rest.remove_prefix(piece.size());
        where.settle();
        break;
      }
      case 2:  // time passes
        where.advance((what & 0x3fU) * 200ms);
        break;
      default:
        if ((what & 1U) != 0) {
          written += peer->received_bytes();
        } else {
          peer->set_capacity((what & 0x3eU) * 64U);
        }
        where.settle();
    }
  }
  peer->set_capacity(1 << 20);
  where.settle();
  written += peer->received_bytes();
  where.settle();
  written += peer->received_bytes();
  check_frames(written, compression);
  peer->cut();
  where.settle();
  where.end_within(1min);
  return 0;
}
