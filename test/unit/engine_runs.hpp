#pragma once

// Bytes into an engine, and what it makes of them, written down: for tests of an engine, and for comparing
// two.

#include "connection/engine.hpp"

#include <skein/message.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace engine_runs {

using namespace skein;
using namespace skein::detail;

// --- A client's frames ---

struct form {
  bool fin = true;
  unsigned rsv = 0;  ///< 4: RSV1, 2: RSV2, 1: RSV3
  bool masked = true;
  std::uint32_t key = 0x37fa213d;
  unsigned wide = 0;                        ///< bytes of the length: 2 or 8; 0: as few as possible
  std::optional<std::uint64_t> declared{};  ///< the length, if not the payload's
};

inline std::string frame(unsigned op, std::string_view payload, const form& how = {}) {
  const auto length = how.declared.value_or(payload.size());
  const auto wide = how.wide != 0 ? how.wide : length < 126 ? 0U : length <= 0xffff ? 2U : 8U;
  std::string out{static_cast<char>((how.fin ? 0x80U : 0U) | how.rsv << 4U | op)};
  const auto second = wide == 0 ? length : wide == 2 ? 126U : 127U;
  out += static_cast<char>((how.masked ? 0x80U : 0U) | second);
  for (auto i = wide; i-- > 0;) out += static_cast<char>(length >> (8U * i) & 0xffU);
  std::array<unsigned char, 4> key{};
  if (how.masked) {
    for (unsigned i = 0; i < 4; ++i) key[i] = static_cast<unsigned char>(how.key >> (24U - 8U * i));
    out.append(reinterpret_cast<const char*>(key.data()), key.size());
  }
  for (std::size_t i = 0; i < payload.size(); ++i) {
    out += static_cast<char>(static_cast<unsigned char>(payload[i]) ^ key[i % 4]);
  }
  return out;
}
inline std::string text_frame(std::string_view payload, bool fin = true) {
  return frame(1, payload, {.fin = fin});
}
inline std::string binary_frame(std::string_view payload, bool fin = true) {
  return frame(2, payload, {.fin = fin});
}
inline std::string continuation(std::string_view payload, bool fin = true) {
  return frame(0, payload, {.fin = fin});
}
inline std::string ping(std::string_view payload = {}) {
  return frame(9, payload);
}
inline std::string pong(std::string_view payload = {}) {
  return frame(10, payload);
}
inline std::string close_frame(unsigned code, std::string_view text = {}) {
  std::string payload{static_cast<char>(code >> 8U), static_cast<char>(code & 0xffU)};
  return frame(8, payload.append(text));
}

// --- What an engine reports ---

struct event {
  enum class kind : std::uint8_t { message, ping, pong, control, close, failure };
  kind what;
  unsigned number = 0;  ///< opcode of a message, code of a close or a failure
  std::string bytes{};
  friend bool operator==(const event&, const event&) = default;
};
using events = std::vector<event>;

inline event got(unsigned op, std::string payload) {
  return {event::kind::message, op, std::move(payload)};
}
inline event got_text(std::string payload) {
  return got(1, std::move(payload));
}
inline event got_binary(std::string payload) {
  return got(2, std::move(payload));
}
inline event got_pong(std::string payload = {}) {
  return {event::kind::pong, 0, std::move(payload)};
}
inline event closed(unsigned code, std::string text = {}) {
  return {event::kind::close, code, std::move(text)};
}
inline event failed(unsigned code) {
  return {event::kind::failure, code};
}

class recorder final : public protocol_sink {
 public:
  bool on_message(message what) override {
    log.push_back({event::kind::message, static_cast<unsigned>(what.type()), std::string{what.payload()}});
    return log.size() < enough;
  }
  bool on_ping() override {
    log.push_back({event::kind::ping});
    return pings_left-- != 0;
  }
  void on_pong(std::string_view payload) override {
    log.push_back({event::kind::pong, 0, std::string{payload}});
  }
  void on_control(std::string_view frame) override {
    log.push_back({event::kind::control, 0, std::string{frame}});
  }
  void on_close(close_code code, std::string_view text) override {
    log.push_back({event::kind::close, static_cast<unsigned>(code), std::string{text}});
  }
  void on_failure(close_code code) override {
    log.push_back({event::kind::failure, static_cast<unsigned>(code)});
  }
  [[nodiscard]] bool over() const {
    return !log.empty() && (log.back().what == event::kind::close || log.back().what == event::kind::failure);
  }

  events log;
  std::size_t enough = ~std::size_t{0};
  std::size_t pings_left = ~std::size_t{0};
};

// --- Runs ---

inline constexpr std::string_view sample_key = "dGhlIHNhbXBsZSBub25jZQ==";

inline request upgrade_request(const request::header_list& more = {}) {
  request::header_list headers{{"Host", "localhost"},
                               {"Connection", "Upgrade"},
                               {"Upgrade", "websocket"},
                               {"Sec-WebSocket-Version", "13"},
                               {"Sec-WebSocket-Key", sample_key}};
  headers.insert(headers.end(), more.begin(), more.end());
  return request{"GET", "/", headers, "memory"};
}

/// Takes a shard's place: an engine, and the memory that it was given.
class running_engine {
 public:
  explicit running_engine(const engine_options& options, const request::header_list& more = {})
      : scratch_(scratch_size(options)) {
    const auto opening = upgrade_request(
        options.compression && more.empty()
            ? request::header_list{{"Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"}}
            : more);
    auto accepted = accept_upgrade(opening, {}, options, scratch_);
    engine_ = std::move(accepted.engine);
    response = std::move(accepted.response);
  }
  /// From a copy of its own that ends where the bytes end, so that a sanitizer sees what is read past them.
  std::size_t feed(std::string_view bytes, recorder& sink) {
    std::vector<char> copy(bytes.begin(), bytes.end());
    return engine_->feed(copy, sink);
  }
  [[nodiscard]] protocol_engine& engine() { return *engine_; }

  std::string response;

 private:
  std::vector<char> scratch_;
  std::unique_ptr<protocol_engine> engine_;
};

/// Where bytes are divided: the sizes of the pieces, the last one as long as needed.
using cuts = std::vector<std::size_t>;

inline cuts random_cuts(std::uint32_t seed, std::size_t most_pieces = 64) {
  std::minstd_rand random{seed + 1};
  cuts pieces;
  const auto count = random() % most_pieces;
  const auto scale = std::array<std::size_t, 4>{1, 3, 20, 400}[random() % 4];
  for (std::size_t i = 0; i < count; ++i) pieces.push_back(1 + random() % scale);
  return pieces;
}

/// Feeds everything, a piece at a time, until the protocol has ended.
inline void feed_all(running_engine& into, std::string_view bytes, const cuts& pieces, recorder& sink) {
  for (const auto size : pieces) {
    if (sink.over()) return;
    into.feed(bytes.substr(0, size), sink);
    bytes.remove_prefix(std::min(size, bytes.size()));
  }
  if (!sink.over()) into.feed(bytes, sink);
}

inline events run(const engine_options& options, std::string_view bytes, const cuts& pieces = {}) {
  running_engine one{options};
  recorder sink;
  feed_all(one, bytes, pieces, sink);
  return std::move(sink.log);
}

}  // namespace engine_runs
