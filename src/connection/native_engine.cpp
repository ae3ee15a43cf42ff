// The protocol engine of our own: the frame parser, and what makes messages of its pieces. Idle it is one
// small block; what an unfinished message needs is in a block beside it, which goes with the message.

#include "connection/engine.hpp"
#include "wire/deflate_terms.hpp"
#include "wire/frame.hpp"
#include "wire/frame_block.hpp"
#include "wire/frame_parser.hpp"
#include "wire/http_text.hpp"
#include "wire/inflate.hpp"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

namespace skein::detail {
namespace {

frame_limits limits_of(const engine_options& options, bool compression) noexcept {
  constexpr std::size_t most = std::numeric_limits<std::uint32_t>::max();
  return {options.max_message_bytes, static_cast<std::uint32_t>(std::min(options.max_message_frames, most)),
          compression};
}

/// A message of which not everything has come. Its memory grows with what arrives: no more than twice that is
/// taken, whatever length was declared.
struct unfinished {
  std::string payload;
  std::optional<message_inflater> inflater;
};

class native_engine final : public protocol_engine {
 public:
  native_engine(const engine_options& options, const std::optional<deflate_terms>& deflate)
      : parser_(limits_of(options, deflate.has_value())) {
    if (!deflate) return;
    send_window_bits_ = static_cast<std::uint8_t>(deflate->server_window_bits);
    inflate_window_bits_ = static_cast<std::uint8_t>(deflate->client_window_bits);
  }

  std::size_t feed(std::span<char> bytes, protocol_sink& sink) override {
    auto rest = bytes;
    bool more = true;
    do {
      const auto event = parser_.next(rest);
      switch (event.what) {
        case frame_event::kind::data:
          more = on_data(event, sink);
          break;
        case frame_event::kind::ping:
          more = on_ping(event.bytes, sink);
          break;
        case frame_event::kind::pong:
          sink.on_pong(event.bytes);
          break;
        case frame_event::kind::close:
          end();
          sink.on_close(event.code, event.bytes);
          return bytes.size() - rest.size();
        case frame_event::kind::failure:
          fail(event.code, sink);
          return bytes.size() - rest.size();
        case frame_event::kind::starved:
          return bytes.size() - rest.size();
      }
    } while (more && !rest.empty());
    return bytes.size() - rest.size();
  }

  [[nodiscard]] bool in_message() const noexcept override { return parser_.in_message(); }
  [[nodiscard]] int send_window_bits() const noexcept override { return send_window_bits_; }

 private:
  // Each says whether to go on.

  bool on_data(const frame_event& event, protocol_sink& sink) {
    if (parser_.message_compressed()) return on_compressed(event, sink);
    if (event.begins && event.ends) {
      const auto type = parser_.message_type();
      return sink.on_message(message{type, prepared_message{frame_block::make(type, event.bytes)}});
    }
    if (!unfinished_) unfinished_ = std::make_unique<unfinished>();
    unfinished_->payload += event.bytes;
    return !event.ends || deliver(take_unfinished(), sink);
  }

  bool on_compressed(const frame_event& event, protocol_sink& sink) {
    if (event.begins && event.ends) {
      message_inflater inflater{inflate_window_bits_, parser_.max_message_bytes(), is_text()};
      std::string payload;
      const auto wrong = inflate(inflater, event, payload);
      return wrong == close_code::none ? deliver(std::move(payload), sink) : fail(wrong, sink);
    }
    if (!unfinished_) {
      unfinished_ = std::make_unique<unfinished>();
      unfinished_->inflater.emplace(inflate_window_bits_, parser_.max_message_bytes(), is_text());
    }
    const auto wrong = inflate(*unfinished_->inflater, event, unfinished_->payload);
    if (wrong != close_code::none) return fail(wrong, sink);
    return !event.ends || deliver(take_unfinished(), sink);
  }

  static close_code inflate(message_inflater& inflater, const frame_event& event, std::string& payload) {
    const auto wrong = inflater.take(event.bytes, payload);
    return wrong == close_code::none && event.ends ? inflater.finish(payload) : wrong;
  }

  bool on_ping(std::string_view payload, protocol_sink& sink) {
    if (!sink.on_ping()) {
      end();
      return false;
    }
    // RFC 6455 section 5.5.3: the pong has the ping's payload.
    std::array<char, max_header_size + max_control_payload> pong;  // NOLINT: not initialised
    const auto header = encode_header(opcode::pong, payload.size());
    const auto behind = std::copy_n(header.bytes.data(), header.size, pong.begin());
    const auto end = std::copy(payload.begin(), payload.end(), behind);
    sink.on_control({pong.data(), static_cast<std::size_t>(end - pong.begin())});
    return true;
  }

  bool deliver(std::string payload, protocol_sink& sink) {
    return sink.on_message(message{parser_.message_type(), std::move(payload)});
  }

  bool fail(close_code code, protocol_sink& sink) {
    end();
    sink.on_failure(code);
    return false;
  }

  std::string take_unfinished() {
    auto payload = std::move(unfinished_->payload);
    unfinished_.reset();
    return payload;
  }

  void end() noexcept {
    parser_.stop();
    unfinished_.reset();
  }

  [[nodiscard]] bool is_text() const noexcept { return parser_.message_type() == opcode::text; }

  std::unique_ptr<unfinished> unfinished_;
  [[no_unique_address]] frame_parser parser_;  // what follows may stand in its padding
  std::uint8_t send_window_bits_ = 0;
  std::uint8_t inflate_window_bits_ = 15;
};

static_assert(sizeof(native_engine) <= 88, "an idle connection holds one");

// --- The opening handshake ---

/// RFC 6455 section 4.2.2: what proves that the key was understood.
std::string accept_key(std::string_view key) {
  const auto text = std::string{key} + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::array<unsigned char, 4 * ((SHA_DIGEST_LENGTH + 2) / 3) + 1> encoded{};
  const auto size = EVP_EncodeBlock(encoded.data(), digest.data(), static_cast<int>(digest.size()));
  return {reinterpret_cast<const char*>(encoded.data()), static_cast<std::size_t>(size)};
}

std::optional<deflate_terms> agree(const request& what) {
  std::vector<std::string_view> offers;
  for (const auto& [name, value] : what.headers()) {
    if (same_name(name, "Sec-WebSocket-Extensions")) offers.push_back(value);
  }
  return choose_offer(offers);
}

}  // namespace

upgrade accept_natively(const request& what, std::string_view subprotocol, const engine_options& options) {
  const auto key = trim(what.header("Sec-WebSocket-Key"));
  if (key.empty()) return {};
  const auto deflate = options.compression ? agree(what) : std::nullopt;
  std::string response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n";
  const auto add = [&response](std::string_view name, std::string_view value) {
    response.append(name).append(": ").append(value).append("\r\n");
  };
  add("Sec-WebSocket-Accept", accept_key(key));
  if (deflate) add("Sec-WebSocket-Extensions", deflate->answer());
  add("Server", "skein");
  if (!subprotocol.empty()) add("Sec-WebSocket-Protocol", subprotocol);
  response += "\r\n";
  return {std::make_unique<native_engine>(options, deflate), std::move(response)};
}

}  // namespace skein::detail
