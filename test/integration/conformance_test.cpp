// RFC 6455 frame by frame, and the limits of connection_limits. Where the RFC leaves the code open, the row
// names each that is right.

#include "conformance.hpp"

#include <doctest/doctest.h>

#include <array>
#include <initializer_list>

namespace {

using namespace skein::test;
using namespace std::string_literals;

constexpr std::size_t limit = 64 * 1024;
constexpr unsigned protocol_error = 1002, invalid_payload = 1007, policy = 1008, too_big = 1009;

std::string some(std::size_t size) {
  std::string result(size, 0);
  for (std::size_t i = 0; i < size; ++i) result[i] = static_cast<char>('a' + i % 26);
  return result;
}

row echoed(std::string name, std::string bytes, frame reply) {
  return {.name = std::move(name), .bytes = std::move(bytes), .replies = {std::move(reply)}};
}
row text_echoed(std::string name, std::string bytes, std::string reply) {
  return echoed(std::move(name), std::move(bytes), {op::text, std::move(reply)});
}
row refused(std::string name, std::string bytes, std::vector<unsigned> codes = {protocol_error}) {
  return {.name = std::move(name), .bytes = std::move(bytes), .codes = std::move(codes)};
}

std::string number(std::size_t value) {
  return std::to_string(value);
}

std::vector<row> opcode_rows() {
  std::vector<row> table{
      text_echoed("a text frame", text_frame("hello"), "hello"),
      echoed("a binary frame", binary_frame("\x00\xff\x80"s), {op::binary, "\x00\xff\x80"s}),
      echoed("an empty text frame", text_frame(""), {op::text}),
      echoed("an empty binary frame", binary_frame(""), {op::binary}),
      echoed("a ping", ping_frame("are you there?"), {op::pong, "are you there?"}),
      {.name = "a pong that nobody asked for", .bytes = pong_frame("1")},
      {.name = "an empty pong", .bytes = pong_frame()},
      {.name = "the longest pong", .bytes = pong_frame(some(125))},
      {.name = "490 pongs", .bytes = repeated(pong_frame("x"), 490)},
      {.name = "many messages in one segment",
       .bytes = repeated(text_frame("1"), 50),
       .replies = std::vector<frame>(50, frame{op::text, "1"})},
  };
  for (const unsigned reserved : {3U, 4U, 5U, 6U, 7U, 11U, 12U, 13U, 14U, 15U}) {
    table.push_back(refused("opcode " + number(reserved), make_frame(reserved, "hello")));
    table.push_back(refused("opcode " + number(reserved) + ", empty", make_frame(reserved, "")));
    table.push_back(
        refused("opcode " + number(reserved) + " as a fragment", make_frame(reserved, "", {.fin = false})));
    table.push_back(refused("opcode " + number(reserved) + " between fragments",
                            text_frame("a", false) + make_frame(reserved, "") + continuation_frame("b")));
  }
  return table;
}

std::vector<row> length_rows() {
  std::vector<row> table;
  struct form {
    const char* name;
    length_form wide;
    std::size_t least, most;  // what it is right for
  };
  constexpr std::array forms{form{"in 7 bits", length_form::in_7_bits, 0, 125},
                             form{"in 16 bits", length_form::in_16_bits, 126, 65'535},
                             form{"in 64 bits", length_form::in_64_bits, 65'536, limit}};
  for (const auto& form : forms) {
    for (const auto size :
         std::initializer_list<std::size_t>{0, 1, 2, 125, 126, 127, 255, 256, 65'535, 65'536}) {
      if ((form.wide == length_form::in_7_bits && size > 125) ||
          (form.wide == length_form::in_16_bits && size > 65'535))
        continue;
      const auto payload = some(size);
      const auto name = number(size) + " bytes, the length " + form.name;
      for (const unsigned kind : {op::text, op::binary}) {
        const auto bytes = make_frame(kind, payload, {.length = form.wide});
        if (size >= form.least) {
          table.push_back(echoed(name, bytes, {kind, payload}));
        } else {
          table.push_back(
              refused(name, bytes));  // RFC 6455 section 5.2: the minimal number of bytes must be used
        }
      }
    }
  }
  table.push_back(refused("a ping whose length is not the shortest",
                          make_frame(op::ping, "hi", {.length = length_form::in_16_bits})));
  table.push_back(refused(
      "a continuation whose length is not the shortest",
      text_frame("a", false) + make_frame(op::continuation, "b", {.length = length_form::in_64_bits})));

  // Past the limit. What is announced is enough, the payload need not come.
  const auto announced = [](unsigned kind, std::uint64_t length) {
    return make_frame(kind, "", {.length = length_form::in_64_bits, .declared = length});
  };
  table.push_back(refused("one byte more than the limit", binary_frame(some(limit + 1)), {too_big}));
  table.push_back(refused("a text of one byte more than the limit", text_frame(some(limit + 1)), {too_big}));
  table.push_back(refused("twice the limit", binary_frame(some(2 * limit)), {too_big}));
  for (const unsigned shift : {17U, 24U, 31U, 32U, 40U, 62U}) {
    table.push_back(
        refused("2^" + number(shift) + " bytes announced", announced(op::binary, 1ULL << shift), {too_big}));
  }
  table.push_back(refused("2^63 - 1 bytes announced", announced(op::text, (1ULL << 63U) - 1), {too_big}));
  // Section 5.2: the most significant bit must be 0. Too big it is as well.
  table.push_back(
      refused("2^63 bytes announced", announced(op::text, 1ULL << 63U), {protocol_error, too_big}));
  table.push_back(
      refused("2^64 - 1 bytes announced", announced(op::binary, ~0ULL), {protocol_error, too_big}));

  table.push_back(echoed("the limit in two frames",
                         binary_frame(some(limit - 1), false) + continuation_frame("x"),
                         {op::binary, some(limit - 1) + "x"}));
  table.push_back(refused("past the limit in two frames",
                          binary_frame(some(limit), false) + continuation_frame("x"), {too_big}));
  table.push_back(refused(
      "past the limit in three frames",
      binary_frame("", false) + continuation_frame(some(limit), false) + continuation_frame("x"), {too_big}));
  table.push_back(refused("past the limit, announced by a continuation",
                          binary_frame("x", false) + announced(op::continuation, limit), {too_big}));
  table.push_back(refused("past the limit, announced by a continuation whose length overflows the sum",
                          binary_frame("x", false) + announced(op::continuation, (1ULL << 63U) - 1),
                          {too_big}));
  return table;
}

std::vector<row> mask_rows() {
  std::vector<row> table;
  const frame_form plain{.masked = false};
  for (const unsigned kind : {op::text, op::binary, op::ping, op::pong}) {
    table.push_back(refused("opcode " + number(kind) + " without a mask", make_frame(kind, "hello", plain)));
    table.push_back(
        refused("opcode " + number(kind) + ", empty, without a mask", make_frame(kind, "", plain)));
  }
  table.push_back(refused("close without a mask", make_frame(op::close, "\x03\xe8"s, plain)));
  table.push_back(refused("a continuation without a mask",
                          text_frame("a", false) + make_frame(op::continuation, "b", plain)));
  table.push_back(refused("a frame without a mask behind a good one",
                          text_frame("good") + make_frame(op::text, "bad", plain)));
  table.back().replies = {{op::text, "good"}};
  for (const std::uint32_t mask : {0U, 1U, 0xffU, 0xff000000U, 0x80808080U, 0xffffffffU}) {
    for (const auto size : std::initializer_list<std::size_t>{1, 2, 3, 4, 5, 7, 8, 9, 31, 1000}) {
      table.push_back(text_echoed("mask " + number(mask) + " over " + number(size) + " bytes",
                                  make_frame(op::text, some(size), {.mask = mask}), some(size)));
    }
  }
  // Each fragment is masked from its own beginning.
  table.push_back(text_echoed("fragments with masks of their own",
                              make_frame(op::text, "abc", {.fin = false, .mask = 0x01020304}) +
                                  make_frame(op::continuation, "defgh", {.fin = false, .mask = 0xa0b0c0d0}) +
                                  make_frame(op::continuation, "i", {.mask = 0}),
                              "abcdefghi"));
  return table;
}

std::vector<row> reserved_bit_rows() {
  std::vector<row> table;
  for (unsigned rsv = 1; rsv <= 7; ++rsv) {
    for (const unsigned kind : {op::text, op::binary, op::ping, op::pong}) {
      table.push_back(refused("reserved bits " + number(rsv) + " with opcode " + number(kind),
                              make_frame(kind, "x", {.rsv = rsv})));
    }
    table.push_back(refused("reserved bits " + number(rsv) + " in a close frame",
                            make_frame(op::close, "\x03\xe8"s, {.rsv = rsv})));
    table.push_back(refused("reserved bits " + number(rsv) + " in a continuation",
                            text_frame("a", false) + make_frame(op::continuation, "b", {.rsv = rsv})));
    table.push_back(refused("reserved bits " + number(rsv) + " in an empty frame",
                            make_frame(op::text, "", {.rsv = rsv})));
  }
  return table;
}

std::vector<row> fragment_rows() {
  const auto first = [](std::string_view part) { return text_frame(part, false); };
  const auto middle = [](std::string_view part) { return continuation_frame(part, false); };
  const auto last = [](std::string_view part) { return continuation_frame(part); };
  std::vector<row> table{
      text_echoed("two fragments", first("ab") + last("cd"), "abcd"),
      text_echoed("three fragments", first("a") + middle("b") + last("c"), "abc"),
      echoed("binary fragments", binary_frame("\xff"s, false) + last("\xfe"s), {op::binary, "\xff\xfe"s}),
      text_echoed("100 fragments", first("x") + repeated(middle("x"), 98) + last("x"), std::string(100, 'x')),
      text_echoed("an empty first fragment", first("") + last("a"), "a"),
      text_echoed("an empty fragment in the middle", first("a") + middle("") + last("b"), "ab"),
      text_echoed("an empty last fragment", first("a") + last(""), "a"),
      text_echoed("nothing but empty fragments", first("") + middle("") + last(""), ""),
      text_echoed("fragments of different widths", first(some(200)) + middle(some(70)) + last(some(3000)),
                  some(200) + some(70) + some(3000)),
      {.name = "two fragmented messages",
       .bytes = first("a") + last("b") + binary_frame("c", false) + last("d"),
       .replies = {{op::text, "ab"}, {op::binary, "cd"}}},
      {.name = "a ping between fragments",
       .bytes = first("a") + ping_frame("p") + last("b"),
       .replies = {{op::pong, "p"}, {op::text, "ab"}}},
      {.name = "pings between all of many fragments",
       .bytes = first("0") + ping_frame("1") + middle("") + ping_frame("2") + middle("1") + ping_frame("") +
                last("2"),
       .replies = {{op::pong, "1"}, {op::pong, "2"}, {op::pong, ""}, {op::text, "012"}}},
      text_echoed("a pong between fragments", first("a") + pong_frame("p") + last("b"), "ab"),
      refused("a close frame between fragments", first("a") + close_frame(1001), {1001}),

      refused("a continuation of nothing", last("a")),
      refused("an empty continuation of nothing", last("")),
      refused("an unfinished continuation of nothing", middle("a")),
      refused("a continuation behind a whole message", text_frame("a") + last("b")),
      refused("a continuation behind a finished message", first("a") + last("b") + last("c")),
      refused("a continuation behind a ping", ping_frame("") + last("b")),
      refused("a text amid fragments", first("a") + text_frame("b")),
      refused("a binary message amid fragments", first("a") + binary_frame("b")),
      refused("a first fragment amid fragments", first("a") + first("b")),
      refused("an empty text amid fragments", first("") + text_frame("")),
      refused("a binary fragment continued by a text", binary_frame("a", false) + text_frame("b")),
  };
  for (auto& one : table) {
    if (one.name == "a continuation behind a whole message") one.replies = {{op::text, "a"}};
    if (one.name == "a continuation behind a finished message") one.replies = {{op::text, "ab"}};
    if (one.name == "a continuation behind a ping") one.replies = {{op::pong, ""}};
  }
  for (const auto& bytes : divided(op::text, "fragment")) {
    table.push_back(text_echoed("a text divided somewhere", bytes, "fragment"));
  }
  for (const unsigned kind : {op::close, op::ping, op::pong}) {
    const auto name = " control frame with opcode " + number(kind);
    table.push_back(refused("a fragmented" + name, make_frame(kind, "", {.fin = false})));
    table.push_back(
        refused("a fragmented, continued" + name, make_frame(kind, "a", {.fin = false}) + last("b")));
    table.push_back(refused("126 bytes in a" + name, make_frame(kind, "\x03\xe8"s + some(124))));
    table.push_back(
        refused("65,536 bytes announced by a" + name, make_frame(kind, "", {.declared = 65'536})));
    table.push_back(refused("126 bytes in a fragmented" + name, make_frame(kind, some(126), {.fin = false})));
  }
  return table;
}

std::vector<row> frame_count_rows() {
  const auto in_frames = [](std::size_t count, std::string_view part) {
    return text_frame(part, false) + repeated(continuation_frame(part, false), count - 2) +
           continuation_frame(part);
  };
  return {
      text_echoed("1,023 frames", in_frames(1'023, "x"), std::string(1'023, 'x')),
      text_echoed("1,024 frames", in_frames(1'024, "x"), std::string(1'024, 'x')),
      refused("1,025 frames", in_frames(1'025, "x"), {policy}),
      text_echoed("1,024 empty frames", in_frames(1'024, ""), ""),
      refused("1,025 empty frames", in_frames(1'025, ""), {policy}),
      refused("5,000 frames of an unfinished message",
              text_frame("x", false) + repeated(continuation_frame("", false), 5'000), {policy}),
      {.name = "1,024 frames twice",
       .bytes = in_frames(1'024, "x") + in_frames(1'024, "y"),
       .replies = {{op::text, std::string(1'024, 'x')}, {op::text, std::string(1'024, 'y')}}},
      {.name = "5,000 messages of one frame",
       .bytes = repeated(text_frame("x"), 5'000),
       .replies = std::vector<frame>(5'000, frame{op::text, "x"})},
      text_echoed("1,024 frames and 401 pongs between them",
                  text_frame("x", false) + repeated(continuation_frame("x", false), 622) +
                      repeated(pong_frame() + continuation_frame("x", false), 400) + pong_frame() +
                      continuation_frame("x"),
                  std::string(1'024, 'x')),
  };
}

std::vector<row> utf8_rows() {
  std::vector<row> table;
  const std::vector<std::pair<std::string, std::string>> valid{
      {"ASCII", "plain"},
      {"U+0000", "\0"s},
      {"U+007F", "\x7f"},
      {"U+0080", "\xc2\x80"},
      {"U+07FF", "\xdf\xbf"},
      {"U+0800", "\xe0\xa0\x80"},
      {"U+D7FF, before the surrogates", "\xed\x9f\xbf"},
      {"U+E000, behind the surrogates", "\xee\x80\x80"},
      {"U+FEFF, the byte order mark", "\xef\xbb\xbf"},
      {"U+FFFD", "\xef\xbf\xbd"},
      {"U+FFFE, a noncharacter", "\xef\xbf\xbe"},
      {"U+FFFF, a noncharacter", "\xef\xbf\xbf"},
      {"U+10000", "\xf0\x90\x80\x80"},
      {"U+1FFFF, a noncharacter", "\xf0\x9f\xbf\xbf"},
      {"U+10FFFF", "\xf4\x8f\xbf\xbf"},
      {"one to four bytes", "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"},
      {"four to one bytes",
       "\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9"
       "a"},
      {"Greek", "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"},
  };
  for (const auto& [name, payload] : valid) {
    table.push_back(text_echoed(name, text_frame(payload), payload));
    for (const auto& bytes : divided(op::text, payload)) {
      table.push_back(text_echoed(name + ", divided somewhere", bytes, payload));
    }
  }
  const std::vector<std::pair<std::string, std::string>> invalid{
      {"a continuation byte alone, 80", "\x80"},
      {"a continuation byte alone, BF", "\xbf"},
      {"a continuation byte behind a letter", "a\x80"},
      {"one continuation byte too many", "\xc3\xa9\xa9"},
      {"overlong U+0000 in two bytes", "\xc0\x80"},
      {"overlong slash in two bytes", "\xc0\xaf"},
      {"overlong U+007F in two bytes", "\xc1\xbf"},
      {"overlong slash in three bytes", "\xe0\x80\xaf"},
      {"overlong U+07FF in three bytes", "\xe0\x9f\xbf"},
      {"overlong slash in four bytes", "\xf0\x80\x80\xaf"},
      {"overlong U+FFFF in four bytes", "\xf0\x8f\xbf\xbf"},
      {"the first surrogate, U+D800", "\xed\xa0\x80"},
      {"U+DBFF", "\xed\xaf\xbf"},
      {"U+DC00", "\xed\xb0\x80"},
      {"the last surrogate, U+DFFF", "\xed\xbf\xbf"},
      {"a pair of surrogates", "\xed\xa0\xbd\xed\xb8\x80"},
      {"U+110000", "\xf4\x90\x80\x80"},
      {"past U+10FFFF", "\xf5\x80\x80\x80"},
      {"five bytes", "\xf8\x88\x80\x80\x80"},
      {"six bytes", "\xfc\x84\x80\x80\x80\x80"},
      {"FE", "\xfe"},
      {"FF", "\xff"},
      {"two bytes, cut", "a\xc3"},
      {"three bytes, cut at one", "a\xe2"},
      {"three bytes, cut at two", "a\xe2\x82"},
      {"four bytes, cut at one", "a\xf0"},
      {"four bytes, cut at two", "a\xf0\x9f"},
      {"four bytes, cut at three", "a\xf0\x9f\x98"},
      {"two bytes, broken",
       "\xc3"
       "a"},
      {"three bytes, broken at the second",
       "\xe2"
       "a\xac"},
      {"three bytes, broken at the third",
       "\xe2\x82"
       "a"},
      {"four bytes, broken at the second",
       "\xf0"
       "a\x98\x80"},
      {"four bytes, broken at the third",
       "\xf0\x9f"
       "a\x80"},
      {"four bytes, broken at the fourth",
       "\xf0\x9f\x98"
       "a"},
      {"a sequence in a sequence", "\xe2\xc3\xa9"},
      {"Latin-1", "caf\xe9 au lait"},
  };
  for (const auto& [name, payload] : invalid) {
    table.push_back(refused(name, text_frame(payload), {invalid_payload}));
    for (const auto& bytes : divided(op::text, payload)) {
      table.push_back(refused(name + ", divided somewhere", bytes, {invalid_payload}));
    }
    table.push_back(
        refused(name + ", deep inside", text_frame(some(300) + payload + some(5)), {invalid_payload}));
    table.push_back(echoed(name + ", but binary", binary_frame(payload), {op::binary, payload}));
  }
  table.push_back({.name = "a good text before a bad one",
                   .bytes = text_frame("good") + text_frame("\xff"),
                   .replies = {{op::text, "good"}},
                   .codes = {invalid_payload}});
  // What one message leaves unfinished must not be finished by the next.
  table.push_back(refused("a character divided between two messages", text_frame("\xc3") + text_frame("\xa9"),
                          {invalid_payload}));
  table.push_back({.name = "a character around a ping",
                   .bytes = text_frame("\xe2\x82", false) + ping_frame("\xff") + continuation_frame("\xac"),
                   .replies = {{op::pong, "\xff"}, {op::text, "\xe2\x82\xac"}}});
  // Behind 64 KiB nobody may have lost count.
  const auto wide = some(limit - 4) + "\xf0\x9f\x98\x80";
  table.push_back(text_echoed("a character at the limit's end", text_frame(wide), wide));
  table.push_back(refused("a cut character at the limit's end", text_frame(some(limit - 3) + "\xf0\x9f\x98"),
                          {invalid_payload}));
  return table;
}

std::vector<row> close_rows() {
  std::vector<row> table{
      // RFC 6455 section 7.1.5: no code; the answer has none either, or 1000.
      refused("a close frame without a body", close_frame(0), {0, 1000}),
      refused("a close frame of one byte", make_frame(op::close, "\x03"), {protocol_error}),
      refused("a reason", close_frame(1000, "good bye"), {1000}),
      refused("a reason of 123 bytes", close_frame(1000, some(123)), {1000}),
      refused("a reason in UTF-8", close_frame(4000, "\xe2\x82\xac \xf0\x9f\x98\x80"), {4000}),
      // Section 7.1.6: the reason is text. Section 8.1 asks for 1007 where text is not UTF-8; that a close
      // frame with it is
      // a protocol error is right as well.
      refused("a reason that is not UTF-8", close_frame(1000, "\xff"), {protocol_error, invalid_payload}),
      refused("a reason that is cut", close_frame(1000, "abc\xe2\x82"), {protocol_error, invalid_payload}),
      refused("a reason of 124 bytes", close_frame(1000, some(124)), {protocol_error}),
      {.name = "a message before the close frame",
       .bytes = text_frame("last words") + close_frame(1001),
       .replies = {{op::text, "last words"}},
       .codes = {1001}},
      refused("a mask in the close frame's payload that looks like another code",
              make_frame(op::close, "\x03\xe8"s, {.mask = 0x03e803e8}), {1000}),
  };
  for (const unsigned code : {1000U, 1001U, 1002U, 1003U, 1007U, 1008U, 1009U, 1010U, 1011U, 1012U, 1013U,
                              3000U, 3999U, 4000U, 4999U}) {
    table.push_back(refused("code " + number(code), close_frame(code), {code}));
    table.push_back(refused("code " + number(code) + " with a reason", close_frame(code, "because"), {code}));
  }
  // Registered after the RFC, for gateways.
  table.push_back(refused("code 1014", close_frame(1014), {1014, protocol_error}));
  for (const unsigned code :
       {1U, 999U, 1004U, 1005U, 1006U, 1015U, 1016U, 1100U, 2000U, 2999U, 5000U, 65'535U}) {
    table.push_back(
        refused("code " + number(code) + ", which may not be sent", close_frame(code), {protocol_error}));
  }
  table.push_back(refused("code 0", make_frame(op::close, "\0\0"s), {protocol_error}));
  table.push_back(refused("code 0 with a reason", make_frame(op::close, "\0\0because"s), {protocol_error}));
  return table;
}

std::vector<row> ping_rows() {
  std::vector<row> table;
  for (std::size_t size = 0; size <= 125; ++size) {
    auto payload = some(size);
    for (auto& byte : payload) byte = static_cast<char>(byte ^ 0x80);  // any bytes
    table.push_back(echoed("a ping of " + number(size) + " bytes", ping_frame(payload), {op::pong, payload}));
  }
  return table;
}

}  // namespace

TEST_SUITE("conformance") {
  TEST_CASE("opcodes") {
    test_server server;
    check_all(server, opcode_rows());
  }

  TEST_CASE("payload lengths and their encodings") {
    test_server server;
    check_all(server, length_rows());
  }

  TEST_CASE("masks") {
    test_server server;
    check_all(server, mask_rows());
  }

  TEST_CASE("reserved bits without an extension") {
    test_server server;
    check_all(server, reserved_bit_rows());
  }

  TEST_CASE("fragmentation") {
    test_server server;
    check_all(server, fragment_rows());
  }

  TEST_CASE("the number of frames in a message") {
    test_server server;
    check_all(server, frame_count_rows());
  }

  TEST_CASE("UTF-8") {
    test_server server;
    check_all(server, utf8_rows());
  }

  TEST_CASE("close frames") {
    test_server server;
    check_all(server, close_rows());
  }

  TEST_CASE("pings of every size are answered with their payload") {
    test_server server;
    check_all(server, ping_rows());
  }

  TEST_CASE("a long message that comes byte by byte") {
    test_server server;
    const auto payload = some(20'000);
    check(server, text_echoed("20,000 bytes", text_frame(payload), payload), pace::bytewise);
    CHECK(server.serves());
  }

  TEST_CASE("what follows the peer's close frame is ignored") {
    test_server server;
    const std::vector<std::string> afterwards{
        text_frame("too late"),    ping_frame("too late"),     close_frame(4000),
        make_frame(3, "nonsense"), std::string(1'000, '\xff'), repeated(text_frame(some(125)), 1'000)};
    for (const auto& more : afterwards) {
      CAPTURE(more.size());
      raw_client client{server.port()};
      REQUIRE(client.open().status == 101);
      client.send(close_frame(1001) + more);
      const auto rest = client.read_conclusion();
      CHECK(rest.frames.empty());
      CHECK(rest.code() == 1001);
      CHECK(rest.bytes_after_close == 0);
    }
    CHECK(server.stats().messages_in == 0);
    CHECK(server.serves());
  }

  TEST_CASE("what follows an error is ignored") {
    test_server server;
    raw_client client{server.port()};
    REQUIRE(client.open().status == 101);
    client.send(text_frame("\xff") + repeated(text_frame(some(1'000)), 1'000) + close_frame(4000));
    const auto rest = client.read_conclusion();
    CHECK(rest.frames.empty());
    CHECK(rest.code() == 1007);
    CHECK(rest.end == stream_end::closed);
    CHECK(server.stats().messages_in == 0);
    CHECK(server.stats().protocol_failures == 1);
    CHECK(server.serves());
  }

  TEST_CASE("pings past the burst close with 1008") {
    auto options = quiet_options();
    options.limits.ping_burst = 50;
    options.limits.max_pings_per_second = 1;  // so that hardly anything is added while the burst arrives
    test_server server{options};
    std::vector<frame> pongs;
    std::string pings;
    const auto add = [&] {
      const auto payload = number(pongs.size());
      pings += ping_frame(payload);
      pongs.push_back({op::pong, payload});
    };
    while (pongs.size() < 49) add();
    check(server, {.name = "burst - 1", .bytes = pings, .replies = pongs});
    add();
    check(server, {.name = "burst", .bytes = pings, .replies = pongs});
    add();
    check(server, {.name = "burst + 1", .bytes = pings, .replies = pongs, .codes = {policy}});
    while (pongs.size() < 5'000) add();
    check(server, {.name = "a flood", .bytes = pings, .replies = pongs, .codes = {policy}});
    CHECK(server.serves());
  }

  TEST_CASE("without a ping rate every ping is answered") {
    auto options = quiet_options();
    options.limits.max_pings_per_second = 0;
    test_server server{options};
    check(server, {.name = "200 pings",
                   .bytes = repeated(ping_frame("x"), 200),
                   .replies = std::vector<frame>(200, frame{op::pong, "x"})});
    CHECK(server.serves());
  }

  TEST_CASE("limits of zero are no limits") {
    auto options = quiet_options();
    options.limits.max_message_frames = 0;
    options.limits.max_message_bytes = 0;
    options.limits.message_timeout = std::chrono::seconds{0};
    test_server server{options};
    check(server, text_echoed("3,000 frames",
                              text_frame("x", false) + repeated(continuation_frame("x", false), 2'998) +
                                  continuation_frame("x"),
                              std::string(3'000, 'x')));
    check(server, echoed("1 MiB", binary_frame(some(1 << 20)), {op::binary, some(1 << 20)}));
    CHECK(server.serves());
  }
}
