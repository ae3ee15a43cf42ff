#include "counting_new.hpp"
#include "wire/deflate.hpp"
#include "wire/frame.hpp"
#include "wire/frame_block.hpp"
#include "wire/frame_scanner.hpp"
#include "wire/outbox.hpp"
#include "wire/web_address.hpp"

#include <skein/error.hpp>
#include <skein/message.hpp>

#include <doctest/doctest.h>
#include <zlib.h>

#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace skein;
using namespace skein::detail;

namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const auto value : values) out += static_cast<char>(value);
  return out;
}

std::string inflate_message(std::string compressed, int window_bits = 15) {
  compressed += bytes({0x00, 0x00, 0xff, 0xff});
  z_stream stream{};
  REQUIRE(inflateInit2(&stream, -window_bits) == Z_OK);
  std::string out(1 << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(compressed.data());
  stream.avail_in = static_cast<uInt>(compressed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const auto result = inflate(&stream, Z_SYNC_FLUSH);
  CHECK((result == Z_OK || result == Z_BUF_ERROR));
  out.resize(out.size() - stream.avail_out);
  inflateEnd(&stream);
  return out;
}

std::string client_frame(int first_byte, std::string_view payload) {
  std::string frame{static_cast<char>(first_byte)};
  if (payload.size() < 126) {
    frame += static_cast<char>(0x80U | payload.size());
  } else {
    frame += static_cast<char>(0xfe);
    frame += static_cast<char>(payload.size() >> 8U);
    frame += static_cast<char>(payload.size() & 0xffU);
  }
  frame += "mask";
  frame += payload;
  return frame;
}

}  // namespace

TEST_SUITE("frame") {
  TEST_CASE("a header has the shortest length that RFC 6455 allows, at each boundary") {
    CHECK(encode_header(opcode::text, 0).view() == bytes({0x81, 0}));
    CHECK(encode_header(opcode::binary, 125).view() == bytes({0x82, 125}));
    CHECK(encode_header(opcode::binary, 126).view() == bytes({0x82, 126, 0, 126}));
    CHECK(encode_header(opcode::text, 65535).view() == bytes({0x81, 126, 0xff, 0xff}));
    CHECK(encode_header(opcode::text, 65536).view() == bytes({0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}));
    CHECK(encode_header(opcode::text, 5, true).view() == bytes({0xc1, 5}));
  }

  TEST_CASE("a close frame carries its code in network order, and no code is no payload") {
    CHECK(encode_close(close_code::normal, "bye") == bytes({0x88, 5, 0x03, 0xe8}) + "bye");
    CHECK(encode_close(close_code::none, "ignored") == bytes({0x88, 0}));
  }

  TEST_CASE("a close text of 123 bytes is sent whole, one of 124 is cut") {
    CHECK(encode_close(close_code::normal, std::string(122, 'x')).size() == 2 + 2 + 122);
    CHECK(encode_close(close_code::normal, std::string(123, 'x')).size() == 2 + 2 + 123);
    CHECK(encode_close(close_code::normal, std::string(124, 'x')).size() == 2 + 2 + 123);
  }

  TEST_CASE("a text is never cut inside a character") {
    CHECK(cut_utf8("abc", 3) == "abc");
    CHECK(cut_utf8("a\xc3\xa4", 2) == "a");
    CHECK(cut_utf8("a\xc3\xa4", 3) == "a\xc3\xa4");
    CHECK(cut_utf8("\xf0\x9f\x98\x80", 3) == "");
  }

  TEST_CASE("a text that ends inside a character is noticed") {
    for (const auto* whole :
         {"", "a", "a\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80z"}) {
      CHECK(!cut_utf8_tail(whole));
    }
    for (const auto* cut : {"\xc3", "a\xc3", "\xe2", "\xe2\x82", "\xf0", "\xf0\x9f", "x\xf0\x9f\x98"}) {
      CHECK(cut_utf8_tail(cut));
    }
  }

  TEST_CASE("only codes that may stand in a close frame are sendable") {
    for (const int code : {1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4000, 4999}) {
      CHECK_MESSAGE(is_sendable(static_cast<close_code>(code)), code);
    }
    for (const int code : {0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000}) {
      CHECK_MESSAGE(!is_sendable(static_cast<close_code>(code)), code);
    }
  }
}

TEST_SUITE("prepared_message") {
  TEST_CASE("a message is encoded once, small or large") {
    for (const std::size_t size : {0UL, 1UL, 125UL, 126UL, 4096UL, 4097UL, 65536UL}) {
      const prepared_message prepared{message::binary(std::string(size, 'x'))};
      const auto view = prepared.block()->plain();
      CHECK(view.size() == encode_header(opcode::binary, size).size + size);
      CHECK(prepared.size() == size);
      CHECK(prepared.type() == opcode::binary);
    }
  }

  TEST_CASE("the compressed form inflates to the payload and is made once for all threads") {
    std::string payload;
    while (payload.size() < 5000) payload += R"({"symbol":"AAPL","price":190.25})";
    const prepared_message prepared{message::text(payload)};
    std::vector<std::thread> threads;
    std::vector<const char*> made(4);
    for (auto& place : made) {
      threads.emplace_back([&place, prepared] { place = prepared.block()->compressed(6).head.data(); });
    }
    for (auto& one : threads) one.join();
    for (const auto* place : made) CHECK(place == made.front());

    REQUIRE(prepared.block()->has_compressed());
    const auto frame = prepared.block()->compressed(6).head;
    CHECK(static_cast<unsigned char>(frame[0]) == 0xc1);
    const auto body = frame.substr(frame[1] == 126 ? 4 : 2);
    CHECK(inflate_message(std::string{body}) == payload);
  }

  TEST_CASE("what does not become smaller is sent as it is") {
    std::mt19937 random{1};
    std::string noise;
    for (int i = 0; i < 1000; ++i) noise += static_cast<char>(random());
    const prepared_message prepared{message::binary(noise)};
    CHECK(prepared.block()->compressed(9).size() == prepared.block()->plain().size());
    CHECK(!prepared.block()->has_compressed());
    CHECK(!deflate_message("", 6));
  }

  TEST_CASE("a peer with a small window gets a compressed message only if it fits into the window") {
    CHECK(window_suffices(512, 9));
    CHECK(!window_suffices(513, 9));
    CHECK(window_suffices(std::size_t{1} << 20U, 15));
    std::string payload;
    while (payload.size() < 512) payload += "abcdefgh";
    const auto body = deflate_message(payload, 6);
    REQUIRE(body);
    CHECK(inflate_message(*body, 9) == payload);
  }

  TEST_CASE("copies share one encoding, and the last one frees it") {
    prepared_message first{message::text("x")};
    const prepared_message second = first;
    CHECK(first.block() == second.block());
    first = prepared_message{};
    CHECK(second.payload() == "x");
    CHECK(!first);
  }
}

TEST_SUITE("message") {
  TEST_CASE("a value: type and payload, on either side of the size from which it is moved") {
    for (const std::size_t size : {0UL, 1UL, 4095UL, 4096UL, 4097UL}) {
      CAPTURE(size);
      const std::string payload(size, 'x');
      const auto what = message::binary(payload);
      CHECK(what.is_binary());
      CHECK(what.size() == size);
      CHECK(what.payload() == payload);
      CHECK(what == message::binary(payload));
      CHECK(what != message::text(payload));
      CHECK(what != message::binary(payload + 'y'));
    }
    CHECK(message{} == message::text(""));
  }

  TEST_CASE("what is sent on is not copied, nor encoded again") {
    for (const std::size_t size : {1UL, 4096UL, 4097UL}) {
      CAPTURE(size);
      auto received = message::text(std::string(size, 'x'));
      const auto* const place = received.payload().data();
      const auto before = counting::so_far();
      const prepared_message shared{received};
      const prepared_message sent{std::move(received)};
      CHECK(counting::so_far().allocations == before.allocations);
      CHECK(shared.payload().data() == place);
      CHECK(sent.payload().data() == place);
    }
  }

  TEST_CASE("what was moved from is empty, and can be sent") {
    auto from = message::binary("x");
    const auto to = std::move(from);
    CHECK(from.payload().empty());  // NOLINT: that is the question
    CHECK(from.is_binary());
    CHECK(prepared_message{from}.size() == 0);
    CHECK(prepared_message{from}.type() == opcode::binary);
    CHECK(to.payload() == "x");
  }

  TEST_CASE("the payload is taken out: moved if it is large and nobody shares it") {
    for (const std::size_t size : {0UL, 1UL, 4096UL, 4097UL}) {
      CAPTURE(size);
      const std::string payload(size, 'x');
      auto alone = message::binary(payload);
      const auto* const place = alone.payload().data();
      const auto taken = alone.release();
      CHECK(taken == payload);
      CHECK((taken.data() == place) == (size > 4096));
      CHECK(alone == message::binary(""));

      auto one = message::binary(payload);
      const auto other = one;
      CHECK(one.release() == payload);
      CHECK(one.size() == 0);
      CHECK(other.payload() == payload);
    }
  }

  TEST_CASE("taking the payload out without memory changes nothing" * doctest::skip(!counting::counts)) {
    auto what = message::text(std::string(100, 'x'));
    counting::let_fail(1);
    CHECK_THROWS_AS(static_cast<void>(what.release()), std::bad_alloc);
    counting::let_fail(0);
    CHECK(what.payload() == std::string(100, 'x'));
  }
}

TEST_SUITE("frame_scanner") {
  TEST_CASE("frames are found wherever the bytes are cut") {
    const auto stream = client_frame(0x01, "first") + client_frame(0x89, "ping") + client_frame(0x00, "") +
                        client_frame(0x80, std::string(300, 'x')) + client_frame(0x82, "");
    for (std::size_t cut = 1; cut <= stream.size(); ++cut) {
      frame_scanner scanner;
      std::vector<std::uint64_t> ends;
      std::size_t position = 0;
      for (std::size_t begin = 0; begin < stream.size(); begin += cut) {
        auto chunk = std::string_view{stream}.substr(begin, cut);
        while (!chunk.empty()) {
          const auto step = scanner.advance(chunk);
          position += step.bytes;
          chunk.remove_prefix(step.bytes);
          if (step.message_complete) ends.push_back(position);
        }
      }
      REQUIRE(ends.size() == 2);
      CHECK(ends[0] == stream.size() - 6);
      CHECK(ends[1] == stream.size());
      CHECK(!scanner.in_message());
    }
  }

  TEST_CASE("it counts the frames of a message, the last one too, and no control frames") {
    frame_scanner scanner;
    CHECK(scanner.advance(client_frame(0x01, "a")).frames == 1);
    CHECK(scanner.in_message());
    CHECK(scanner.advance(client_frame(0x8a, "")).frames == 1);
    CHECK(scanner.advance(client_frame(0x00, "")).frames == 2);
    CHECK(scanner.advance(client_frame(0x80, "")).frames == 3);
    CHECK(!scanner.in_message());
    CHECK(scanner.advance(client_frame(0x81, "next")).frames == 1);
  }

  TEST_CASE("where headers are split off, a step ends behind the header too") {
    frame_scanner scanner;
    scanner.split_headers();
    const auto one = client_frame(0x81, "one");
    auto step = scanner.advance(one);
    CHECK(step.bytes == 6);
    CHECK(!step.message_complete);
    step = scanner.advance(std::string_view{one}.substr(6));
    CHECK(step.bytes == 3);
    CHECK(step.message_complete);
    CHECK(scanner.advance(client_frame(0x82, "")).message_complete);
  }

  TEST_CASE("a step ends with its frame, so that no byte of the next one comes along") {
    frame_scanner scanner;
    const auto first = client_frame(0x81, "one");
    const auto step = scanner.advance(first + client_frame(0x81, "two"));
    CHECK(step.bytes == first.size());
    CHECK(step.message_complete);
  }
}

TEST_SUITE("web_address") {
  std::optional<web_address> read(std::string_view url) {
    return parse_web_address(url, "ws", "wss");
  }

  TEST_CASE("hosts, ports and targets") {
    struct row {
      std::string_view url;
      bool tls;
      std::string_view host, port, target, authority;
      bool literal;
    };
    for (const auto& one : std::vector<row>{
             {"ws://example.org", false, "example.org", "80", "/", "example.org", false},
             {"wss://example.org", true, "example.org", "443", "/", "example.org", false},
             {"wss://example.org/a/b?c=d&e", true, "example.org", "443", "/a/b?c=d&e", "example.org", false},
             {"ws://a_b-c.d:8080/", false, "a_b-c.d", "8080", "/", "a_b-c.d:8080", false},
             {"ws://localhost:443/x", false, "localhost", "443", "/x", "localhost:443", false},
             {"wss://localhost:443/x", true, "localhost", "443", "/x", "localhost", false},
             {"ws://127.0.0.1:65535/", false, "127.0.0.1", "65535", "/", "127.0.0.1:65535", true},
             {"ws://[::1]/", false, "::1", "80", "/", "[::1]", true},
             {"wss://[fe80::1]:1/x:y", true, "fe80::1", "1", "/x:y", "[fe80::1]:1", true},
         }) {
      CAPTURE(one.url);
      const auto got = read(one.url);
      REQUIRE(got);
      CHECK(got->tls == one.tls);
      CHECK(got->host == one.host);
      CHECK(got->port == one.port);
      CHECK(got->target == one.target);
      CHECK(got->authority() == one.authority);
      CHECK(got->literal == one.literal);
    }
  }

  TEST_CASE("what is written in any other way is none") {
    for (const auto* url : {"",
                            "ws",
                            "ws:",
                            "ws://",
                            "ws:///x",
                            "http://example.org",
                            "example.org",
                            "wsx://example.org",
                            "ws://example.org#part",
                            "ws://example.org/#part",
                            "ws://example.org/a b",
                            "ws://example.org/\x7f",
                            "ws://example.org?x=1",
                            "ws://user@example.org/",
                            "ws://ex ample.org/",
                            "ws://example.org:/",
                            "ws://example.org:http/",
                            "ws://example.org:65536/",
                            "ws://example.org:123456/",
                            "ws://example.org:-1/",
                            "ws://[::1/",
                            "ws://[::1]x/",
                            "ws://[::g]/",
                            "ws://[]/",
                            "ws://[1.2.3.4]/",
                            "ws://::1/",
                            "ws://:80/"}) {
      CAPTURE(url);
      CHECK(!read(url));
    }
    CHECK(read("ws://" + std::string(253, 'a')));
    CHECK(!read("ws://" + std::string(254, 'a')));
  }
}

TEST_SUITE("errc") {
  TEST_CASE("every error has a sentence of its own") {
    CHECK(std::string_view{skein_category().name()} == "skein");
    std::set<std::string> sentences;
    constexpr int last = static_cast<int>(errc::message_too_big);
    for (int value = 1; value <= last; ++value) {
      const error_code code = static_cast<errc>(value);
      CHECK(code.value() == value);
      CHECK(code.category() == skein_category());
      sentences.insert(code.message());
    }
    CHECK(sentences.size() == last);
    for (const int unknown : {0, last + 1}) {
      CHECK(skein_category().message(unknown) == "unknown error");
      CHECK(sentences.count(skein_category().message(unknown)) == 0);
    }
  }
}

TEST_SUITE("outbox") {
  TEST_CASE(
      "what Beast would post is kept until it is run, each once, and what that posts until the next time") {
    posted_functions posted;
    const outbox_executor executor{posted};
    int runs = 0;
    CHECK(posted.empty());
    executor.execute([&] {
      ++runs;
      executor.execute([&] { runs += 10; });
    });
    CHECK(runs == 0);
    CHECK(!posted.empty());
    posted.run();
    CHECK(runs == 1);
    CHECK(!posted.empty());
    posted.run();
    CHECK(runs == 11);
    CHECK(posted.empty());
  }

  TEST_CASE("an executor is its queue, and never runs anything within the call") {
    namespace execution = boost::asio::execution;
    posted_functions one, other;
    const outbox_executor executor{one};
    CHECK(executor == outbox_executor{one});
    CHECK(executor != outbox_executor{other});
    CHECK(boost::asio::require(executor, execution::blocking.never) == executor);
    CHECK(outbox_executor::query(execution::blocking) == execution::blocking.never);
    CHECK(&executor.query(execution::context) == &outbox_executor{other}.query(execution::context));
  }

  TEST_CASE("reading without input would block, writing is collected") {
    posted_functions posted;
    outbox layer{posted};
    char room[4];
    boost::system::error_code ec;
    CHECK(layer.read_some(boost::asio::buffer(room), ec) == 0);
    CHECK(ec == boost::asio::error::would_block);
    CHECK_THROWS_AS(layer.read_some(boost::asio::buffer(room)), boost::system::system_error);
    CHECK(layer.write_some(boost::asio::buffer("ab", 2), ec) == 2);
    CHECK(!ec);
    CHECK(layer.write_some(boost::asio::buffer("c", 1)) == 1);
    CHECK(layer.output() == "abc");
    layer.clear_output();
    CHECK(!layer.has_output());
  }
}
