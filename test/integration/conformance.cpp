#include "conformance.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>

namespace skein::test {
namespace {

bool is_pong(const frame& one) {
  return one.opcode == op::pong;
}

// Pongs overtake data, so the two are compared apart.
std::vector<frame> only(const std::vector<frame>& all, bool pongs) {
  std::vector<frame> result;
  std::copy_if(all.begin(), all.end(), std::back_inserter(result),
               [&](const frame& one) { return is_pong(one) == pongs; });
  return result;
}

bool is_prefix(const std::vector<frame>& part, const std::vector<frame>& whole) {
  return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
}

/// Rows as inputs of test/fuzz/engines_fuzz.cpp: settings, cuts, and the bytes.
void write_corpus(const std::string& folder, const std::vector<row>& table) {
  constexpr std::size_t longest = 4'000;
  for (const auto& one : table) {
    if (one.bytes.size() > longest) continue;
    const char settings = one.handshake.empty() ? '\0' : '\1';
    const auto name = folder + "/" + std::to_string(std::hash<std::string>{}(one.name + one.bytes));
    std::ofstream{name, std::ios::binary} << settings << 'c' << one.bytes;
  }
}

}  // namespace

void check(test_server& server, const row& what, pace how) {
  CAPTURE(what.name);
  CAPTURE(static_cast<int>(how));
  raw_client client{server.port()};
  REQUIRE(client.open("/echo", what.handshake).status == 101);
  if (how == pace::bytewise) {
    client.send_bytewise(what.bytes);
  } else {
    client.send(what.bytes);
  }
  std::vector<frame> came;
  if (what.codes.empty()) {
    while (came.size() < what.replies.size()) {
      auto next = client.read_frame();
      REQUIRE(next);
      came.push_back(std::move(*next));
    }
    client.send(text_frame("still here"));
    const auto echo = client.read_frame();
    REQUIRE(echo);
    CHECK(echo->opcode == op::text);
    CHECK(echo->payload == "still here");
    client.send(close_frame());
    const auto rest = client.read_conclusion();
    CHECK(rest.frames.empty());
    CHECK(rest.code() == 1000);
    CHECK(rest.bytes_after_close == 0);
    CHECK(rest.end == stream_end::closed);
    CHECK(only(came, false) == only(what.replies, false));
    CHECK(only(came, true) == only(what.replies, true));
    return;
  }
  int code = -1;
  while (const auto next = client.read_frame()) {
    if (next->opcode == op::close) {
      code = static_cast<int>(close_code_of(next->payload));
      break;
    }
    came.push_back(*next);
    const bool expected = is_prefix(only(came, false), only(what.replies, false)) &&
                          is_prefix(only(came, true), only(what.replies, true));
    CHECK(expected);
    if (!expected) return;  // a close frame may never come
  }
  CAPTURE(code);
  CHECK(std::any_of(what.codes.begin(), what.codes.end(),
                    [&](unsigned one) { return code == static_cast<int>(one); }));
  const auto rest = client.read_conclusion();
  CHECK(rest.frames.empty());
  CHECK(rest.code() == -1);
  CHECK(rest.end == stream_end::closed);
}

void check_all(test_server& server, const std::vector<row>& table) {
  constexpr std::size_t longest_bytewise = 600;
  if (const char* const folder = std::getenv("SKEIN_CORPUS")) write_corpus(folder, table);
  for (const auto& one : table) {
    check(server, one, pace::at_once);
    if (one.bytes.size() > 1 && one.bytes.size() <= longest_bytewise) check(server, one, pace::bytewise);
  }
  CHECK(server.serves());
}

std::vector<std::string> divided(unsigned opcode, std::string_view payload, unsigned rsv) {
  std::vector<std::string> result;
  for (std::size_t at = 0; at <= payload.size(); ++at) {
    result.push_back(make_frame(opcode, payload.substr(0, at), {.fin = false, .rsv = rsv}) +
                     continuation_frame(payload.substr(at)));
  }
  return result;
}

std::string concatenated(const std::vector<std::string>& parts) {
  std::string result;
  for (const auto& one : parts) result += one;
  return result;
}

std::string repeated(std::string_view part, std::size_t times) {
  std::string result;
  result.reserve(part.size() * times);
  for (std::size_t i = 0; i < times; ++i) result += part;
  return result;
}

}  // namespace skein::test
