// The native engine's rules one by one: what is refused, with which code, and at which byte.

#include "engine_runs.hpp"

#include <doctest/doctest.h>

#include <initializer_list>

using namespace engine_runs;
using namespace std::string_literals;

namespace {

constexpr engine_options small{.max_message_bytes = 1000, .max_message_frames = 4, .kind = engine::native};

/// Divided once at every place, and everywhere.
void check_everywhere(const engine_options& options, const std::string& bytes, const events& expected) {
  CHECK(run(options, bytes) == expected);
  CHECK(run(options, bytes, cuts(bytes.size(), 1)) == expected);
  bool all = true;
  for (std::size_t cut = 1; cut < bytes.size() && bytes.size() < 400; ++cut) {
    all = all && run(options, bytes, {cut}) == expected;
  }
  CHECK(all);
}

/// Refused with this code as soon as `most` bytes have come, and not before. What follows does not matter.
void check_refused(const engine_options& options, std::string bytes, std::size_t most, unsigned code) {
  const auto before = run(options, bytes.substr(0, most - 1), cuts(most, 1));
  CHECK((before.empty() || before.back().what != event::kind::failure));
  const auto after = run(options, bytes.substr(0, most), cuts(most, 1));
  REQUIRE(!after.empty());
  CHECK(after.back() == failed(code));
  check_everywhere(options, bytes + std::string(20, '\xff'), after);
}

std::string some(std::size_t size) {
  std::string result(size, 0);
  for (std::size_t i = 0; i < size; ++i) result[i] = static_cast<char>('a' + i % 26);
  return result;
}

}  // namespace

TEST_SUITE("frame_parser") {
  TEST_CASE("whole messages of every length's form, divided anywhere") {
    const engine_options large{.max_message_bytes = 100'000, .kind = engine::native};
    for (const std::size_t size : {0U, 1U, 3U, 15U, 16U, 125U, 126U, 127U, 300U, 65'535U, 65'536U}) {
      CAPTURE(size);
      check_everywhere(large, text_frame(some(size)), {got_text(some(size))});
      check_everywhere(large, binary_frame(std::string(size, '\xff')),
                       {got_binary(std::string(size, '\xff'))});
    }
  }

  TEST_CASE("fragments make one message, with control frames between them") {
    check_everywhere(small, text_frame("a", false) + continuation("", false) + continuation("b"),
                     {got_text("ab")});
    check_everywhere(small, binary_frame("", false) + continuation(""), {got_binary("")});
    check_everywhere(small,
                     text_frame("a", false) + ping("p") + pong("q") + continuation("b") + text_frame("c"),
                     {{event::kind::ping},
                      {event::kind::control, 0, "\x8a\x01p"},
                      got_pong("q"),
                      got_text("ab"),
                      got_text("c")});
  }

  TEST_CASE("every fragment has a mask of its own") {
    check_everywhere(small,
                     frame(1, "abc", {.fin = false, .key = 0x01020304}) +
                         frame(0, "defgh", {.fin = false, .key = 0xa0b0c0d0}) + frame(0, "i", {.key = 0}),
                     {got_text("abcdefghi")});
  }

  TEST_CASE("reserved opcodes are refused at their byte") {
    for (const unsigned op : {3U, 4U, 5U, 6U, 7U, 11U, 12U, 13U, 14U, 15U}) {
      check_refused(small, frame(op, ""), 1, 1002);
      check_refused(small, text_frame("a", false) + frame(op, ""), 8, 1002);
    }
  }

  TEST_CASE(
      "reserved bits are refused at their byte; RSV1 is for the first frame of a message, if agreed on") {
    auto deflating = small;
    deflating.compression = true;
    for (unsigned rsv = 1; rsv < 8; ++rsv) {
      for (const unsigned op : {1U, 2U, 8U, 9U, 10U}) {
        check_refused(small, frame(op, "", {.rsv = rsv}), 1, 1002);
        if (rsv != 4 || op > 7) check_refused(deflating, frame(op, "", {.rsv = rsv}), 1, 1002);
      }
      check_refused(small, text_frame("a", false) + frame(0, "", {.rsv = rsv}), 8, 1002);
      check_refused(deflating, text_frame("a", false) + frame(0, "", {.rsv = rsv}), 8, 1002);
    }
  }

  TEST_CASE("a frame without a mask is refused at its second byte") {
    for (const unsigned op : {1U, 2U, 8U, 9U, 10U})
      check_refused(small, frame(op, "", {.masked = false}), 2, 1002);
  }

  TEST_CASE("a continuation needs a message, and a message is not begun within another") {
    check_refused(small, continuation("a"), 1, 1002);
    check_refused(small, text_frame("a") + continuation("b"), 8, 1002);
    check_refused(small, text_frame("a", false) + continuation("b") + continuation("c"), 15, 1002);
    check_refused(small, text_frame("a", false) + text_frame("b"), 8, 1002);
    check_refused(small, text_frame("", false) + binary_frame("b"), 7, 1002);
  }

  TEST_CASE("control frames are short and whole") {
    for (const unsigned op : {8U, 9U, 10U}) {
      check_refused(small, frame(op, "", {.fin = false}), 1, 1002);
      check_refused(small, frame(op, some(126)), 2, 1002);
      check_refused(small, frame(op, "", {.wide = 8, .declared = 70'000}), 2, 1002);
    }
    check_everywhere(small, pong(some(124)), {got_pong(some(124))});
    check_everywhere(small, pong(some(125)), {got_pong(some(125))});
    check_everywhere(small, ping(some(125)),
                     {{event::kind::ping}, {event::kind::control, 0, "\x8a\x7d" + some(125)}});
  }

  TEST_CASE("a length must be written in as few bytes as possible") {
    check_refused(small, frame(1, some(125), {.wide = 2}), 4, 1002);
    check_refused(small, frame(1, "", {.wide = 2}), 4, 1002);
    check_refused(small, frame(1, some(125), {.wide = 8}), 10, 1002);
    const engine_options unlimited{.kind = engine::native};
    check_refused(unlimited, frame(1, "", {.wide = 8, .declared = 65'535}), 10, 1002);
    check_everywhere(small, frame(1, some(126), {.wide = 2}), {got_text(some(126))});
    check_everywhere(unlimited, frame(2, some(65'536), {.wide = 8}), {got_binary(some(65'536))});
    check_everywhere(unlimited, frame(2, some(65'535), {.wide = 2}), {got_binary(some(65'535))});
  }

  TEST_CASE("a length of 64 bits has 63") {
    const engine_options unlimited{.kind = engine::native};
    for (const auto& options : {small, unlimited}) {
      check_refused(options, frame(1, "", {.wide = 8, .declared = 1ULL << 63U}), 3, 1002);
      check_refused(options, frame(2, "", {.wide = 8, .declared = ~0ULL}), 3, 1002);
    }
    check_refused(small, frame(1, "", {.wide = 8, .declared = (1ULL << 63U) - 1}), 10, 1009);
    CHECK(run(unlimited, frame(1, "abc", {.wide = 8, .declared = (1ULL << 63U) - 1})).empty());
  }

  TEST_CASE("a message may have as many bytes as the limit, in however many frames") {
    check_everywhere(small, binary_frame(some(999)), {got_binary(some(999))});
    check_everywhere(small, binary_frame(some(1000)), {got_binary(some(1000))});
    check_refused(small, binary_frame(some(1001)), 4, 1009);
    check_refused(small, frame(1, "", {.declared = 65'535}), 4, 1009);
    check_everywhere(small, binary_frame(some(999), false) + continuation("x"),
                     {got_binary(some(999) + "x")});
    const auto full = binary_frame(some(1000), false);
    check_everywhere(small, full + continuation(""), {got_binary(some(1000))});
    check_refused(small, full + continuation("x"), full.size() + 2, 1009);
    // The limit is for each message.
    check_everywhere(small, full + continuation("") + binary_frame(some(1000)),
                     {got_binary(some(1000)), got_binary(some(1000))});
    check_refused(small, binary_frame("x", false) + frame(0, "", {.wide = 8, .declared = (1ULL << 63U) - 1}),
                  17, 1009);
  }

  TEST_CASE("a compressed message may have twice as many bytes as the limit, and 1,024 more") {
    auto deflating = small;
    deflating.compression = true;
    constexpr std::size_t most = 2 * 1000 + 1024;
    // Blocks that say that they store nothing, and one that stores what is missing to that size.
    const auto nothing_in = [](std::size_t size) {
      std::string blocks;
      while (blocks.size() + 11 <= size) blocks += "\x00\x00\x00\xff\xff"s;
      const auto stored = size - blocks.size() - 6;
      blocks += "\x00"s + static_cast<char>(stored) + "\x00"s + static_cast<char>(~stored) + "\xff";
      return blocks + some(stored) + "\x00"s;
    };
    const auto fits = [&](std::size_t size) { return got_binary(some((size - 6) % 5)); };
    for (const auto size : {most - 1, most}) {
      const auto payload = nothing_in(size);
      REQUIRE(payload.size() == size);
      check_everywhere(deflating, frame(2, payload, {.rsv = 4}), {fits(size)});
      check_everywhere(deflating,
                       frame(2, payload.substr(0, 1000), {.fin = false, .rsv = 4}) +
                           frame(0, payload.substr(1000)) + frame(2, payload, {.rsv = 4}),
                       {fits(size), fits(size)});
    }
    check_refused(deflating, frame(2, nothing_in(most + 1), {.rsv = 4}), 4, 1009);
    const auto full = frame(2, nothing_in(most), {.fin = false, .rsv = 4});
    check_refused(deflating, full + continuation("x"), full.size() + 2, 1009);
    check_refused(deflating, frame(1, "", {.rsv = 4, .wide = 8, .declared = 1ULL << 40U}), 10, 1009);
    // Uncompressed messages beside them have their own limit.
    check_everywhere(deflating, full + continuation("") + binary_frame(some(1000)),
                     {fits(most), got_binary(some(1000))});
    check_refused(deflating, binary_frame(some(1001)), 4, 1009);
  }

  TEST_CASE("the largest limit there can be does not make the one of compressed messages a small one") {
    for (const auto limit : {~std::size_t{0}, ~std::size_t{0} / 2, ~std::size_t{0} / 4 + 1}) {
      const engine_options vast{.max_message_bytes = limit, .compression = true, .kind = engine::native};
      const auto hello = frame(1, "\xf2\x48\xcd\xc9\xc9\x07\x00"s, {.rsv = 4});
      CHECK(run(vast, hello) == events{got_text("Hello")});
      CHECK(run(vast, frame(2, "", {.rsv = 4, .wide = 8, .declared = 1ULL << 62U})).empty());
    }
  }

  TEST_CASE("a message may have as many frames as the limit, and control frames do not count") {
    const auto in_frames = [](std::size_t count) {
      auto bytes = text_frame("x", false);
      for (std::size_t i = 2; i < count; ++i) bytes += pong() + continuation("x", false);
      return bytes + continuation("x");
    };
    check_everywhere(small, in_frames(3), {got_pong(), got_text("xxx")});
    check_everywhere(small, in_frames(4) + in_frames(4),
                     {got_pong(), got_pong(), got_text("xxxx"), got_pong(), got_pong(), got_text("xxxx")});
    check_refused(small, in_frames(5), in_frames(5).size() - 6, 1008);
    engine_options one = small;
    one.max_message_frames = 1;
    check_everywhere(one, text_frame("x") + text_frame("y"), {got_text("x"), got_text("y")});
    check_refused(one, text_frame("x", false) + continuation("y"), 8, 1008);
    check_refused(one, text_frame("x", false) + text_frame("y"), 8, 1008);
    one.max_message_frames = 0;
    std::string many = text_frame("", false);
    for (int i = 0; i < 5000; ++i) many += continuation("", false);
    CHECK(run(one, many + continuation("x")) == events{got_text("x")});
    one.max_message_frames = ~std::size_t{0};
    CHECK(run(one, many + continuation("x")) == events{got_text("x")});
  }

  TEST_CASE("text is refused at the first byte that is not UTF-8, binary is not") {
    check_refused(small, text_frame("caf\xe9 au lait"), 6 + 5, 1007);
    check_refused(small, text_frame("\xc0\x80"), 6 + 1, 1007);
    check_refused(small, text_frame("\xed\xa0\x80"), 6 + 2, 1007);
    check_refused(small, text_frame("ab\xe2\x82", false) + continuation("\xac\xac"), 6 + 4 + 6 + 2, 1007);
    check_refused(small, text_frame("\xe2", false) + continuation("a"), 6 + 1 + 6 + 1, 1007);
    check_everywhere(small, binary_frame("\xff"), {got_binary("\xff")});
    check_everywhere(
        small, text_frame("\xe2\x82", false) + ping("\xff") + continuation("\xac"),
        {{event::kind::ping}, {event::kind::control, 0, "\x8a\x01\xff"}, got_text("\xe2\x82\xac")});
  }

  TEST_CASE("text that ends within a character is refused with its last byte") {
    check_refused(small, text_frame("a\xe2\x82"), 6 + 3, 1007);
    check_refused(small, text_frame("\xc3", false) + continuation(""), 6 + 1 + 6, 1007);
    check_refused(small, text_frame("\xc3") + text_frame("\xa9"), 6 + 1, 1007);
  }

  TEST_CASE("a close frame has no body, or a code that may be sent and a text") {
    check_everywhere(small, frame(8, ""), {closed(0)});
    check_everywhere(small, close_frame(1000) + "nothing follows", {closed(1000)});
    check_everywhere(small, close_frame(1001, "good bye"), {closed(1001, "good bye")});
    check_everywhere(small, close_frame(4999, some(123)), {closed(4999, some(123))});
    check_everywhere(small, text_frame("a", false) + close_frame(3000, "\xe2\x82\xac"),
                     {closed(3000, "\xe2\x82\xac")});
    check_refused(small, frame(8, "\x03"), 2, 1002);
    for (const unsigned code : {0U, 999U, 1004U, 1005U, 1006U, 1015U, 2999U, 5000U, 65'535U}) {
      check_refused(small, close_frame(code), 6 + 2, 1002);
      check_refused(small, close_frame(code, "because"), 6 + 2, 1002);
    }
    check_refused(small,
                  close_frame(1000,
                              "abc\xff"
                              "def"),
                  6 + 2 + 4, 1007);
    check_refused(small, close_frame(1000, "abc\xe2\x82"), 6 + 2 + 5, 1007);
  }

  TEST_CASE("many random frames, divided at random, say what they said at once") {
    std::minstd_rand random{3};
    for (std::uint32_t round = 0; round < 300; ++round) {
      std::string bytes;
      events expected;
      while (bytes.size() < 2000) {
        const auto payload = some(random() % 120);
        const auto key = static_cast<std::uint32_t>(random());
        if (random() % 3 == 0) {
          const auto half = payload.size() / 2;
          bytes += frame(1, payload.substr(0, half), {.fin = false, .key = key});
          bytes += pong("between");
          expected.push_back(got_pong("between"));
          bytes += frame(0, payload.substr(half), {.key = ~key});
        } else {
          bytes += frame(1, payload, {.key = key});
        }
        expected.push_back(got_text(payload));
      }
      REQUIRE(run(small, bytes, random_cuts(round)) == expected);
    }
  }
}
