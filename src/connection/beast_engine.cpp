// The protocol engine on Boost.Beast: its websocket stream over the outbox, fed frame by frame. One of the
// two translation units that include Beast.

#include "connection/engine.hpp"
#include "wire/frame.hpp"
#include "wire/frame_scanner.hpp"
#include "wire/http_text.hpp"
#include "wire/outbox.hpp"

#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <boost/beast/websocket/stream.hpp>

#include <charconv>
#include <optional>

namespace skein::detail {

namespace beast = boost::beast;
namespace ws = beast::websocket;

// Beast tears its next layer down behind the closing handshake; the socket is the connection's business, so
// there is nothing to do.
template <class Handler>
void async_teardown(beast::role_type, outbox& layer, Handler&& handler) {
  layer.store_teardown(std::decay_t<Handler>(std::forward<Handler>(handler)));
}
inline void teardown(beast::role_type, outbox&, beast::error_code& ec) {
  ec = {};
}
inline void beast_close_socket(outbox&) {}

namespace {

/// Extension offers without those that Beast would answer wrongly: it cannot send with a window of 8 bits and
/// would agree on 9, which is more than the client can take (RFC 7692 section 7.1.2.1).
std::string readable_offers(std::string_view value) {
  std::string kept;
  for (;;) {
    const auto comma = value.find(',');
    const auto offer = value.substr(0, comma);
    std::string squeezed;
    for (const char c : offer) {
      if (c != ' ' && c != '\t' && c != '"') squeezed += c;
    }
    const auto parameter = squeezed.find("server_max_window_bits=");
    const bool too_small =
        parameter != std::string::npos && squeezed.substr(parameter + 23, 2).starts_with('8');
    if (!too_small) kept += (kept.empty() ? "" : ",") + std::string{offer};
    if (comma == std::string_view::npos) return kept;
    value.remove_prefix(comma + 1);
  }
}

constexpr unsigned char close_frame_byte = 0x88;
constexpr std::size_t least_reserved = 1024;

class beast_engine final : public protocol_engine {
 public:
  beast_engine(const engine_options& options, std::span<char> scratch)
      : stream_(posted_), scratch_(scratch), max_frames_(options.max_message_frames) {
    stream_.read_message_max(options.max_message_bytes);
    stream_.set_option(ws::stream_base::timeout{ws::stream_base::none(), ws::stream_base::none(), false});
    if (options.compression) {
      ws::permessage_deflate deflate;
      deflate.server_enable = true;
      deflate.server_no_context_takeover = true;  // so that one compressed form serves every recipient
      deflate.client_no_context_takeover = true;  // so that no inflate window is kept between messages
      stream_.set_option(deflate);
    }
  }

  std::string accept(const request& what, std::string_view subprotocol) {
    beast::http::request<beast::http::string_body> upgrade_request;
    upgrade_request.method(beast::http::verb::get);
    upgrade_request.target(beast::string_view{what.target().data(), what.target().size()});
    upgrade_request.version(11);
    upgrade_request.set(beast::http::field::connection, "Upgrade");
    upgrade_request.set(beast::http::field::upgrade, "websocket");
    std::string offers;
    for (const auto& [field, value] : what.headers()) {
      // Checked before, in whatever way they were written; Beast knows only one.
      if (same_name(field, "Connection") || same_name(field, "Upgrade")) continue;
      // Beast would answer 100 in front of 101, though nothing is to be continued (RFC 9110 section 10.1.1).
      if (same_name(field, "Expect")) continue;
      if (same_name(field, "Sec-WebSocket-Extensions")) {
        offers += (offers.empty() ? "" : ", ") + readable_offers(value);
        continue;
      }
      upgrade_request.insert(beast::string_view{field.data(), field.size()},
                             beast::string_view{value.data(), value.size()});
    }
    if (!offers.empty()) upgrade_request.set(beast::http::field::sec_websocket_extensions, offers);
    stream_.set_option(ws::stream_base::decorator([subprotocol](ws::response_type& answer) {
      answer.set(beast::http::field::server, "skein");
      if (!subprotocol.empty()) {
        answer.set(beast::http::field::sec_websocket_protocol,
                   beast::string_view{subprotocol.data(), subprotocol.size()});
      }
    }));
    beast::error_code ec;
    stream_.accept(upgrade_request, ec);
    stream_.set_option(ws::stream_base::decorator([](ws::response_type&) {}));  // drops the view
    std::string response{layer().output()};
    layer().clear_output();
    layer().release();
    if (ec) return {};
    send_window_bits_ = agreed_window(response);
    // A read that Beast begins with a piece of a compressed payload may wait for more with bytes in the
    // scratch memory, which others use meanwhile; one that begins with the bare header does not.
    if (send_window_bits_ != 0) scanner_.split_headers();
    stream_.control_callback(
        [this](ws::frame_type kind, beast::string_view payload) { on_control(kind, payload); });
    return response;
  }

  std::size_t feed(std::span<char> input, protocol_sink& sink) override {
    const std::string_view bytes{input.data(), input.size()};
    sink_ = &sink;
    enough_ = false;
    std::size_t used = 0;
    while (!over_ && !enough_ && used < bytes.size()) {
      // One frame at a time: with a second frame in its buffer Beast would complete through a post.
      const auto step = scanner_.advance(bytes.substr(used));
      if (max_frames_ != 0 && step.frames > max_frames_) {
        fail(close_code::policy_violation);
        break;
      }
      // Not even an empty message is compressed to nothing (RFC 7692 section 7.2.3.6). Beast would take the
      // four bytes that it appends for the beginning of a stored block, and fill up to 64 KiB with them.
      if (step.nothing_to_inflate && send_window_bits_ != 0) {
        fail(close_code::invalid_payload);
        break;
      }
      auto chunk = bytes.substr(used, step.bytes);
      used += step.bytes;
      delivered_ = false;
      // As much as has come, never as much as was declared.
      if (step.bytes > least_reserved) message_.reserve(message_.size() + step.bytes);
      while (!chunk.empty() && !over_) {
        if (!reading_) start_reading();
        pump();
        if (layer().wants_input()) {
          chunk.remove_prefix(layer().give(chunk));
          pump();
        } else if (reading_) {
          break;  // cannot happen: Beast waits for something that is not input
        }
      }
      // Beast may have more to do at the end of a message than it could in the call that was given its last
      // byte.
      while (step.message_complete && !delivered_ && !reading_ && !over_) {
        start_reading();
        pump();
      }
    }
    layer().release();
    sink_ = nullptr;
    return used;
  }

  [[nodiscard]] bool in_message() const noexcept override { return scanner_.in_message(); }
  [[nodiscard]] int send_window_bits() const noexcept override { return send_window_bits_; }

 private:
  struct read_handler {
    beast_engine* engine;
    void operator()(beast::error_code ec, std::size_t n) const { engine->on_read(ec, n); }
  };

  outbox& layer() noexcept { return stream_.next_layer(); }

  /// Only when there is something to read: a read that waits would hold memory.
  void start_reading() {
    reading_ = true;
    // The scratch memory is used only while Beast is fed: afterwards other connections use it.
    stream_.async_read_some(asio::buffer(scratch_.data(), scratch_.size()), read_handler{this});
  }

  /// Carries on until Beast waits for input, or a message is complete.
  void pump() {
    while (!over_) {
      if (layer().has_output()) {
        take_output();
      } else if (layer().wants_completion()) {
        layer().complete_write();
      } else if (!posted_.empty()) {
        posted_.run();
      } else {
        return;
      }
    }
  }

  /// What Beast writes by itself: pongs go to the write loop. A close frame is only noted: the connection
  /// writes its own, which is the only one, whoever began.
  void take_output() {
    const auto frame = layer().output();
    if (static_cast<unsigned char>(frame[0]) == close_frame_byte) {
      if (frame.size() >= 4) {
        beast_close_ = static_cast<close_code>(static_cast<unsigned char>(frame[2]) << 8U |
                                               static_cast<unsigned char>(frame[3]));
      }
    } else {
      sink_->on_control(frame);
    }
    layer().clear_output();
  }

  void on_read(beast::error_code ec, std::size_t n) {
    reading_ = false;
    if (over_) return;
    if (ec == ws::error::closed) {
      over_ = true;
      const auto& reason = stream_.reason();
      const auto code = static_cast<close_code>(reason.code);
      if (code != close_code::none && !is_sendable(code)) {  // Beast lets codes past 4999 through
        sink_->on_failure(close_code::protocol_error);
        return;
      }
      sink_->on_close(code, std::string_view{reason.reason.data(), reason.reason.size()});
      return;
    }
    if (ec) {
      fail(beast_close_ == close_code::none ? close_code::protocol_error : beast_close_);
      return;
    }
    message_.append(scratch_.data(), n);
    if (!stream_.is_message_done()) return;
    delivered_ = true;
    const auto kind = stream_.got_text() ? opcode::text : opcode::binary;
    // Beast does not notice if the last frame of the message is empty.
    if (kind == opcode::text && cut_utf8_tail(message_)) {
      fail(close_code::invalid_payload);
      return;
    }
    if (!sink_->on_message(message{kind, std::exchange(message_, {})})) enough_ = true;
  }

  void on_control(ws::frame_type kind, beast::string_view payload) {
    if (over_) return;
    if (kind == ws::frame_type::ping && !sink_->on_ping()) over_ = true;
    if (kind == ws::frame_type::pong) sink_->on_pong({payload.data(), payload.size()});
  }

  void fail(close_code code) {
    over_ = true;
    message_ = {};
    sink_->on_failure(code);
  }

  /// The window agreed on in the response (RFC 7692 section 7.1.2.1); 0 without permessage-deflate.
  /// Beast 1.81 has no way to ask.
  static int agreed_window(std::string_view response) {
    const auto at = response.find("permessage-deflate");
    if (at == std::string_view::npos) return 0;
    const auto line = response.substr(at, response.find("\r\n", at) - at);
    constexpr std::string_view parameter = "server_max_window_bits=";
    const auto found = line.find(parameter);
    int bits = 15;
    if (found != std::string_view::npos) {
      const auto digits = line.substr(found + parameter.size());
      std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    }
    return bits;
  }

  posted_functions posted_;
  ws::stream<outbox> stream_;
  std::span<char> scratch_;
  std::string message_;
  protocol_sink* sink_ = nullptr;
  frame_scanner scanner_;
  std::size_t max_frames_;
  int send_window_bits_ = 0;
  close_code beast_close_ = close_code::none;
  bool reading_ = false;
  bool delivered_ = false;
  bool enough_ = false;
  bool over_ = false;
};

}  // namespace

upgrade accept_with_beast(const request& what, std::string_view subprotocol, const engine_options& options,
                          std::span<char> scratch) {
  auto engine = std::make_unique<beast_engine>(options, scratch);
  auto response = engine->accept(what, subprotocol);
  if (response.empty()) return {};
  return {std::move(engine), std::move(response)};
}

}  // namespace skein::detail
