// RFC 7692 against a server with compression: what is agreed on, what is understood, what is refused.

#include "conformance.hpp"
#include "deflate_peer.hpp"

#include <doctest/doctest.h>

#include <initializer_list>
#include <random>

namespace {

using namespace skein::test;
using namespace std::string_literals;

constexpr std::size_t limit = 64 * 1024;
constexpr unsigned protocol_error = 1002, invalid_payload = 1007, too_big = 1009;

// RFC 7692 names no code for data that does not inflate. Skein's engine on Beast closes with 1007
// (inconsistent data) or 1002; either is right.
const std::vector<unsigned> broken_data{protocol_error, invalid_payload};

constexpr auto header = "Sec-WebSocket-Extensions: ";
const std::string plain_offer = header + "permessage-deflate\r\n"s;

skein::manager_options compressing() {
  auto options = quiet_options();
  options.compression.enabled = true;
  return options;
}

/// Bytes that look like text and compress about by half; the same for the same seed.
std::string prose(std::size_t size, unsigned seed = 1) {
  std::minstd_rand random{seed};
  std::string result;
  while (result.size() < size) {
    result += static_cast<char>('a' + random() % 16);
    if (random() % 5 == 0) result += " and then ";
  }
  result.resize(size);
  return result;
}

std::string noise(std::size_t size, unsigned seed) {
  std::minstd_rand random{seed};
  std::string result(size, 0);
  for (auto& byte : result) byte = static_cast<char>(random() >> 7U);
  return result;
}

std::string compressed_frame(unsigned kind, std::string_view deflated, bool fin = true) {
  return make_frame(kind, deflated, {.fin = fin, .rsv = rsv1});
}

/// Connects with an offer that must be accepted.
raw_client connected(test_server& server, const std::string& offer = plain_offer) {
  raw_client client{server.port()};
  const auto answer = client.open("/echo", offer);
  REQUIRE(answer.status == 101);
  REQUIRE(read_terms(answer.header("Sec-WebSocket-Extensions")).accepted);
  return client;
}

/// The payload of the next message, inflated if it is marked as compressed.
std::string read_inflated(raw_client& client, int window_bits = 15) {
  const auto next = client.read_message();
  REQUIRE(next);
  CAPTURE(next->opcode);
  CAPTURE(next->rsv);
  REQUIRE(next->fin);
  REQUIRE((next->rsv == 0 || next->rsv == rsv1));
  REQUIRE(next->opcode != op::close);
  if (next->rsv == 0) return next->payload;
  const auto inflated = inflate_payload(next->payload, window_bits);
  REQUIRE(inflated);
  return *inflated;
}

struct offer_row {
  std::string name;
  std::string offer;
  enum expectation : std::uint8_t { accepted, declined, either } expected = accepted;
  int most_server_bits = 15;
  bool may_limit_client = false;  ///< the answer may have client_max_window_bits
};

std::vector<offer_row> offer_rows() {
  const auto rows = [] {
    using enum offer_row::expectation;
    return std::vector<offer_row>{
        {"no parameters", "permessage-deflate", accepted},
        {"server_no_context_takeover", "permessage-deflate; server_no_context_takeover", accepted},
        {"client_no_context_takeover", "permessage-deflate; client_no_context_takeover", accepted},
        {"client_max_window_bits, as browsers offer it", "permessage-deflate; client_max_window_bits",
         accepted, 15, true},
        {"everything",
         "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
         "server_max_window_bits=12; client_max_window_bits=11",
         accepted, 12, true},
        {"without spaces", "permessage-deflate;server_no_context_takeover;client_max_window_bits", accepted,
         15, true},
        {"with many spaces", "permessage-deflate  ;  server_max_window_bits = 10", either, 10},
        // A server may decline any offer; Beast overlooks this one.
        {"behind an extension that nobody knows", "x-unknown; a=1, permessage-deflate", either},
        {"before an extension that nobody knows", "permessage-deflate, x-unknown", accepted},
        {"two offers", "permessage-deflate; server_max_window_bits=10, permessage-deflate", accepted},
        // A server may look no further than the first offer.
        {"a bad offer, then a good one", "permessage-deflate; server_max_window_bits=99, permessage-deflate",
         either},
        {"a value in quotes", "permessage-deflate; server_max_window_bits=\"10\"", either, 10},
        {"only an extension that nobody knows", "x-webkit-deflate-frame", declined},
        {"a name that begins alike", "permessage-deflate2", declined},
        {"a parameter that nobody knows", "permessage-deflate; turbo", declined},
        {"server_max_window_bits without a value", "permessage-deflate; server_max_window_bits", declined},
        {"server_max_window_bits=7", "permessage-deflate; server_max_window_bits=7", declined},
        {"server_max_window_bits=16", "permessage-deflate; server_max_window_bits=16", declined},
        {"server_max_window_bits=0", "permessage-deflate; server_max_window_bits=0", declined},
        {"server_max_window_bits=-9", "permessage-deflate; server_max_window_bits=-9", declined},
        {"server_max_window_bits=010", "permessage-deflate; server_max_window_bits=010", declined},
        {"server_max_window_bits=1x", "permessage-deflate; server_max_window_bits=1x", declined},
        {"server_max_window_bits=999999999999999999999",
         "permessage-deflate; server_max_window_bits=999999999999999999999", declined},
        {"client_max_window_bits=7", "permessage-deflate; client_max_window_bits=7", declined},
        {"client_max_window_bits=16", "permessage-deflate; client_max_window_bits=16", declined},
        {"client_max_window_bits=0", "permessage-deflate; client_max_window_bits=0", declined},
        {"client_max_window_bits=x", "permessage-deflate; client_max_window_bits=x", declined},
        {"server_no_context_takeover=1", "permessage-deflate; server_no_context_takeover=1", declined},
        {"client_no_context_takeover=1", "permessage-deflate; client_no_context_takeover=1", declined},
        {"server_no_context_takeover twice",
         "permessage-deflate; server_no_context_takeover; server_no_context_takeover", declined},
        {"client_no_context_takeover twice",
         "permessage-deflate; client_no_context_takeover; client_no_context_takeover", declined},
        {"server_max_window_bits twice",
         "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", declined},
        {"client_max_window_bits twice",
         "permessage-deflate; client_max_window_bits; client_max_window_bits=10", declined},
    };
  };
  auto table = rows();
  for (int bits = 8; bits <= 15; ++bits) {
    const auto n = std::to_string(bits);
    // zlib cannot deflate with 8 bits, so a server may decline that one, but not answer with more.
    table.push_back({"server_max_window_bits=" + n, "permessage-deflate; server_max_window_bits=" + n,
                     bits == 8 ? offer_row::either : offer_row::accepted, bits, false});
    table.push_back({"client_max_window_bits=" + n, "permessage-deflate; client_max_window_bits=" + n,
                     bits == 8 ? offer_row::either : offer_row::accepted, 15, true});
  }
  return table;
}

// An echo of every kind over a connection with these terms.
void exchange(raw_client& client, const deflate_terms& terms) {
  const auto back = terms.server_bits.value_or(15);
  const auto forth = std::max(9, terms.client_bits.value_or(15));
  std::vector<std::string> payloads{"",
                                    "short",
                                    prose(300),
                                    prose(255, 2),
                                    prose(256, 3),
                                    prose(5'000, 4),
                                    std::string(60'000, 'x'),
                                    prose(20'000, 5) + prose(20'000, 5)};
  for (const auto& payload : payloads) {
    CAPTURE(payload.size());
    client.send(text_frame(payload));
    CHECK(read_inflated(client, back) == payload);
    if (!terms.accepted) continue;
    if (terms.client_bits == 8 && payload.size() > 256) continue;  // more than such a client could say
    client.send(compressed_frame(op::text, deflate_payload(payload, {.window_bits = forth})));
    CHECK(read_inflated(client, back) == payload);
  }
}

}  // namespace

TEST_SUITE("permessage-deflate") {
  TEST_CASE("what is agreed on, and that both sides keep to it") {
    test_server server{compressing()};
    for (const auto& one : offer_rows()) {
      CAPTURE(one.name);
      raw_client client{server.port()};
      const auto answer = client.open("/echo", header + one.offer + "\r\n");
      REQUIRE(answer.status == 101);
      const auto written = answer.header("Sec-WebSocket-Extensions");
      CAPTURE(written);
      const auto terms = read_terms(written);
      if (one.expected != offer_row::either) CHECK(terms.accepted == (one.expected == offer_row::accepted));
      CHECK(terms.well_formed);
      if (terms.accepted) {
        CHECK(terms.server_no_context_takeover);  // so that one compressed form serves all recipients
        CHECK(terms.server_bits.value_or(15) <= one.most_server_bits);
        // RFC 7692 section 7.1.2.2: only in answer to an offer that has it.
        if (!one.may_limit_client) CHECK_FALSE(terms.client_bits);
      }
      exchange(client, terms);
    }
    CHECK(server.serves());
  }

  TEST_CASE("offers in several headers are accepted or declined, but not misunderstood") {
    test_server server{compressing()};
    raw_client client{server.port()};
    const auto answer = client.open("/echo", header + "x-unknown\r\n"s + plain_offer);
    REQUIRE(answer.status == 101);
    const auto terms = read_terms(answer.header("Sec-WebSocket-Extensions"));
    CHECK(terms.well_formed);
    exchange(client, terms);
  }

  TEST_CASE("without an offer nothing is compressed") {
    test_server server{compressing()};
    raw_client client{server.port()};
    const auto answer = client.open();
    CHECK_FALSE(answer.has("Sec-WebSocket-Extensions"));
    client.send(text_frame(std::string(10'000, 'x')));
    const auto echo = client.read_message();
    REQUIRE(echo);
    CHECK(echo->rsv == 0);
    CHECK(echo->payload == std::string(10'000, 'x'));
    check(server, {.name = "a compressed frame",
                   .bytes = compressed_frame(op::text, deflate_payload("a")),
                   .codes = {protocol_error}});
  }

  TEST_CASE("a server without compression accepts no offer") {
    test_server server;
    raw_client client{server.port()};
    const auto answer = client.open("/echo", plain_offer);
    REQUIRE(answer.status == 101);
    CHECK_FALSE(answer.has("Sec-WebSocket-Extensions"));
    check(server, {.name = "a compressed frame",
                   .bytes = compressed_frame(op::text, deflate_payload("a")),
                   .codes = {protocol_error},
                   .handshake = plain_offer});
    CHECK(server.serves());
  }

  TEST_CASE("what compresses well is sent compressed, from the threshold on") {
    auto options = compressing();
    options.compression.threshold = 100;
    test_server server{options};
    auto client = connected(server);
    for (const auto size : std::initializer_list<std::size_t>{99, 100, 101, 60'000}) {
      CAPTURE(size);
      client.send(text_frame(std::string(size, 'x')));
      const auto echo = client.read_message();
      REQUIRE(echo);
      CHECK(echo->rsv == (size < 100 ? 0 : rsv1));
      CHECK((echo->rsv == 0 || echo->payload.size() < size));
    }
    client.send(make_frame(op::binary, noise(5'000, 7)));
    CHECK(read_inflated(client) == noise(5'000, 7));
  }

  TEST_CASE("what zlib makes with any level, strategy, memory and window is understood") {
    test_server server{compressing()};
    auto client = connected(server);
    const std::vector<std::string> payloads{
        "", "a", "Hello", prose(40), prose(3'000), std::string(9'000, 'z'), prose(limit), noise(700, 1)};
    const auto round_trip = [&](const std::string& payload, const deflate_form& form) {
      CAPTURE(payload.size());
      CAPTURE(form.level);
      CAPTURE(form.strategy);
      CAPTURE(form.window_bits);
      CAPTURE(form.memory);
      CAPTURE(form.block);
      REQUIRE(client.send(compressed_frame(op::binary, deflate_payload(payload, form))));
      REQUIRE(read_inflated(client) == payload);
    };
    for (const auto& payload : payloads) {
      for (int level = 0; level <= 9; ++level) {
        for (int strategy = 0; strategy <= 4; ++strategy)
          round_trip(payload, {.level = level, .strategy = strategy});
      }
      for (int bits = 9; bits <= 15; ++bits) round_trip(payload, {.window_bits = bits});
      for (int memory = 1; memory <= 9; ++memory) round_trip(payload, {.memory = memory});
      for (const auto block : std::initializer_list<std::size_t>{1, 7, 100}) {
        if (payload.size() > 10'000) continue;
        round_trip(payload, {.block = block});
        round_trip(payload, {.full_flush = true, .block = block});
      }
    }
    CHECK(server.serves());
  }

  TEST_CASE("400 messages of any size, compressible or not") {
    test_server server{compressing()};
    auto client = connected(server);
    std::minstd_rand random{42};
    for (unsigned i = 0; i < 400; ++i) {
      const auto size = random() % (i % 4 == 0 ? limit : 2'000) + 1;
      const auto payload = i % 3 == 0 ? noise(size, i) : prose(size, i);
      CAPTURE(i);
      REQUIRE(client.send(
          compressed_frame(op::binary, deflate_payload(payload, {.level = static_cast<int>(i % 10)}))));
      REQUIRE(read_inflated(client) == payload);
    }
    CHECK(server.serves());
  }

  TEST_CASE("compressed messages, frame by frame") {
    test_server server{compressing()};
    const auto hello = deflate_payload("Hello");
    const auto text = [](std::string name, std::string bytes, std::string reply) {
      return row{.name = std::move(name),
                 .bytes = std::move(bytes),
                 .replies = {{op::text, std::move(reply)}},
                 .handshake = plain_offer};
    };
    const auto refused = [](std::string name, std::string bytes,
                            std::vector<unsigned> codes = {protocol_error}) {
      return row{.name = std::move(name),
                 .bytes = std::move(bytes),
                 .codes = std::move(codes),
                 .handshake = plain_offer};
    };
    std::vector<row> table{
        // The examples of RFC 7692 section 7.2.3.
        text("one block", compressed_frame(op::text, "\xf2\x48\xcd\xc9\xc9\x07\x00"s), "Hello"),
        text("one block in two frames",
             compressed_frame(op::text, "\xf2\x48\xcd"s, false) + continuation_frame("\xc9\xc9\x07\x00"s),
             "Hello"),
        text("a stored block", compressed_frame(op::text, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"s),
             "Hello"),
        text("two blocks",
             compressed_frame(op::text, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"s), "Hello"),
        text("an empty message", compressed_frame(op::text, "\x00"s), ""),
        text("a message that is not compressed", text_frame("plain"), "plain"),
        text("a divided message that is not compressed", text_frame("pl", false) + continuation_frame("ain"),
             "plain"),
        {.name = "compressed and not, in turn",
         .bytes = compressed_frame(op::text, hello) + text_frame("plain") +
                  compressed_frame(op::binary, hello) + compressed_frame(op::text, hello),
         .replies = {{op::text, "Hello"}, {op::text, "plain"}, {op::binary, "Hello"}, {op::text, "Hello"}},
         .handshake = plain_offer},
        {.name = "a ping between compressed fragments",
         .bytes = compressed_frame(op::text, hello.substr(0, 2), false) + ping_frame("p") +
                  continuation_frame(hello.substr(2)),
         .replies = {{op::pong, "p"}, {op::text, "Hello"}},
         .handshake = plain_offer},
        text(
            "empty fragments amid compressed ones",
            compressed_frame(op::text, "", false) + continuation_frame(hello, false) + continuation_frame(""),
            "Hello"),

        refused("a continuation marked as compressed",
                compressed_frame(op::text, hello.substr(0, 2), false) +
                    compressed_frame(op::continuation, hello.substr(2))),
        refused("a continuation marked as compressed behind a plain fragment",
                text_frame("a", false) + compressed_frame(op::continuation, hello)),
        refused("a ping marked as compressed", compressed_frame(op::ping, hello)),
        refused("a pong marked as compressed", compressed_frame(op::pong, hello)),
        refused("a close frame marked as compressed", compressed_frame(op::close, "\x03\xe8"s)),
        refused("RSV2", make_frame(op::text, "a", {.rsv = rsv2})),
        refused("RSV3", make_frame(op::text, "a", {.rsv = rsv3})),
        refused("all reserved bits", make_frame(op::text, hello, {.rsv = 7})),
        refused("a compressed frame without a mask",
                make_frame(op::text, hello, {.rsv = rsv1, .masked = false})),

        refused("a block of the reserved type", compressed_frame(op::binary, "\x07\x00"s), broken_data),
        refused("a stored block whose lengths disagree",
                compressed_frame(op::binary, "\x00\x05\x00\x00\x00Hello"s), broken_data),
        refused("text that is not deflated", compressed_frame(op::text, "this is no deflate stream"),
                broken_data),
        refused("a distance before the beginning", compressed_frame(op::binary, "\xf2\x00\x11\x00\x00"s),
                broken_data),
        refused("a dynamic block of nonsense",
                compressed_frame(op::binary, "\xfd\xff\xff\xff\xff\xff\xff\xff"s), broken_data),
        refused(
            "nonsense behind a good block",
            compressed_frame(op::binary, hello.substr(0, hello.size() - 1) + "\x00\x00\x00\xff\xff\x06\x00"s),
            broken_data),
        refused("nonsense in the second fragment",
                compressed_frame(op::binary, hello.substr(0, 3), false) +
                    continuation_frame("\xff\xff\xff\xff\xff"),
                broken_data),

        refused("text that is not UTF-8", compressed_frame(op::text, deflate_payload("caf\xe9 au lait")),
                {invalid_payload}),
        refused("text that is cut", compressed_frame(op::text, deflate_payload("\xe2\x82")),
                {invalid_payload}),
        text("text in UTF-8", compressed_frame(op::text, deflate_payload("\xe2\x82\xac")), "\xe2\x82\xac"),

        refused("one byte more than the limit",
                compressed_frame(op::binary, deflate_payload(std::string(limit + 1, 0))), {too_big}),
        refused("one byte more than the limit, of noise",
                compressed_frame(op::binary, deflate_payload(noise(limit + 1, 3))), {too_big}),
        refused("one byte more than the limit, of prose",
                compressed_frame(op::text, deflate_payload(prose(limit + 1))), {too_big}),
        refused("10 MiB of zeros", compressed_frame(op::binary, deflate_payload(std::string(10 << 20, 0))),
                {too_big}),
        refused("10 MiB of zeros in fragments",
                [] {
                  const auto bomb = deflate_payload(std::string(10 << 20, 0));
                  auto bytes = compressed_frame(op::binary, "", false);
                  for (std::size_t at = 0; at < bomb.size(); at += 1'000) {
                    bytes += continuation_frame(std::string_view{bomb}.substr(at, 1'000), false);
                  }
                  return bytes + continuation_frame("");
                }(),
                {too_big}),
        refused("past the limit, not compressed", binary_frame(std::string(limit + 1, 'x')), {too_big}),
    };
    for (const auto& bytes : divided(op::text, hello, rsv1)) {
      table.push_back(text("a compressed message divided somewhere", bytes, "Hello"));
    }
    const auto euro = deflate_payload("\xe2\x82\xac \xf0\x9f\x98\x80");
    for (const auto& bytes : divided(op::text, euro, rsv1)) {
      table.push_back(text("compressed UTF-8 divided somewhere", bytes, "\xe2\x82\xac \xf0\x9f\x98\x80"));
    }
    check_all(server, table);
  }

  TEST_CASE("64 KiB of anything, compressed, is within the limit") {
    test_server server{compressing()};
    auto client = connected(server);
    for (const auto& payload : {std::string(limit, 0), noise(limit, 5), prose(limit, 6)}) {
      client.send(compressed_frame(op::binary, deflate_payload(payload)));
      CHECK(read_inflated(client) == payload);
    }
  }

  TEST_CASE("a stream that ends in a final block") {
    // RFC 7692 section 7.2.3.4 allows it, Beast's inflater does not.
    test_server server{compressing()};
    auto client = connected(server);
    client.send(compressed_frame(op::text, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"s));
    const auto answer = client.read_message();
    REQUIRE(answer);
    if (answer->opcode == op::close) {
      const auto code = close_code_of(answer->payload);
      CHECK((code == protocol_error || code == invalid_payload));
    } else {
      CHECK(answer->payload == "Hello");
    }
    CHECK(server.serves());
  }

  TEST_CASE("a stream that is cut") {
    // Inflating does not tell a cut stream from one whose end has not come: what it then makes of the end
    // that the sender left out may be anything, but not without a limit.
    test_server server{compressing()};
    const auto whole = deflate_payload(prose(2'000));
    for (std::size_t size = 1; size < whole.size(); size += 37) {
      CAPTURE(size);
      auto client = connected(server);
      client.send(compressed_frame(op::binary, std::string_view{whole}.substr(0, size)));
      const auto answer = client.read_message();
      REQUIRE(answer);
      if (answer->opcode == op::close) {
        const auto code = close_code_of(answer->payload);
        CHECK((code == protocol_error || code == invalid_payload || code == too_big));
      } else {
        CHECK(answer->payload.size() <= limit);
      }
    }
    CHECK(server.serves());
  }

  TEST_CASE("a compressed message that comes byte by byte") {
    test_server server{compressing()};
    auto client = connected(server);
    const auto payload = prose(10'000);
    client.send_bytewise(compressed_frame(op::text, deflate_payload(payload)));
    CHECK(read_inflated(client) == payload);
  }

  TEST_CASE("compressed messages that arrive in pieces, in turn with another connection's") {
    auto options = compressing();
    options.shards = 1;
    test_server server{options};
    std::vector<raw_client> clients;
    for (int i = 0; i < 2; ++i) clients.push_back(connected(server));
    std::minstd_rand random{11};
    for (unsigned round = 0; round < 30; ++round) {
      std::vector<std::string> payloads, left;
      for (unsigned i = 0; i < clients.size(); ++i) {
        payloads.push_back(prose(4'000, 2 * round + i));
        const auto deflated = deflate_payload(payloads.back(), {.level = static_cast<int>(random() % 10)});
        const auto third = deflated.size() / 3;
        left.push_back(compressed_frame(op::text, deflated.substr(0, third), false) +
                       continuation_frame(deflated.substr(third, third), false) + ping_frame() +
                       continuation_frame(deflated.substr(2 * third)));
      }
      while (!left[0].empty() || !left[1].empty()) {
        for (std::size_t i = 0; i < clients.size(); ++i) {
          const auto piece = left[i].substr(0, random() % 700 + 1);
          left[i].erase(0, piece.size());
          // Each piece is taken in before the other connection's next one is sent.
          const auto expected = server.stats().wire_bytes_in + piece.size();
          clients[i].send(piece);
          REQUIRE(eventually([&] { return server.stats().wire_bytes_in >= expected; }));
        }
      }
      for (std::size_t i = 0; i < clients.size(); ++i) {
        const bool its_own = read_inflated(clients[i]) == payloads[i];
        REQUIRE(its_own);
      }
    }
  }

  TEST_CASE("many connections compress at the same time and keep apart") {
    test_server server{compressing()};
    std::vector<raw_client> clients;
    for (int i = 0; i < 20; ++i) clients.push_back(connected(server));
    for (unsigned round = 0; round < 10; ++round) {
      // Every message is half sent before any is finished.
      std::vector<std::string> halves;
      for (unsigned i = 0; i < clients.size(); ++i) {
        const auto bytes = compressed_frame(op::text, deflate_payload(prose(3'000, 100 * round + i)));
        clients[i].send(std::string_view{bytes}.substr(0, bytes.size() / 2));
        halves.push_back(bytes.substr(bytes.size() / 2));
      }
      for (unsigned i = 0; i < clients.size(); ++i) clients[i].send(halves[i]);
      for (unsigned i = 0; i < clients.size(); ++i) {
        const bool its_own = read_inflated(clients[i]) == prose(3'000, 100 * round + i);
        REQUIRE(its_own);
      }
    }
  }
}
