#include <skein/handshake.hpp>

#include <doctest/doctest.h>

#include <string>

using skein::request;

TEST_SUITE("request") {
  TEST_CASE("every part comes back as it was given, whatever its size") {
    for (const std::size_t size : {0U, 1U, 127U, 128U, 16'383U, 16'384U, 100'000U}) {
      const std::string target = "/" + std::string(size, 't') + "?q=1";
      const std::string name = "X-" + std::string(size, 'n');
      const std::string value(size, 'v');
      const std::string body(size, 'b');
      const request one{"POST", target, {{"Host", "here"}, {name, value}, {"Empty", ""}}, "[::1]:9", body};
      CHECK(one.method() == "POST");
      CHECK(one.target() == target);
      CHECK(one.path() == target.substr(0, target.size() - 4));
      CHECK(one.query() == "q=1");
      CHECK(one.remote_address() == "[::1]:9");
      CHECK(one.body() == body);
      CHECK(one.header(name) == value);
      CHECK(one.has_header("empty"));
      CHECK(one.header("HOST") == "here");
      REQUIRE(one.headers().size() == 3);
      CHECK(one.headers()[1].first == name);
      CHECK(one.headers()[2].second.empty());
    }
  }

  TEST_CASE("any number of headers") {
    for (const std::size_t count : {0U, 1U, 127U, 128U, 1'000U}) {
      const std::string value = "v";
      request::header_list headers;
      for (std::size_t i = 0; i < count; ++i) headers.emplace_back("Name", value);
      const request one{"GET", "/", headers, "here:1"};
      CHECK(one.count("name") == count);
      CHECK(one.headers().size() == count);
      CHECK(one.body().empty());
    }
  }

  TEST_CASE("a copy stands on its own, what was moved from is empty, and so is one that was never made") {
    const request none;
    CHECK(none.method().empty());
    CHECK(none.headers().empty());
    CHECK(!none.has_header("Host"));
    CHECK(request{none}.target().empty());

    request one{"GET", "/a", {{"Host", "here"}}, "there:1", "body"};
    const request copy = one;
    const request moved = std::move(one);
    CHECK(one.target().empty());  // NOLINT(bugprone-use-after-move)
    one = copy;
    for (const auto& each : {one, copy, moved}) {
      CHECK(each.target() == "/a");
      CHECK(each.header("host") == "here");
      CHECK(each.body() == "body");
    }
  }
}
