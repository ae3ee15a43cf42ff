// The same bytes, cut at random places, into both engines.

#include "engine_comparison.hpp"
#include "integration/deflate_peer.hpp"

#include <doctest/doctest.h>

#include <map>

using namespace engine_runs;
using engine_runs::comparing::messages_in;
using engine_runs::comparing::without_failure;
using namespace std::string_literals;
using skein::test::deflate_form;
using skein::test::deflate_payload;

namespace {

constexpr engine_options plain{.max_message_bytes = 2'000, .max_message_frames = 8};
constexpr engine_options deflating{.max_message_bytes = 2'000, .max_message_frames = 8, .compression = true};

using dice = std::minstd_rand;

std::string noise(std::size_t size, dice& random) {
  std::string bytes(size, '\0');
  for (auto& byte : bytes) byte = static_cast<char>(random() >> 7U);
  return bytes;
}
std::string prose(std::size_t size, dice& random) {
  const std::array<std::string_view, 8> words{"the ",         "quick ",           "brown fox ", "\xc3\xa9",
                                              "\xe2\x82\xac", "\xf0\x9f\x98\x80", "jumps",      "!"};
  std::string text;
  while (text.size() < size) text += words[random() % words.size()];
  return text;
}
std::string mostly_right_payload(dice& random) {
  const auto size = random() % 4 == 0 ? random() % 2'100 : random() % 60;
  auto text = random() % 5 == 0 ? noise(size, random) : prose(size, random);
  if (random() % 20 == 0 && !text.empty()) text[random() % text.size()] = static_cast<char>(random());
  return text;
}

/// A conversation as a client of good will has it, with a few slips.
std::string conversation(dice& random, bool compression) {
  std::string bytes;
  const auto count = 1 + random() % 8;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto key = static_cast<std::uint32_t>(random() * 3);
    switch (random() % 10) {
      case 0:
        bytes += frame(9, noise(random() % 126, random), {.key = key});
        break;
      case 1:
        bytes += frame(10, noise(random() % 126, random), {.key = key});
        break;
      case 2:
        if (random() % 4 == 0)
          bytes += close_frame(static_cast<unsigned>(990 + random() % 30), prose(random() % 40, random));
        break;
      default: {
        auto payload = mostly_right_payload(random);
        const bool compressed = compression && random() % 2 == 0;
        if (compressed) {
          payload = deflate_payload(payload, {.level = static_cast<int>(random() % 10),
                                              .window_bits = static_cast<int>(9 + random() % 7)});
        }
        const auto op = static_cast<unsigned>(1 + random() % 2);
        const auto pieces = 1 + random() % 3;
        for (std::uint32_t piece = 0; piece < pieces; ++piece) {
          const auto size = piece + 1 == pieces ? payload.size() : random() % (payload.size() + 1);
          bytes += frame(piece == 0 ? op : 0, std::string_view{payload}.substr(0, size),
                         {.fin = piece + 1 == pieces, .rsv = compressed && piece == 0 ? 4U : 0U, .key = key});
          payload.erase(0, size);
          if (random() % 6 == 0) bytes += frame(9, "between", {.key = key});
        }
      }
    }
  }
  return bytes;
}

void mutate(std::string& bytes, dice& random) {
  const auto count = 1 + random() % 3;
  for (std::uint32_t i = 0; i < count && !bytes.empty(); ++i) {
    const auto at = random() % bytes.size();
    switch (random() % 4) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ 1U << random() % 8);
        break;
      case 2:
        bytes.erase(at, 1 + random() % 4);
        break;
      default:
        bytes.insert(at, noise(1 + random() % 4, random));
    }
  }
}

std::string in_words(const events& log) {
  std::string text;
  for (const auto& one : log) {
    text += std::to_string(static_cast<int>(one.what)) + ":" + std::to_string(one.number) + ":" +
            std::to_string(one.bytes.size()) + " ";
  }
  return text;
}

/// What the comparison says of bytes of which the native engine makes what is right, and Beast something
/// else.
bool lets_pass(const std::string& bytes, const events& beast, const engine_options& options = deflating) {
  const auto right = read_plainly(bytes, options);
  auto native = options;
  native.kind = engine::native;
  CHECK(run(native, bytes) == right.log);
  return judge(right, right.log, beast, options).alike;
}

void check_alike(const engine_options& options, const std::string& bytes, std::uint32_t seed) {
  const auto result = compare(options, bytes, random_cuts(seed), random_cuts(seed + 1));
  if (!result.alike) {
    CAPTURE(seed);
    CAPTURE(in_words(result.native));
    CAPTURE(in_words(result.beast));
    CHECK_MESSAGE(result.alike, result.difference);
  }
  auto native = options;
  native.kind = engine::native;
  CHECK(run(native, bytes) == result.native);
}

}  // namespace

TEST_SUITE("engines") {
  TEST_CASE("with compression the comparison overlooks only what happens in compressed messages") {
    const auto hello = frame(1, "\xf2\x48\xcd\xc9\xc9\x07\x00"s, {.rsv = 4});
    const auto before = text_frame("before") + hello;
    const events good{got_text("before"), got_text("Hello")};
    const auto failing = [&](unsigned code) {
      auto log = good;
      log.push_back(failed(code));
      return log;
    };
    // Faults of uncompressed frames have one code, and both must see them.
    const std::vector<std::pair<std::string, unsigned>> faults{
        {binary_frame(std::string(2'001, 'x')), 1009},
        {text_frame("\xff"), 1007},
        {frame(3, ""), 1002},
        {text_frame("", false) + text_frame(""), 1002}};
    for (const auto& [fault, code] : faults) {
      CAPTURE(code);
      CHECK(lets_pass(before + fault, failing(code)));
      for (const unsigned other : {1002U, 1007U, 1008U, 1009U})
        if (other != code) CHECK_FALSE(lets_pass(before + fault, failing(other)));
      CHECK_FALSE(lets_pass(before + fault, good));
      CHECK_FALSE(lets_pass(before + fault + hello, {good[0], good[1], good[1]}));
    }
    // Nobody fails where nothing is wrong.
    CHECK_FALSE(lets_pass(before + text_frame("after"), failing(1002)));
    CHECK_FALSE(lets_pass(before, {got_text("before"), failed(1007)}));
    CHECK_FALSE(lets_pass(before, {got_text("before")}));
  }

  TEST_CASE("zlib decides which compressed messages may be refused, and which may not be read") {
    const auto of = [](const std::string& payload) {
      return frame(1, payload, {.rsv = 4}) + text_frame("next");
    };
    const auto broken = of("\x07\x00"s);
    for (const unsigned code : {1002U, 1007U, 1008U, 1009U}) CHECK(lets_pass(broken, {failed(code)}));
    CHECK_FALSE(lets_pass(broken, {failed(1000)}));
    CHECK_FALSE(lets_pass(broken, {got_text(""), got_text("next")}));
    const auto not_text = of(deflate_payload("\xff"));
    CHECK(lets_pass(not_text, {failed(1002)}));
    CHECK_FALSE(lets_pass(not_text, {got_text("\xff"), got_text("next")}));
    const auto cut = of("\xf2\x48\xcd\xc9"s);
    CHECK(lets_pass(cut, {got_text("Hel"), got_text("next")}));
    const auto whole = of("\xf2\x48\xcd\xc9\xc9\x07\x00"s);
    CHECK_FALSE(lets_pass(whole, {failed(1002)}));
    CHECK_FALSE(lets_pass(whole, {got_text("Hell"), got_text("next")}));
    const auto final_block = of("\xf3\x48\xcd\xc9\xc9\x07\x00"s);
    CHECK(lets_pass(final_block, {failed(1002)}));
    CHECK_FALSE(lets_pass(final_block, {failed(1009)}));
    const auto empty = of("");
    CHECK(lets_pass(empty, {failed(1007)}));
    CHECK_FALSE(lets_pass(empty, {failed(1002)}));
  }

  TEST_CASE("a compressed message that is too long as it comes: Beast does not count") {
    std::string blocks;
    for (int i = 0; i < 1'200; ++i) blocks += "\x00\x00\x00\xff\xff"s;
    const auto bytes = frame(2, blocks + "\x00"s, {.rsv = 4}) + text_frame("next");
    const auto result = compare(deflating, bytes, {}, {});
    CHECK(result.alike);
    CHECK(result.native == events{failed(1009)});
    CHECK(result.beast[0] == got_binary(""));
  }

  TEST_CASE("a compressed message that refers to the one before: Beast remembers it") {
    // Found by the fuzz target. No context takeover was agreed on.
    const auto refers = frame(2, "\x02\x01\x05\x81\x00\x05"s, {.rsv = 4});
    const auto before =
        frame(2, deflate_payload("some"), {.rsv = 4}) + frame(2, deflate_payload("more"), {.rsv = 4});
    const auto result = compare(deflating, before + refers, {}, {});
    CHECK(result.alike);
    CHECK(result.native == events{got_binary("some"), got_binary("more"), failed(1007)});
    CHECK(messages_in(result.beast) == 3);
    // Alone both refuse it.
    CHECK(messages_in(compare(deflating, refers, {}, {}).beast) == 0);
    CHECK_FALSE(lets_pass(refers, {got_binary("made up")}));
  }

  TEST_CASE("a compressed message that is whole without the four bytes: Beast goes on in the next") {
    // Found by the fuzz target. The first ends with a whole block, behind which Beast begins another one.
    const auto whole = frame(2, "\x00\x05\x00\xfa\xffhello"s, {.rsv = 4});
    const auto bytes = whole + frame(2, "\x00"s, {.rsv = 4});
    const auto result = compare(deflating, bytes, {}, {});
    CHECK(result.alike);
    CHECK(result.native == events{got_binary("hello"), got_binary("")});
    CHECK(result.beast != result.native);
    // With nothing before it, it is read by both; and what is not compressed has no part in it.
    CHECK_FALSE(lets_pass(frame(2, "\x00"s, {.rsv = 4}), {got_binary("made up")}));
    CHECK_FALSE(lets_pass(whole, {got_binary("other")}));
    CHECK_FALSE(lets_pass(whole + text_frame("next"), {got_binary("hello"), got_text("other")}));
  }

  TEST_CASE("a header that is wrong, of a compressed message without payload") {
    const auto bytes = ping("p") + "\xc3"s;
    const auto result = compare(deflating, bytes, {}, {});
    CHECK(result.alike);
    CHECK(result.native.back() == failed(1002));
  }

  TEST_CASE("conversations, right ones and damaged ones") {
    for (std::uint32_t seed = 0; seed < 1'500; ++seed) {
      dice random{seed + 1};
      auto bytes = conversation(random, false);
      check_alike(plain, bytes, seed);
      mutate(bytes, random);
      check_alike(plain, bytes, seed);
    }
  }

  TEST_CASE("conversations with compressed messages") {
    for (std::uint32_t seed = 0; seed < 700; ++seed) {
      dice random{seed + 1};
      auto bytes = conversation(random, true);
      check_alike(deflating, bytes, seed);
      mutate(bytes, random);
      check_alike(deflating, bytes, seed);
    }
  }

  TEST_CASE("a message that only the native engine reads, and a fault of both behind it") {
    // Found by the fuzz target: a final block, RFC 7692 section 7.2.3.4.
    const auto bytes = frame(1, "\xf3\x48\xcd\xc9\xc9\x07\x00"s, {.rsv = 4}) + frame(3, "");
    const auto result = compare(deflating, bytes, {}, {});
    CHECK(result.alike);
    CHECK(result.native == events{got_text("Hello"), failed(1002)});
    CHECK(result.beast.size() == 1);
  }

  TEST_CASE("a length of 2^63 where there is no limit") {
    // Found by the fuzz target.
    const auto bytes = frame(2, "", {.fin = false, .wide = 8, .declared = ~0ULL - 165});
    const auto result = compare({}, bytes, {}, {});
    CHECK(result.alike);
    CHECK(result.native == events{failed(1002)});
    CHECK(result.beast.empty());
    const auto text = frame(1, "\xff", {.wide = 8, .declared = ~0ULL});
    CHECK(compare({}, text, {}, {}).alike);
  }

  TEST_CASE("a length of 2^63 of a compressed message, which Beast does not limit") {
    // Found by the fuzz target.
    for (const auto& begin : {""s, frame(2, "\xf2\x48", {.fin = false, .rsv = 4})}) {
      const auto last = begin.empty() ? frame(2, "abc", {.rsv = 4, .wide = 8, .declared = ~0ULL})
                                      : frame(0, "abc", {.wide = 8, .declared = ~0ULL});
      const auto result = compare(deflating, begin + last, {}, {});
      CHECK(result.alike);
      CHECK(result.native == events{failed(1002)});
      CHECK(messages_in(result.beast) == 0);
    }
  }

  TEST_CASE("a compressed message without payload: Beast does not make up what it is") {
    // Found by the fuzz target: 64 KiB of 00 00 ff ff in the message behind it.
    constexpr engine_options roomy{.max_message_bytes = 70'000, .max_message_frames = 8, .compression = true};
    const auto next = frame(2, std::string_view{"\0", 1}, {.rsv = 4});
    const auto ping = frame(9, "between");
    for (const auto& nothing :
         {frame(2, "", {.rsv = 4}), frame(2, "", {.fin = false, .rsv = 4}) + ping + continuation("", true)}) {
      const auto bytes = nothing + next;
      for (const auto& where : {cuts{}, cuts{1}, cuts{5}}) {
        const auto result = compare(roomy, bytes, where, where);
        CHECK(result.alike);
        CHECK(without_failure(result.native).back() == got_binary(""));
        CHECK(result.beast.back() == failed(1007));
        CHECK(std::ranges::count(result.beast, got_binary("")) == 0);
      }
    }
    // An empty piece is nothing special, and neither is a message that is empty without being compressed.
    const auto pieces = frame(1, "", {.fin = false, .rsv = 4}) +
                        continuation(deflate_payload("piece", {.level = 6, .window_bits = 15}), true) +
                        text_frame("");
    const auto result = compare(roomy, pieces, {}, {});
    CHECK(result.beast == events{got_text("piece"), got_text("")});
    CHECK(result.native == result.beast);
  }

  TEST_CASE("a frame too many whose header is wrong as well, and comes in two pieces") {
    // Found by the fuzz target.
    auto bytes = text_frame("", false);
    for (int i = 1; i < 8; ++i) bytes += continuation("", false);
    bytes += frame(0, "", {.masked = false});
    const cuts in_the_header{bytes.size() - 1};
    CHECK(compare(plain, bytes, in_the_header, in_the_header).alike);
    CHECK(compare(plain, bytes, in_the_header, in_the_header).native == events{failed(1008)});
  }

  TEST_CASE("every first and second byte") {
    for (unsigned first = 0; first < 256; ++first) {
      for (unsigned second = 0; second < 256; second += second % 128 < 8 || second % 128 > 120 ? 1 : 37) {
        std::string bytes{static_cast<char>(first), static_cast<char>(second)};
        bytes += std::string(14, '\x03') + std::string(200, 'a');
        check_alike(plain, bytes, first);
        check_alike(plain, text_frame("begun", false) + bytes, first);
      }
    }
  }

  TEST_CASE("every two bytes in a close frame, and every close code") {
    for (unsigned code = 0; code < 6'000; code += code < 1'100 || code > 4'900 ? 1 : 97) {
      check_alike(plain, close_frame(code), code);
      check_alike(plain, close_frame(code, "because"), code);
    }
  }

  TEST_CASE("400 random streams of zlib: the native engine reads them all") {
    const engine_options large{.max_message_bytes = 64 * 1024, .compression = true};
    std::map<engine, int> read;
    for (std::uint32_t seed = 0; seed < 400; ++seed) {
      dice random{seed + 1};
      const auto size = random() % (seed % 4 == 0 ? 60'000 : 3'000);
      const auto payload = seed % 3 == 0 ? noise(size, random) : prose(size, random);
      const deflate_form form{.level = static_cast<int>(seed % 10),
                              .strategy = static_cast<int>(random() % 5),
                              .window_bits = static_cast<int>(9 + random() % 7),
                              .memory = static_cast<int>(1 + random() % 9),
                              .full_flush = random() % 2 == 0,
                              .block = random() % 2 == 0 ? 0 : 10 + random() % 5'000};
      const auto deflated = deflate_payload(payload, form);
      const auto half = random() % (deflated.size() + 1);
      const auto bytes = frame(2, std::string_view{deflated}.substr(0, half), {.fin = false, .rsv = 4}) +
                         frame(0, std::string_view{deflated}.substr(half));
      for (const auto kind : {engine::native, engine::beast}) {
        auto options = large;
        options.kind = kind;
        if (run(options, bytes, random_cuts(seed)) == events{got_binary(payload)}) ++read[kind];
      }
    }
    CHECK(read[engine::native] == 400);
    MESSAGE("Beast's engine read " << read[engine::beast] << " of 400");
  }
}
