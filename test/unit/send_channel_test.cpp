#include "connection/send_channel.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

using namespace skein;
using namespace skein::detail;

namespace {

class recorder final : public outcome_sink {
 public:
  void settle(outcome what, bool) noexcept override { outcomes.push_back(what); }
  std::vector<outcome> outcomes;
};

struct fixture {
  explicit fixture(std::size_t messages = 4, std::size_t bytes = 1000)
      : limits{messages, bytes}, channel{limits} {}

  send_channel::item make(const std::string& text) {
    const prepared_message prepared{message::text(text)};
    send_channel::item item;
    item.frame = frame_ref{prepared.block()};
    item.wire_size = static_cast<std::uint32_t>(prepared.block()->plain().size());
    return item;
  }
  bool push(const std::string& text) {
    auto item = make(text);
    return channel.push(item) == send_channel::admission::queued;
  }
  send_channel::admission push(const std::string& text, const std::string& key) {
    auto item = make(text);
    replaced = {};
    return channel.push(item, key, replaced);
  }
  std::string gathered(std::size_t max_bytes = 1 << 20, std::size_t max_buffers = 64) {
    std::vector<iovec> buffers(max_buffers);
    const auto count = channel.gather(buffers, max_bytes, scratch);
    std::string all;
    for (std::size_t i = 0; i < count; ++i)
      all.append(static_cast<char*>(buffers[i].iov_base), buffers[i].iov_len);
    return all;
  }
  /// Writes everything, at most `at_once` bytes at a time.
  std::string drain(std::size_t at_once) {
    std::string wire;
    while (channel.anything_to_write()) {
      const auto all = gathered();
      const auto n = std::min(at_once, all.size());
      REQUIRE(n > 0);
      wire += all.substr(0, n);
      channel.consume(
          n, [&](send_channel::item& done) { written.push_back(std::string{done.frame->payload()}); });
    }
    return wire;
  }

  channel_limits limits;
  send_channel channel;
  send_channel::item replaced;
  std::vector<std::string> written;
  std::array<char, 4096> scratch{};
};

std::string frame(const std::string& text) {
  return std::string{encode_header(opcode::text, text.size()).view()} + text;
}

}  // namespace

TEST_SUITE("send_channel") {
  TEST_CASE("it takes as many messages as it may, and not one more") {
    fixture f{3};
    CHECK(f.push("1"));
    CHECK(f.push("2"));
    CHECK(f.push("3"));
    CHECK(!f.push("4"));
    CHECK(f.channel.size() == 3);
    f.drain(1000);
    CHECK(f.push("5"));
  }

  TEST_CASE("it takes as many bytes as it may, and not one more") {
    fixture f{100, 20};
    CHECK(f.push(std::string(8, 'x')));   // 10 with its header
    CHECK(!f.push(std::string(9, 'x')));  // 21 in all
    CHECK(f.push(std::string(8, 'x')));   // 20 in all
    CHECK(!f.push(""));
    CHECK(f.channel.bytes() == 20);
  }

  TEST_CASE("an empty channel takes one message of any size") {
    fixture f{4, 10};
    CHECK(f.push(std::string(500, 'x')));
    CHECK(!f.push(""));
  }

  TEST_CASE("messages leave in their order, however the writes are cut") {
    for (std::size_t at_once = 1; at_once <= 40; ++at_once) {
      fixture f{100, 100000};
      std::string expected;
      for (int i = 0; i < 20; ++i) {
        const std::string text(static_cast<std::size_t>(i * i), static_cast<char>('a' + i));
        REQUIRE(f.push(text));
        expected += frame(text);
      }
      CHECK(f.drain(at_once) == expected);
      CHECK(f.written.size() == 20);
      CHECK(f.channel.bytes() == 0);
    }
  }

  TEST_CASE("large payloads stand in a buffer of their own and small frames share one") {
    fixture f{100, 1 << 20};
    const std::string large(10000, 'L');
    for (const auto& text : {std::string{"a"}, std::string{"b"}, large, std::string{"c"}})
      REQUIRE(f.push(text));
    std::array<iovec, 64> buffers{};
    CHECK(f.channel.gather(buffers, 1 << 20, f.scratch) == 4);  // a and b, the header, the payload, c
    CHECK(f.drain(777) == frame("a") + frame("b") + frame(large) + frame("c"));
  }

  TEST_CASE("it gathers no more than it is asked for") {
    fixture f{100, 1 << 20};
    for (int i = 0; i < 50; ++i) REQUIRE(f.push(std::string(2000, 'x')));
    CHECK(f.gathered(1 << 20, 10).size() <= 10 * 2004);
    const auto limited = f.gathered(5000).size();
    CHECK(limited >= 5000);
    CHECK(limited < 5000 + 2004);
  }

  TEST_CASE("a control frame goes ahead of waiting messages, but never into one that was begun") {
    fixture f;
    REQUIRE(f.push("first"));
    REQUIRE(f.push("second"));
    const auto ping = encode_control(opcode::ping, "p");
    f.channel.push_control(ping);
    CHECK(f.gathered() == ping + frame("first") + frame("second"));

    f.channel.consume(ping.size() + 3, [](send_channel::item&) {});
    f.channel.push_control(ping);
    CHECK(f.gathered() == frame("first").substr(3) + ping + frame("second"));
  }

  TEST_CASE("a half-written control frame is finished before anything else") {
    fixture f;
    f.channel.push_control(encode_control(opcode::pong, "abcdef"));
    REQUIRE(f.push("x"));
    f.channel.consume(4, [](send_channel::item&) {});
    CHECK(f.gathered() == encode_control(opcode::pong, "abcdef").substr(4) + frame("x"));
    CHECK(f.drain(1) == encode_control(opcode::pong, "abcdef").substr(4) + frame("x"));
  }

  TEST_CASE("the close frame comes last, and there is only one") {
    fixture f;
    REQUIRE(f.push("x"));
    const auto close = encode_close(close_code::normal, "bye");
    f.channel.push_close(close);
    f.channel.push_close(encode_close(close_code::going_away, ""));
    CHECK(!f.channel.close_written());
    CHECK(f.drain(2) == frame("x") + close);
    CHECK(f.channel.close_written());
    CHECK(!f.channel.anything_to_write());
  }

  TEST_CASE("a newer message of a key takes the place of the one that waits") {
    fixture f;
    CHECK(f.push("aapl 1", "AAPL") == send_channel::admission::queued);
    CHECK(f.push("msft 1", "MSFT") == send_channel::admission::queued);
    CHECK(f.push("aapl 2", "AAPL") == send_channel::admission::replaced);
    CHECK(f.replaced.frame->payload() == "aapl 1");
    CHECK(f.drain(1000) == frame("aapl 2") + frame("msft 1"));
  }

  TEST_CASE("a message that was begun is not replaced") {
    fixture f;
    CHECK(f.push("aapl 1", "AAPL") == send_channel::admission::queued);
    f.channel.consume(1, [](send_channel::item&) {});
    CHECK(f.push("aapl 2", "AAPL") == send_channel::admission::queued);
    CHECK(f.drain(1000) == frame("aapl 1").substr(1) + frame("aapl 2"));
  }

  TEST_CASE("a full channel still replaces, and refuses a new key") {
    fixture f{2};
    CHECK(f.push("1", "A") == send_channel::admission::queued);
    CHECK(f.push("2", "B") == send_channel::admission::queued);
    CHECK(f.push("3", "C") == send_channel::admission::full);
    CHECK(f.push("4", "B") == send_channel::admission::replaced);
    CHECK(f.channel.size() == 2);
  }

  TEST_CASE("a replacement may not take the channel past its bytes") {
    fixture f{10, 30};
    CHECK(f.push(std::string(8, 'a'), "A") == send_channel::admission::queued);
    CHECK(f.push(std::string(8, 'b'), "B") == send_channel::admission::queued);
    CHECK(f.push(std::string(18, 'b'), "B") == send_channel::admission::replaced);
    CHECK(f.channel.bytes() == 30);
    CHECK(f.push(std::string(19, 'b'), "B") == send_channel::admission::full);
  }

  TEST_CASE("a key is forgotten with its message") {
    fixture f{1000, 1 << 20};
    for (int round = 0; round < 5; ++round) {
      CHECK(f.push("x", "A") == send_channel::admission::queued);
      f.drain(1000);
    }
    REQUIRE(f.push("keeps the channel from running empty"));
    for (int i = 0; i < 5000; ++i) {
      CHECK(f.push("x", "key" + std::to_string(i)) == send_channel::admission::queued);
      const auto all = f.gathered();
      f.channel.consume(frame("x").size(), [](send_channel::item&) {});
      REQUIRE(f.channel.size() < 100);
    }
  }

  TEST_CASE("discarding leaves what was begun, and tells about the rest") {
    fixture f;
    REQUIRE(f.push("begun"));
    REQUIRE(f.push("waits"));
    f.channel.consume(2, [](send_channel::item&) {});
    std::vector<std::string> lost;
    f.channel.discard_waiting(
        [&](send_channel::item& item) { lost.push_back(std::string{item.frame->payload()}); });
    CHECK(lost == std::vector<std::string>{"waits"});
    CHECK(f.drain(1000) == frame("begun").substr(2));
    REQUIRE(f.push("again"));
    f.channel.clear([&](send_channel::item& item) { lost.push_back(std::string{item.frame->payload()}); });
    CHECK(lost.back() == "again");
    CHECK(f.channel.bytes() == 0);
  }

  TEST_CASE("an idle channel gives its memory back and works on") {
    fixture f{1000, 1 << 20};
    for (int i = 0; i < 100; ++i) REQUIRE(f.push("x"));
    f.channel.shrink();
    CHECK(f.channel.size() == 100);
    f.drain(10000);
    f.channel.shrink();
    CHECK(f.push("y"));
    CHECK(f.drain(10000) == frame("y"));
  }
}
