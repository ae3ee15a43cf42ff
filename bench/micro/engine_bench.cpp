// Reading: from the bytes of a peer to whole messages, through each protocol engine there is.

#include "check.hpp"
#include "connection/engine.hpp"
#include "wire/deflate.hpp"

#include <skein/manager.hpp>

#include <benchmark/benchmark.h>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace skein;
using namespace skein::detail;
using micro::check;

struct engine_kind {
  engine kind;
  const char* name;
};
constexpr engine_kind engines[] = {{engine::native, "native"}, {engine::beast, "beast"}};

/// Counts what arrives, and lets go of it as a handler would.
class counting_sink final : public protocol_sink {
 public:
  bool on_message(message what) override {
    ++messages;
    bytes += what.size();
    return true;
  }
  bool on_ping() override {
    ++controls;
    return true;
  }
  void on_pong(std::string_view) override { ++controls; }
  void on_control(std::string_view frame) override { control_bytes += frame.size(); }
  void on_close(close_code, std::string_view) override { failed = true; }
  void on_failure(close_code) override { failed = true; }

  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t controls = 0;
  std::uint64_t control_bytes = 0;
  bool failed = false;
};

request opening(bool compression) {
  request::header_list fields{{"Host", "localhost"},
                              {"Connection", "Upgrade"},
                              {"Upgrade", "websocket"},
                              {"Sec-WebSocket-Version", "13"},
                              {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}};
  if (compression) fields.emplace_back("Sec-WebSocket-Extensions", "permessage-deflate");
  return request{"GET", "/", fields, "memory"};
}

struct open_engine {
  open_engine(const engine_kind& kind, bool compression)
      : options{64 * 1024, 1024, compression, kind.kind},
        scratch(scratch_size(options)),
        upgraded(accept_upgrade(opening(compression), {}, options, scratch)) {
    check(upgraded.engine && upgraded.response.starts_with("HTTP/1.1 101"), "the handshake succeeds");
    check((upgraded.engine->send_window_bits() != 0) == compression, "compression is agreed on");
  }
  engine_options options;
  std::vector<char> scratch;
  upgrade upgraded;
};

/// Feeds the same bytes again and again. They are copied first, as the kernel does, for an engine may unmask
/// them where they stand. `at_once`: how many bytes come with one read; 0 for all.
void feed(benchmark::State& state, const engine_kind& kind, bool compression, const std::string& bytes,
          std::uint64_t messages, std::size_t payload, std::size_t at_once) {
  open_engine open{kind, compression};
  std::vector<char> buffer(64 * 1024);
  check(bytes.size() <= buffer.size(), "it is one read of a shard");
  if (at_once == 0) at_once = bytes.size();
  counting_sink sink;
  for (auto _ : state) {
    for (std::size_t done = 0; done < bytes.size(); done += at_once) {
      const auto size = std::min(at_once, bytes.size() - done);
      std::memcpy(buffer.data(), bytes.data() + done, size);
      check(open.upgraded.engine->feed(std::span{buffer}.first(size), sink) == size, "everything is used");
    }
  }
  const auto rounds = static_cast<std::uint64_t>(state.iterations());
  check(!sink.failed && sink.messages == rounds * messages && sink.bytes == rounds * messages * payload,
        "every message arrives whole");
  state.SetItemsProcessed(static_cast<std::int64_t>(sink.messages));
  state.SetBytesProcessed(static_cast<std::int64_t>(sink.bytes));
}

void feed_pings(benchmark::State& state, const engine_kind& kind) {
  open_engine open{kind, false};
  const auto bytes = micro::client_frame(opcode::ping, "heartbeat");
  std::vector<char> buffer(bytes.size());
  counting_sink sink;
  for (auto _ : state) {
    std::memcpy(buffer.data(), bytes.data(), bytes.size());
    check(open.upgraded.engine->feed(buffer, sink) == bytes.size(), "everything is used");
  }
  const auto rounds = static_cast<std::uint64_t>(state.iterations());
  check(!sink.failed && sink.controls == rounds && sink.control_bytes == rounds * 11,
        "every ping is answered");
  state.SetItemsProcessed(state.iterations());
}

void handshake(benchmark::State& state, const engine_kind& kind) {
  const engine_options options{64 * 1024, 1024, false, kind.kind};
  std::vector<char> scratch(scratch_size(options));  // one for all, as a shard has
  const auto what = opening(false);
  for (auto _ : state) {
    const auto upgraded = accept_upgrade(what, {}, options, scratch);
    check(upgraded.engine && upgraded.response.starts_with("HTTP/1.1 101"), "the handshake succeeds");
  }
  state.SetItemsProcessed(state.iterations());
}

std::string repeated(const std::string& frame, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += frame;
  return all;
}

const int registered = [] {
  for (const auto& kind : engines) {
    const auto add = [&kind](const std::string& what, bool compression, const std::string& frame,
                             std::size_t frames, std::size_t payload, std::size_t at_once) {
      const auto name = std::string{"engine/"} + kind.name + "/" + what;
      benchmark::RegisterBenchmark(name.c_str(), [=, &kind](benchmark::State& state) {
        feed(state, kind, compression, repeated(frame, frames), frames, payload, at_once);
      });
    };
    const std::string small(64, 'x');
    const std::string large(16 * 1024, 'x');
    add("text_64", false, micro::client_frame(opcode::text, small), 1, small.size(), 0);
    add("text_64_x64", false, micro::client_frame(opcode::text, small), 64, small.size(), 0);
    add("text_16k", false, micro::client_frame(opcode::text, large), 1, large.size(), 0);
    add("binary_16k", false, micro::client_frame(opcode::binary, large), 1, large.size(), 0);
    add("binary_16k_in_pieces_of_4k", false, micro::client_frame(opcode::binary, large), 1, large.size(),
        4096);
    const auto json = micro::json_of(1024);
    const auto deflated = deflate_message(json, 6);
    check(deflated.has_value(), "JSON becomes smaller");
    add("inflate_json_1k", true, micro::client_frame(opcode::text, *deflated, true), 1, json.size(), 0);
    benchmark::RegisterBenchmark((std::string{"engine/"} + kind.name + "/ping").c_str(),
                                 [&kind](benchmark::State& state) { feed_pings(state, kind); });
    benchmark::RegisterBenchmark((std::string{"engine/"} + kind.name + "/handshake").c_str(),
                                 [&kind](benchmark::State& state) { handshake(state, kind); });
  }
  return 0;
}();

}  // namespace
