// Receiving compressed messages, and agreeing on them.

#include "wire/inflate.hpp"

#include "integration/deflate_peer.hpp"
#include "wire/deflate_terms.hpp"

#include <doctest/doctest.h>
#include <zlib.h>

#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace skein;
using namespace skein::detail;
using namespace std::string_literals;
using skein::test::deflate_form;
using skein::test::deflate_payload;

namespace {

struct result {
  close_code code = close_code::none;
  std::string message{};
  friend bool operator==(const result&, const result&) = default;
};

struct settings {
  std::size_t limit = 100'000;
  bool text = false;
  int window_bits = 15;
};

result inflated(std::string_view deflated, const settings& how = {}, std::size_t piece = 0) {
  message_inflater one{how.window_bits, how.limit, how.text};
  result out;
  while (!deflated.empty() && out.code == close_code::none) {
    const auto part = deflated.substr(0, piece == 0 ? deflated.size() : piece);
    out.code = one.take(part, out.message);
    deflated.remove_prefix(part.size());
  }
  if (out.code == close_code::none) out.code = one.finish(out.message);
  if (out.code != close_code::none) out.message.clear();
  return out;
}

void check_read(std::string_view deflated, const std::string& expected, const settings& how = {}) {
  CHECK(inflated(deflated, how) == result{close_code::none, expected});
  CHECK(inflated(deflated, how, 1) == result{close_code::none, expected});
  CHECK(inflated(deflated, how, 2) == result{close_code::none, expected});
}
void check_refused(std::string_view deflated, close_code code, const settings& how = {}) {
  CHECK(inflated(deflated, how) == result{code});
  CHECK(inflated(deflated, how, 1) == result{code});
  CHECK(inflated(deflated, how, 3) == result{code});
}

std::string prose(std::size_t size, unsigned seed = 1) {
  std::minstd_rand random{seed};
  std::string text;
  while (text.size() < size) {
    text += static_cast<char>('a' + random() % 16);
    if (random() % 5 == 0) text += " and then ";
  }
  text.resize(size);
  return text;
}

/// A stream that ends as zlib ends one: in a block that says it is the last.
std::string finished_stream(std::string_view payload) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(payload.size() + 100, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(payload.data()));
  stream.avail_in = static_cast<uInt>(payload.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

const auto hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"s;
constexpr auto invalid = close_code::invalid_payload;
constexpr auto too_big = close_code::message_too_big;

}  // namespace

TEST_SUITE("inflate") {
  TEST_CASE("the examples of RFC 7692 section 7.2.3") {
    check_read(hello, "Hello");
    check_read("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"s, "Hello");
    check_read("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"s, "Hello");
    check_read("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"s, "Hello");
    check_read("\x00"s, "");
    check_read("\x02\x00"s, "");
  }

  TEST_CASE("what zlib makes with any level, strategy, memory, window and flush") {
    const std::vector<std::string> payloads{
        "", "a", prose(40), prose(3'000), std::string(9'000, 'z'), prose(40'000)};
    for (const auto& payload : payloads) {
      bool all = true;
      for (int level = 0; level <= 9; ++level) {
        for (int strategy = 0; strategy <= 4; ++strategy) {
          const auto deflated = deflate_payload(payload, {.level = level, .strategy = strategy});
          all = all && inflated(deflated) == result{close_code::none, payload};
          all = all && inflated(deflated, {}, 7) == result{close_code::none, payload};
        }
      }
      for (int bits = 9; bits <= 15; ++bits) {
        const auto deflated = deflate_payload(payload, {.window_bits = bits});
        all = all && inflated(deflated, {.window_bits = bits}, 100) == result{close_code::none, payload};
      }
      for (int memory = 1; memory <= 9; ++memory) {
        const auto deflated = deflate_payload(payload, {.memory = memory, .full_flush = true, .block = 50});
        all = all && inflated(deflated) == result{close_code::none, payload};
      }
      CHECK(all);
    }
  }

  TEST_CASE("a stream may end in a final block, and go on behind it") {
    for (const auto& payload : {""s, "a"s, prose(20'000)}) {
      const auto finished = finished_stream(payload);
      check_read(finished + "\0"s, payload);  // with the empty block that RFC 7692 asks for
      check_read(finished, payload);          // without
      check_read(finished + finished + finished + "\0"s, payload + payload + payload);
      check_read(finished + deflate_payload("more"), payload + "more");
    }
    check_refused(finished_stream("a") + "\x07"s, invalid);
    check_refused(finished_stream("a") + "garbage", invalid);
  }

  TEST_CASE("a sender who leaves nothing out is understood, and so is one who sends nothing") {
    check_read(hello + "\x00\x00\xff\xff"s, "Hello");
    check_read("", "");
  }

  TEST_CASE("what does not inflate is refused") {
    check_refused("\x07\x00"s, invalid);
    check_refused("\x00\x05\x00\x00\x00Hello"s, invalid);
    check_refused("this is no deflate stream", invalid);
    check_refused("\xf2\x00\x11\x00\x00"s, invalid);
    check_refused("\xfd\xff\xff\xff\xff\xff\xff\xff"s, invalid);
    check_refused(hello.substr(0, 6) + "\x00\x00\x00\xff\xff\x06\x00"s, invalid);
  }

  TEST_CASE("a stream that is cut is refused, wherever it is cut") {
    const auto whole = deflate_payload(prose(500));
    for (std::size_t size = 1; size < whole.size() - 1; ++size) {
      CAPTURE(size);
      CHECK(inflated(std::string_view{whole}.substr(0, size)).code == invalid);
    }
    check_refused("\x00\x05\x00\xfa\xffHel"s, invalid);
  }

  TEST_CASE("a message has at most as many bytes as the limit, and not many more are ever made") {
    for (const std::size_t limit : {1U, 999U, 16'383U, 16'384U, 16'385U, 50'000U}) {
      for (const auto& payload : {prose(limit), std::string(limit, 'x')}) {
        CAPTURE(limit);
        const auto fits = deflate_payload(payload);
        const auto less = deflate_payload(std::string_view{payload}.substr(1));
        const auto more = deflate_payload(payload + "x");
        CHECK(inflated(less, {.limit = limit}) == result{close_code::none, payload.substr(1)});
        CHECK(inflated(fits, {.limit = limit}) == result{close_code::none, payload});
        CHECK(inflated(fits, {.limit = limit}, 1) == result{close_code::none, payload});
        CHECK(inflated(more, {.limit = limit}) == result{too_big});
        CHECK(inflated(more, {.limit = limit}, 1) == result{too_big});
      }
    }
    const auto bomb = deflate_payload(std::string(10 << 20, '\0'));
    message_inflater one{15, 1000, false};
    std::string message;
    CHECK(one.take(bomb, message) == too_big);
    CHECK(message.capacity() <= 2'000);
    CHECK(inflated(bomb, {.limit = 0}).message.size() == 10 << 20);
  }

  TEST_CASE("the largest limit there can be is a limit, and not the end of all progress") {
    constexpr auto largest = std::numeric_limits<std::size_t>::max();
    const auto payload = prose(40'000);
    for (const auto limit : {largest, largest - 1}) {
      check_read(hello, "Hello", {.limit = limit, .text = true});
      check_read(deflate_payload(payload), payload, {.limit = limit});
      check_refused("\x07\x00"s, invalid, {.limit = limit});
    }
  }

  TEST_CASE("text is UTF-8 when it is inflated") {
    const settings text{.text = true};
    check_read(deflate_payload("\xe2\x82\xac \xf0\x9f\x98\x80"), "\xe2\x82\xac \xf0\x9f\x98\x80", text);
    check_refused(deflate_payload("caf\xe9 au lait"), invalid, text);
    check_refused(deflate_payload("\xe2\x82"), invalid, text);
    check_read(deflate_payload("\xe2\x82"), "\xe2\x82");
    // Around the end of a step of inflating.
    const auto long_text = prose(16'383) + "\xc3\xa9";
    check_read(deflate_payload(long_text), long_text, text);
    check_refused(deflate_payload(prose(16'383) + "\xc3\xc3"), invalid, text);
    // The first thing that is wrong gives the code, however the message was divided.
    check_refused(deflate_payload(std::string(50, 'x') + "\xff" + std::string(50, 'x')), invalid,
                  {.limit = 60, .text = true});
    check_refused(deflate_payload(std::string(61, 'x') + "\xff"), too_big, {.limit = 60, .text = true});
  }

  TEST_CASE("contexts are made when they are needed, kept for the next message, and not without end") {
    std::thread{[] {
      CHECK(inflate_context::pooled() == 0);
      for (int i = 0; i < 3; ++i) CHECK(inflated(hello).message == "Hello");
      CHECK(inflate_context::pooled() == 1);
      {
        std::vector<message_inflater> many;
        many.reserve(20);
        for (int i = 0; i < 20; ++i) many.emplace_back(15, 100, true);
        CHECK(inflate_context::pooled() == 0);
      }
      CHECK(inflate_context::pooled() == inflate_context::max_pooled);
      // One that was used halfway begins anew; another window is another.
      for (int bits = 8; bits <= 15; ++bits) CHECK(inflated("\x07", {.window_bits = bits}).code == invalid);
      for (int bits = 8; bits <= 15; ++bits) {
        CHECK(inflated(hello.substr(0, 3), {.window_bits = bits}).code == invalid);
        CHECK(inflated(hello, {.window_bits = bits}).message == "Hello");
      }
    }}.join();
  }

  TEST_CASE("an inflater that is moved goes on where it was") {
    std::string message;
    message_inflater first{15, 100, true};
    CHECK(first.take(hello.substr(0, 4), message) == close_code::none);
    message_inflater second{std::move(first)};
    CHECK(second.take(hello.substr(4), message) == close_code::none);
    CHECK(second.finish(message) == close_code::none);
    CHECK(message == "Hello");
  }

  TEST_CASE("a context may be given back on a thread that has no pool, or whose pool is gone") {
    std::optional<message_inflater> from_another;
    std::thread{[&] { from_another.emplace(15, 100, true); }}.join();
    std::thread{[&] {
      CHECK(inflate_context::pooled() == 0);
      from_another.reset();
    }}.join();
    CHECK(!from_another);
  }
}

TEST_SUITE("deflate_terms") {
  std::string answer(const std::vector<std::string_view>& headers) {
    const auto terms = choose_offer(headers);
    return terms ? terms->answer() : "none";
  }
  const auto plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"s;

  TEST_CASE("offers that are accepted, and the answer") {
    CHECK(answer({"permessage-deflate"}) == plain);
    CHECK(answer({"PerMessage-Deflate; Client_Max_Window_Bits"}) == plain);
    CHECK(answer({"permessage-deflate; server_no_context_takeover; client_no_context_takeover"}) == plain);
    CHECK(answer({"permessage-deflate; client_max_window_bits"}) == plain);
    CHECK(answer({"permessage-deflate; client_max_window_bits=8"}) == plain + "; client_max_window_bits=8");
    CHECK(answer({"permessage-deflate; client_max_window_bits=15"}) == plain + "; client_max_window_bits=15");
    for (int bits = 9; bits <= 15; ++bits) {
      const auto window = "; server_max_window_bits=" + std::to_string(bits);
      CHECK(answer({"permessage-deflate" + window}) == plain + window);
    }
    CHECK(answer({"permessage-deflate;server_max_window_bits=12;client_max_window_bits=11"}) ==
          plain + "; server_max_window_bits=12; client_max_window_bits=11");
    CHECK(answer({" permessage-deflate \t; server_max_window_bits = 10 "}) ==
          plain + "; server_max_window_bits=10");
    CHECK(answer({"permessage-deflate; server_max_window_bits=\"10\""}) ==
          plain + "; server_max_window_bits=10");
    CHECK(answer({"permessage-deflate; server_max_window_bits=\"1\\0\""}) ==
          plain + "; server_max_window_bits=10");
  }

  TEST_CASE("the windows that were agreed on") {
    const std::vector<std::string_view> offers{
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10"};
    const auto terms = choose_offer(offers);
    REQUIRE(terms);
    CHECK(terms->server_window_bits == 9);
    CHECK(terms->client_window_bits == 10);
  }

  TEST_CASE("the first offer that can be accepted is, of one header or of several") {
    CHECK(answer({"x-unknown; a=1, permessage-deflate"}) == plain);
    CHECK(
        answer(
            {"permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9"}) ==
        plain + "; server_max_window_bits=9");
    CHECK(answer({"permessage-deflate; turbo", "permessage-deflate"}) == plain);
    CHECK(answer({"x-unknown", ", ,permessage-deflate,,"}) == plain);
    CHECK(answer({"permessage-deflate; server_max_window_bits=11, permessage-deflate"}) ==
          plain + "; server_max_window_bits=11");
    CHECK(answer({"x; y=\"a\", permessage-deflate"}) == plain);
  }

  TEST_CASE("offers that are declined") {
    for (const auto* parameter : {"turbo",
                                  "server_max_window_bits",
                                  "server_max_window_bits=7",
                                  "server_max_window_bits=8",
                                  "server_max_window_bits=16",
                                  "server_max_window_bits=0",
                                  "server_max_window_bits=-9",
                                  "server_max_window_bits=010",
                                  "server_max_window_bits=1x",
                                  "server_max_window_bits=99999999999999999999",
                                  "client_max_window_bits=7",
                                  "client_max_window_bits=16",
                                  "client_max_window_bits=x",
                                  "client_max_window_bits=20",
                                  "server_no_context_takeover=1",
                                  "client_no_context_takeover=1",
                                  "server_no_context_takeover; server_no_context_takeover",
                                  "client_no_context_takeover; client_no_context_takeover",
                                  "server_max_window_bits=10; server_max_window_bits=10",
                                  "client_max_window_bits; client_max_window_bits=10"}) {
      CAPTURE(parameter);
      CHECK(answer({"permessage-deflate; "s + parameter}) == "none");
    }
    CHECK(answer({}) == "none");
    CHECK(answer({""}) == "none");
    CHECK(answer({"x-webkit-deflate-frame"}) == "none");
    CHECK(answer({"permessage-deflate2"}) == "none");
  }

  TEST_CASE("a header that is not written as RFC 6455 section 9.1 says is not guessed at") {
    for (const auto* header : {"permessage-deflate; ", "permessage-deflate;;", "permessage-deflate; =1",
                               "permessage-deflate; a=", "permessage-deflate; server_max_window_bits=\"10",
                               "permessage-deflate; a=\"b c\"", "permessage-deflate; a=\"\\",
                               "permessage-deflate x", "permessage-deflate, ;", "\"permessage-deflate\"",
                               "permessage-deflate, x y", "permessage-deflate; a=\"\""}) {
      CAPTURE(header);
      CHECK(answer({header}) == "none");
      CHECK(answer({"permessage-deflate", header}) == "none");
    }
  }
}
