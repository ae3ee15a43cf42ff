// Everything a peer may do to do harm: bytes and behaviours, and what each is answered with. After each row
// the server serves everybody else. Rows are cheap: add yours.

#include "crowd.hpp"
#include "tokens.hpp"

#include <doctest/doctest.h>

#include <initializer_list>
#include <memory>
#include <optional>

using namespace skein::test;
using namespace std::string_literals;

namespace {

// --- Before the upgrade ---

struct request_row {
  const char* what;
  std::string bytes;
  unsigned status;  ///< 0: the stream ends without an answer
};

std::string repeated(std::string_view text, std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

std::string numbered_fields(std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += "X-" + std::to_string(i) + ": y\r\n";
  return all;
}

std::vector<request_row> requests() {
  const auto long_token = bearer(std::string(5'000, 'a'));
  return {
      {"nonsense", "\x01\x02\x03\x04\r\n\r\n", 400},
      {"a TLS hello to a port in clear", "\x16\x03\x01\x00\x05hello\r\n\r\n"s, 400},
      {"a PROXY header nobody asked for", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n\r\n" + get("/"), 400},
      {"HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
      {"a request line without an end", std::string(9'000, 'G'), 431},
      {"a target past every limit", "GET /" + std::string(9'000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
      {"a header past every limit", get("/who", "X: " + std::string(9'000, 'x') + "\r\n"), 431},
      {"too many header fields", get("/who", numbered_fields(100)), 431},
      {"no Host", "GET /who HTTP/1.1\r\n\r\n", 400},
      {"two Hosts", get("/who", "Host: other\r\n"), 400},
      {"a field without a colon", get("/who", "nonsense\r\n"), 400},
      {"a space before the colon", get("/who", "X : y\r\n"), 400},
      {"a zero byte in a value", get("/who", "X: \0y\r\n"s), 400},
      {"a bare line feed in a name", get("/who", "X\n: y\r\n"), 400},
      {"two lengths that differ", get("/who", "Content-Length: 1\r\nContent-Length: 2\r\n"), 400},
      {"a negative length", get("/who", "Content-Length: -1\r\n"), 400},
      {"a coding that does not say where it ends", get("/who", "Transfer-Encoding: gzip\r\n"), 400},
      {"chunked, and another coding over it", get("/who", "Transfer-Encoding: chunked, gzip\r\n"), 400},
      {"the same in two fields", get("/who", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
       400},
      {"almost chunked", get("/who", "Transfer-Encoding: xchunked\r\n"), 400},
      {"no coding at all", get("/who", "Transfer-Encoding:\r\n"), 400},
      {"a field that goes on in a second line", get("/who", "X: a\r\n b\r\n"), 400},
      {"the same with a tab", get("/who", "Transfer-Encoding:\r\n\tchunked\r\n"), 400},
      {"a target of another scheme", "GET ftp://x/who HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a target without a host", "GET http:///who HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a target that is no path", "GET x?y://z/who HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a target with a fragment", "GET /who#x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a path that is in the query of a whole URI", "GET http://x?y=/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
       404},
      {"a whole URI", "GET HTTP://x/who HTTP/1.1\r\nHost: x\r\n\r\n", 426},
      {"a target that is a scheme alone", "GET http HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a target that is a star", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a Host with a path", "GET /who HTTP/1.1\r\nHost: x/y\r\n\r\n", 400},
      {"a Host with a user", "GET /who HTTP/1.1\r\nHost: u@x\r\n\r\n", 400},
      {"a Host with a space", "GET /who HTTP/1.1\r\nHost: x y\r\n\r\n", 400},
      {"an empty Host", "GET /who HTTP/1.1\r\nHost:\r\n\r\n", 426},
      {"a Host of IPv6", "GET /who HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 426},
      {"another method on a route", get("/who", {}, "1.1", "POST"), 405},
      {"DELETE where nothing is", get("/nothing", {}, "1.1", "DELETE"), 404},
      {"an upgrade to nothing", upgrade_request("/nothing"), 404},
      {"an upgrade out of the root", upgrade_request("/../../etc/passwd"), 404},
      {"an upgrade with HTTP/1.0", get("/who", "Connection: Upgrade\r\nUpgrade: websocket\r\n", "1.0"), 426},
      {"a route without an upgrade", get("/who"), 426},
      {"an upgrade to something else", get("/who", "Connection: Upgrade\r\nUpgrade: h2c\r\n"), 426},
      {"an old version of the protocol", upgrade_with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"),
       426},
      {"no key", upgrade_with("Sec-WebSocket-Key", ""), 400},
      {"a key of the wrong length", upgrade_with("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ="), 400},
      {"another page's origin", upgrade_request("/who", "Origin: https://evil.example\r\n"), 403},
      {"two origins", upgrade_request("/who", "Origin: http://localhost\r\nOrigin: http://localhost\r\n"),
       403},
      {"the origin null", upgrade_request("/who", "Origin: null\r\n"), 403},
      {"no token", upgrade_request("/who"), 401},
      {"a forged token", upgrade_request("/who", bearer(forged_token())), 401},
      {"an expired token", upgrade_request("/who", bearer(token_for("ada", 0))), 401},
      {"a token without a signature",
       upgrade_request("/who", bearer(jwt_test::base64url(R"({"alg":"none"})") + "." +
                                      jwt_test::base64url(R"({"sub":"ada","exp":2893456000})") + ".")),
       401},
      {"a token that is one long word", upgrade_request("/who", long_token), 401},
      {"a token of dots", upgrade_request("/who", bearer(repeated(".", 3'000))), 401},
      {"an empty token", upgrade_request("/who", "Authorization: Bearer \r\n"), 401},
      {"a name and a password", upgrade_request("/who", "Authorization: Basic YTpi\r\n"), 401},
      {"a token in a query that is not read", upgrade_request("/who?token=" + token_for("ada")), 401},
      {"a token in a cookie that is not read",
       upgrade_request("/who", "Cookie: token=" + token_for("ada") + "\r\n"), 401},
      {"two tokens", upgrade_request("/who", bearer(token_for("ada")) + bearer(token_for("bob"))), 400},
      {"a forged address",
       upgrade_request("/who", "X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n"), 401},
  };
}

// --- After the upgrade ---

struct frame_row {
  const char* what;
  std::string bytes;
  int code;            ///< of the close frame
  int beast_code = 0;  ///< where Beast's engine says something else (docs/explanation/engines.md)
};

std::string with(unsigned opcode, std::string_view payload, frame_form form) {
  return make_frame(opcode, payload, form);
}

std::vector<frame_row> frames() {
  frame_form unmasked;
  unmasked.masked = false;
  frame_form reserved;
  reserved.rsv = rsv1;
  frame_form other_reserved;
  other_reserved.rsv = rsv2 | rsv3;
  frame_form fragment;
  fragment.fin = false;
  frame_form long_form;
  long_form.length = length_form::in_64_bits;
  frame_form huge;
  huge.length = length_form::in_64_bits;
  huge.declared = std::uint64_t{1} << 40U;
  frame_form negative = huge;
  negative.declared = std::uint64_t{1} << 63U;
  frame_form just_past;
  just_past.length = length_form::in_64_bits;
  just_past.declared = 64 * 1024 + 1;
  return {
      {"a frame without a mask", with(op::text, "x", unmasked), 1002},
      {"a reserved bit", with(op::text, "x", reserved), 1002},
      {"two reserved bits", with(op::text, "x", other_reserved), 1002},
      {"the opcode 3", with(3, "x", {}), 1002},
      {"the opcode 15", with(15, "", {}), 1002},
      {"a ping in fragments", with(op::ping, "x", fragment), 1002},
      {"a close in fragments", with(op::close, "", fragment), 1002},
      {"a ping of 126 bytes", ping_frame(std::string(126, 'x')), 1002},
      {"a length written too long", with(op::text, "x", long_form), 1002},
      {"a length of 2^63", with(op::text, "", negative), 1002, 1009},
      {"a terabyte announced", with(op::text, "", huge), 1009},
      {"a byte too many announced", with(op::binary, "", just_past), 1009},
      {"a byte too many in fragments",
       text_frame(std::string(64 * 1024, 'x'), false) + continuation_frame("x"), 1009},
      {"a continuation of nothing", continuation_frame("x"), 1002},
      {"a message within a message", text_frame("x", false) + text_frame("y"), 1002},
      {"endless empty fragments", text_frame("", false) + repeated(continuation_frame("", false), 1'100),
       1008},
      {"a flood of pings", repeated(ping_frame("x"), 60), 1008},
      {"text that is not UTF-8", text_frame("\xc3\x28"), 1007},
      {"half a surrogate pair", text_frame("\xed\xa0\x80"), 1007},
      {"a character cut at the end", text_frame("\xe2\x82"), 1007},
      {"a close of one byte", with(op::close, "\x03", {}), 1002},
      {"a close with a code that may not be sent", close_frame(1005), 1002},
      {"a close with the code 0", with(op::close, "\0\0"s, {}), 1002},
      {"a close whose text is not UTF-8", close_frame(1000, "\xff"), 1007, 1002},
      {"a flood of messages", repeated(text_frame("x"), 60), 1008},
      {"a flood of bytes", repeated(binary_frame(std::string(30'000, 'x')), 10), 1008},
  };
}

struct message_row {
  const char* what;
  std::string payload;
  const char* code;
};

std::vector<message_row> messages() {
  return {
      {"no JSON", "hello", "malformed"},
      {"nothing", "", "malformed"},
      {"JSON and more", R"({"type":"x"} {})", "malformed"},
      {"a comment", R"({"type":"x"/* */})", "malformed"},
      {"a comma too many", R"({"type":"x",})", "malformed"},
      {"60,000 brackets", std::string(60'000, '['), "wrong_type"},
      {"brackets in a field", R"({"type":"x","a":)" + std::string(60'000, '['), "too_deep"},
      {"2,000 fields' worth of items", R"({"type":"x","a":[)" + repeated("1,", 2'000) + "1]}",
       "too_many_elements"},
      {"a field twice", R"({"type":"x","type":"y"})", "duplicate_field"},
      {"the wrong type", R"({"type":1})", "wrong_type"},
      {"no type", "{}", "missing_field"},
      {"a number past every double", R"({"type":"x","a":1e999})", "out_of_range"},
      {"half a surrogate pair, escaped", R"({"type":"\ud800"})", "malformed"},
      {"a control character", "{\"type\":\"\x01\"}", "malformed"},
      {"a list", "[]", "wrong_type"},
      {"null", "null", "wrong_type"},
  };
}

struct target : token_server {
  target()
      : token_server(
            [](skein::token_options&, skein::server_options& how) {
              how.clients.messages = skein::rate{20};
              how.clients.bytes = skein::rate{1 << 17, 1 << 17};
            },
            [](skein::server& one) {
              skein::route_options json;
              json.anonymous = true;
              json.validator = std::make_shared<skein::json_validator>(
                  skein::schema::object().required("type", skein::schema::text()));
              one.route("/json", echo, json);
              skein::route_options open;
              open.anonymous = true;
              one.route("/open", echo, open);
              open.messages = open.bytes = skein::rate{};
              one.route("/crowd", echo, open);
            }) {}
  /// Whether somebody who does nothing wrong is served.
  [[nodiscard]] bool serves() const {
    raw_client other{server.port()};
    if (other.open("/who", bearer(token_for("good"))).status != 101) return false;
    const auto hello = other.read_message();
    if (!hello || hello->payload != "you are good") return false;
    other.send(text_frame("anybody there?"));
    const auto echo = other.read_message();
    if (!echo || echo->payload != "anybody there?") return false;
    other.send(close_frame());
    return other.read_conclusion().code() == 1000;
  }
};

/// What the first byte of a conversation's first frame, a masked one with one byte of payload, must lead to:
/// the code of a close frame, 0 for a close frame of the peer's own, nothing if the connection lives on.
std::optional<int> verdict_on(unsigned first) {
  const bool fin = (first & 0x80U) != 0;
  const auto opcode = first & 0x0fU;
  if ((first & 0x70U) != 0) return 1002;  // RFC 6455 section 5.2: no extension
  if (opcode == op::text || opcode == op::binary) return std::nullopt;
  if (opcode == op::continuation || opcode < 8 || opcode > 10) return 1002;
  if (!fin || opcode == op::close) return 1002;  // section 5.5; half a close code
  return std::nullopt;
}

/// RFC 6455 section 7.4, and what was registered since.
bool may_be_sent(unsigned code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

}  // namespace

TEST_SUITE("abuse") {
  TEST_CASE("each of the 256 first bytes of a frame has its answer") {
    const target one;
    crowd others{one.server.port()};
    for (unsigned first = 0; first < 256; ++first) {
      CAPTURE(first);
      raw_client client{one.server.port()};
      REQUIRE(client.open("/open").status == 101);
      const std::string bytes{static_cast<char>(first), static_cast<char>(0x81), 1, 2, 3, 4, 'x' ^ 1};
      client.send(bytes);
      const auto expected = verdict_on(first);
      if (expected) {
        CHECK(client.read_conclusion().code() == *expected);
        continue;
      }
      if (first == op::text || first == op::binary) client.send(continuation_frame("y"));
      client.send(close_frame(1000));
      CHECK(client.read_conclusion().code() == 1000);
    }
    CHECK(others.is_well());
    CHECK(one.server.problems() == 0);
  }

  TEST_CASE("each close code is answered with itself if it may be sent, else with 1002") {
    const target one;
    crowd others{one.server.port()};
    const bool beast = test_engine() == skein::engine::beast;
    for (const unsigned code :
         {1U,    999U,  1000U, 1001U, 1002U, 1003U, 1004U, 1005U, 1006U, 1007U, 1008U,   1009U,   1010U,
          1011U, 1012U, 1013U, 1014U, 1015U, 1016U, 1099U, 1100U, 1999U, 2000U, 2999U,   3000U,   3001U,
          3999U, 4000U, 4001U, 4499U, 4500U, 4998U, 4999U, 5000U, 5001U, 9999U, 0x7fffU, 0x8000U, 0xffffU}) {
      // Beast takes codes past 4999, and not 1014 (docs/explanation/engines.md).
      if (beast && (code >= 5000 || code == 1014)) continue;
      CAPTURE(code);
      raw_client client{one.server.port()};
      REQUIRE(client.open("/open").status == 101);
      client.send(close_frame(code, "x"));
      CHECK(client.read_conclusion().code() == static_cast<int>(may_be_sent(code) ? code : 1002));
    }
    CHECK(others.is_well());
  }

  TEST_CASE("limits of the handshake: one below, at, and one above") {
    const target one;
    crowd others{one.server.port()};
    const auto padded = [](std::size_t size) {
      const auto bare = upgrade_request("/open", "X: \r\n");
      return upgrade_request("/open", "X: " + std::string(size - bare.size(), 'x') + "\r\n");
    };
    const auto fields_of = [](std::size_t fields) {
      const auto bare = upgrade_request("/open");
      std::size_t there = 0;
      for (auto at = bare.find("\r\n"); at + 4 < bare.size(); at = bare.find("\r\n", at + 2)) ++there;
      return upgrade_request("/open", numbered_fields(fields - there));
    };
    const auto status = [&](const std::string& request) {
      raw_client client{one.server.port()};
      client.send(request);
      return client.read_answer().status;
    };
    CHECK(status(padded(8191)) == 101);
    CHECK(status(padded(8192)) == 101);
    CHECK(status(padded(8193)) == 431);
    CHECK(status(fields_of(99)) == 101);
    CHECK(status(fields_of(100)) == 101);
    CHECK(status(fields_of(101)) == 431);
    CHECK(others.is_well());
  }

  TEST_CASE("limits of messages and control frames: one below, at, and one above") {
    const target one;
    crowd others{one.server.port()};
    struct row {
      const char* what;
      std::string bytes;
      int code;  // 1000: nothing is wrong
    };
    const auto in_frames = [](std::size_t frames) {
      return text_frame("x", false) + repeated(continuation_frame("", false), frames - 2) +
             continuation_frame("y");
    };
    constexpr std::size_t most = 64 * 1024;
    const std::vector<row> rows{
        {"bytes below", binary_frame(std::string(most - 1, 'x')), 1000},
        {"bytes at", binary_frame(std::string(most, 'x')), 1000},
        {"bytes above", binary_frame(std::string(most + 1, 'x')), 1009},
        {"bytes in two frames below",
         binary_frame(std::string(most - 2, 'x'), false) + continuation_frame("x"), 1000},
        {"bytes in two frames at", binary_frame(std::string(most - 1, 'x'), false) + continuation_frame("x"),
         1000},
        {"bytes in two frames above", binary_frame(std::string(most, 'x'), false) + continuation_frame("x"),
         1009},
        {"frames below", in_frames(1023), 1000},
        {"frames at", in_frames(1024), 1000},
        {"frames above", in_frames(1025), 1008},
        {"pings below", repeated(ping_frame("x"), 49), 1000},
        {"pings at", repeated(ping_frame("x"), 50), 1000},
        {"pings above", repeated(ping_frame("x"), 51), 1008},
        {"a ping below", ping_frame(std::string(124, 'x')), 1000},
        {"a ping at", ping_frame(std::string(125, 'x')), 1000},
        {"a ping above", ping_frame(std::string(126, 'x')), 1002},
        {"messages below", repeated(text_frame("x"), 19), 1000},
        {"messages at", repeated(text_frame("x"), 20), 1000},
        // The first two too many are answered with an error each.
        {"messages two above", repeated(text_frame("x"), 22), 1000},
        {"messages three above", repeated(text_frame("x"), 23), 1008},
        {"a close text below", close_frame(1000, std::string(122, 'x')), 1000},
        {"a close text at", close_frame(1000, std::string(123, 'x')), 1000},
        {"a close text above", close_frame(1000, std::string(124, 'x')), 1002},
    };
    for (const auto& [what, bytes, code] : rows) {
      CAPTURE(what);
      raw_client client{one.server.port()};
      REQUIRE(client.open("/open").status == 101);
      client.send(bytes + close_frame(1000));
      CHECK(client.read_conclusion().code() == code);
    }
    CHECK(others.is_well());
    CHECK(one.server.problems() == 0);
  }

  TEST_CASE("every bad request has its answer, and the next client is served") {
    const target one;
    crowd others{one.server.port()};
    std::uint64_t refused_before = 0;
    for (const auto& [what, bytes, status] : requests()) {
      CAPTURE(what);
      raw_client client{one.server.port()};
      client.send(bytes);
      client.finish_sending();
      CHECK(client.read_answer().status == status);
      CHECK(client.read_to_end() != stream_end::open);
      std::uint64_t refused_now = 0;
      for (const auto count : one.server.stats().refused) refused_now += count;
      // 404 and 405 of a plain resource are answers, not refusals of a handshake.
      if (status != 404) CHECK(refused_now == refused_before + 1);
      refused_before = refused_now;
    }
    CHECK(others.is_well());
    CHECK(one.serves());
    CHECK(one.server.problems() == 0);
  }

  TEST_CASE("every bad frame has its close code, and the next client is served") {
    const target one;
    crowd others{one.server.port()};
    const bool beast = test_engine() == skein::engine::beast;
    for (const auto& [what, bytes, native_code, beast_code] : frames()) {
      const auto code = beast && beast_code != 0 ? beast_code : native_code;
      CAPTURE(what);
      raw_client client{one.server.port()};
      REQUIRE(client.open("/open").status == 101);
      client.send(bytes);
      const auto end = client.read_conclusion();
      CHECK(end.code() == code);
      CHECK(end.bytes_after_close == 0);
    }
    CHECK(others.is_well());
    CHECK(one.serves());
    CHECK(one.server.wait_for_closed(frames().size() + 1));
    CHECK(one.server.stats().protocol_failures == frames().size());
    CHECK(one.server.problems() == 0);
  }

  TEST_CASE("every bad message has its error, the handler sees none, and the third ends the connection") {
    const target one;
    crowd others{one.server.port()};
    std::uint64_t invalid = 0;
    for (const auto& [what, payload, code] : messages()) {
      CAPTURE(what);
      raw_client client{one.server.port()};
      REQUIRE(client.open("/json").status == 101);
      client.send(text_frame(payload) + text_frame(payload));
      for (int i = 0; i < 2; ++i) {
        const auto error = client.read_message();
        REQUIRE(error);
        CHECK(error->payload.starts_with(R"({"type":"error","code":")"s + code + '"'));
      }
      client.send(text_frame(R"({"type":"good"})"));
      const auto echo = client.read_message();
      REQUIRE(echo);
      CHECK(echo->payload == R"({"type":"good"})");
      client.send(text_frame("x"));
      CHECK(client.read_conclusion().code() == 1008);
      invalid += 3;
    }
    CHECK(one.server.stats().invalid == invalid);
    CHECK(others.is_well());
    CHECK(one.serves());
    CHECK(one.server.problems() == 0);
  }

  TEST_CASE("peers that leave in the middle of anything cost nobody else anything") {
    const target one;
    crowd others{one.server.port()};
    const auto upgrade = upgrade_request("/open");
    const auto conversation =
        upgrade + text_frame("hello") + binary_frame(std::string(300, 'x')) + ping_frame("p");
    for (std::size_t cut = 1; cut < conversation.size(); cut += 7) {
      raw_client client{one.server.port()};
      client.send(std::string_view{conversation}.substr(0, cut));
      if (cut % 2 == 0) {
        client.reset();
      } else {
        client.close();
      }
    }
    CHECK(others.is_well());
    CHECK(one.serves());
    CHECK(eventually([&] {
      const auto now = one.server.stats();
      return now.active == 100 && now.handshaking == 0;
    }));
    CHECK(one.server.problems() == 0);
  }
}
