// What the native engine costs, what it keeps, when it stops, and how it accepts.

#include "counting_new.hpp"
#include "engine_runs.hpp"
#include "integration/deflate_peer.hpp"

#include <doctest/doctest.h>

#include <thread>

using namespace engine_runs;
using namespace std::string_literals;

namespace {

constexpr engine_options plain{
    .max_message_bytes = 100'000, .max_message_frames = 100, .kind = engine::native};
constexpr engine_options deflating{
    .max_message_bytes = 100'000, .max_message_frames = 100, .compression = true, .kind = engine::native};

/// Counts and forgets.
struct quiet_sink final : protocol_sink {
  bool on_message(message what) override {
    ++messages;
    bytes += what.size();
    return true;
  }
  bool on_ping() override { return true; }
  void on_pong(std::string_view) override {}
  void on_control(std::string_view frame) override { bytes += frame.size(); }
  void on_close(close_code, std::string_view) override {}
  void on_failure(close_code) override { ++failures; }
  std::size_t messages = 0, bytes = 0, failures = 0;
};

/// Of feeding these bytes in one piece.
counting::count cost_of(protocol_engine& fed, std::string bytes) {
  quiet_sink sink;
  const auto before = counting::so_far();
  fed.feed(bytes, sink);
  const auto after = counting::so_far();
  CHECK(sink.failures == 0);
  return {after.allocations - before.allocations, after.bytes - before.bytes};
}

/// On a thread of its own, whose pool of blocks is not full of what other tests left.
template <class Test>
void with_an_empty_pool(Test test) {
  std::thread{test}.join();
}

std::string times(std::size_t count, const std::string& what) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += what;
  return all;
}

}  // namespace

TEST_SUITE("native engine") {
  TEST_CASE("a small message allocates nothing, a larger one is one allocation of its size" *
            doctest::skip(!counting::counts)) {
    constexpr std::size_t block = 34;  // beside the payload that stands in it
    with_an_empty_pool([] {
      running_engine one{plain};
      for (const std::size_t size : {0U, 1U, 15U, 16U, 64U, 125U, 126U, 349U, 350U}) {
        CAPTURE(size);
        cost_of(one.engine(), text_frame(std::string(size, 'x')));  // a block of this size is in the pool now
        CHECK(cost_of(one.engine(), times(100, text_frame(std::string(size, 'x')))).allocations == 0);
        CHECK(cost_of(one.engine(), times(100, binary_frame(std::string(size, '\xff')))).allocations == 0);
      }
      for (const std::size_t size : {351U, 4'095U, 4'096U, 4'097U, 16'384U, 65'536U}) {
        CAPTURE(size);
        cost_of(one.engine(), text_frame(std::string(size, 'x')));
        const auto spent = cost_of(one.engine(), times(10, text_frame(std::string(size, 'x'))));
        CHECK(spent.allocations == 10);
        CHECK(spent.bytes == 10 * (size + (size <= 4'096 ? block : 1)));
      }
      CHECK(cost_of(one.engine(), times(10, text_frame("\xe2\x82\xac"))).allocations == 0);
    });
  }

  TEST_CASE("control frames allocate nothing") {
    running_engine one{plain};
    CHECK(cost_of(one.engine(), times(100, ping() + ping(std::string(125, 'x')) + pong("p"))).allocations ==
          0);
  }

  TEST_CASE("a compressed message is at most two allocations, once a context is in the pool" *
            doctest::skip(!counting::counts)) {
    with_an_empty_pool([] {
      running_engine one{deflating};
      const auto compressed = [](const std::string& payload) {
        return frame(2, skein::test::deflate_payload(payload), {.rsv = 4});
      };
      cost_of(one.engine(), compressed("small"));
      CHECK(cost_of(one.engine(), times(10, compressed("small"))).allocations == 0);
      for (const std::size_t size : {100U, 1'000U, 16'384U}) {
        CAPTURE(size);
        cost_of(one.engine(), compressed(std::string(size, 'x')));
        const auto spent = cost_of(one.engine(), times(10, compressed(std::string(size, 'x'))));
        const bool moved_to_a_block = size == 1'000;
        CHECK(spent.allocations == (moved_to_a_block ? 20 : 10));
        CHECK(spent.bytes <= 10 * (size + 1 + (moved_to_a_block ? size + 66 : 0)));
      }
    });
  }

  TEST_CASE("an unfinished message takes memory as it arrives, not as it was declared, and gives it back" *
            doctest::skip(!counting::counts)) {
    engine_options unlimited{.kind = engine::native};
    running_engine one{unlimited};
    const auto declared = frame(2, std::string(1'000, 'x'), {.wide = 8, .declared = 1ULL << 40U});
    CHECK(cost_of(one.engine(), declared).bytes < 1'200);
    CHECK(one.engine().in_message());
    const auto spent = cost_of(one.engine(), std::string(100'000, 'y'));
    CHECK(spent.allocations == 1);
    CHECK(spent.bytes <= 102'000);

    running_engine other{plain};
    cost_of(other.engine(), text_frame(std::string(100, 'a'), false));
    CHECK(other.engine().in_message());
    cost_of(other.engine(), continuation("b"));
    CHECK(!other.engine().in_message());
    cost_of(other.engine(), text_frame("c"));
    CHECK(cost_of(other.engine(), times(100, text_frame("c"))).allocations == 0);
  }

  TEST_CASE("it stops behind the message with which the sink has enough, and leaves the rest as it came") {
    running_engine one{plain};
    const auto first = text_frame("a", false) + continuation("b") + text_frame("c");
    const auto rest = text_frame("d") + ping("e");
    auto bytes = first + rest;
    recorder sink;
    sink.enough = 2;
    CHECK(one.engine().feed(bytes, sink) == first.size());
    CHECK(bytes.substr(first.size()) == rest);
    CHECK(sink.log == events{got_text("ab"), got_text("c")});
    sink.enough = 100;
    CHECK(one.feed(rest, sink) == rest.size());
    CHECK(sink.log.size() == 5);
    CHECK(one.engine().feed({}, sink) == 0);
  }

  TEST_CASE("it has enough of compressed messages too") {
    running_engine one{deflating};
    const auto hello = skein::test::deflate_payload("hello");
    const auto first = frame(1, hello, {.rsv = 4});
    recorder sink;
    sink.enough = 1;
    CHECK(one.feed(first + first, sink) == first.size());
    CHECK(one.feed(frame(1, hello, {.fin = false, .rsv = 4}) + continuation("") + first, sink) ==
          first.size() + 6);
    CHECK(sink.log == events{got_text("hello"), got_text("hello")});
  }

  TEST_CASE("a ping too many ends it without an answer, and so does whatever follows the end") {
    running_engine one{plain};
    recorder sink;
    sink.pings_left = 1;
    const auto last = ping("a") + ping("b");
    CHECK(one.feed(last + text_frame("c"), sink) == last.size());
    CHECK(sink.log == events{{event::kind::ping},
                             {event::kind::control, 0,
                              "\x8a\x01"
                              "a"},
                             {event::kind::ping}});
    CHECK(one.feed(text_frame("c"), sink) == 0);
    CHECK(sink.log.size() == 3);

    running_engine closing{plain};
    recorder seen;
    CHECK(closing.feed(close_frame(1000) + text_frame("c"), seen) == 8);
    CHECK(closing.feed(text_frame("c"), seen) == 0);
    CHECK(seen.log == events{closed(1000)});

    running_engine failing{plain};
    recorder what;
    failing.feed(text_frame("a", false), what);
    failing.feed(text_frame("b"), what);
    CHECK(failing.feed(continuation("c"), what) == 0);
    CHECK(what.log == events{failed(1002)});
  }

  TEST_CASE("it answers the opening handshake as Beast does, byte for byte") {
    const std::vector<request::header_list> requests{
        {},
        {{"Sec-WebSocket-Extensions", "permessage-deflate"}},
        {{"Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"}},
        {{"Sec-WebSocket-Extensions",
          "permessage-deflate; server_max_window_bits=10; client_max_window_bits=11"}},
        {{"Sec-WebSocket-Extensions", "x-unknown"}},
        {{"Sec-WebSocket-Protocol", "chat, superchat"}},
        {{"Expect", "100-continue"}},
    };
    for (const auto& more : requests) {
      for (const bool compression : {false, true}) {
        for (const std::string_view subprotocol : {"", "chat"}) {
          auto options = plain;
          options.compression = compression;
          auto other = options;
          other.kind = engine::beast;
          std::vector<char> scratch(scratch_size(other));
          const auto opening = upgrade_request(more);
          auto native = accept_upgrade(opening, subprotocol, options, {});
          auto beast = accept_upgrade(opening, subprotocol, other, scratch);
          REQUIRE(native.engine);
          REQUIRE(beast.engine);
          CHECK(native.response == beast.response);
          CHECK(native.engine->send_window_bits() == beast.engine->send_window_bits());
        }
      }
    }
  }

  TEST_CASE("it names the server's window whenever it was offered, Beast only if it is not the largest") {
    auto options = plain;
    options.compression = true;
    auto other = options;
    other.kind = engine::beast;
    std::vector<char> scratch(scratch_size(other));
    for (int bits = 9; bits <= 15; ++bits) {
      const auto window = "; server_max_window_bits=" + std::to_string(bits);
      const auto offer = "permessage-deflate" + window;
      const auto opening = upgrade_request({{"Sec-WebSocket-Extensions", offer}});
      const auto native = accept_upgrade(opening, {}, options, {});
      const auto beast = accept_upgrade(opening, {}, other, scratch);
      CHECK(native.engine->send_window_bits() == bits);
      CHECK(beast.engine->send_window_bits() == bits);
      auto answer = native.response;
      const auto named = answer.find(window + "\r\n");
      REQUIRE(named != std::string::npos);
      if (bits == 15) answer.erase(named, window.size());
      CHECK(answer == beast.response);
    }
  }

  TEST_CASE("the key of RFC 6455 section 1.3 has the answer that stands there; without a key there is none") {
    const auto accepted = accept_natively(upgrade_request(), {}, plain);
    CHECK(accepted.response.find("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") !=
          std::string::npos);
    CHECK(accepted.engine->send_window_bits() == 0);
    CHECK(!accept_natively(request{"GET", "/", {{"Host", "x"}}, "memory"}, {}, plain).engine);
    CHECK(!accept_natively(request{"GET", "/", {{"Sec-WebSocket-Key", " "}}, "memory"}, {}, plain).engine);
    CHECK(scratch_size(plain) == 0);
  }
}
