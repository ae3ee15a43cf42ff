#include <skein/handshake.hpp>

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using skein::is_origin;
using skein::origin_allowed;
using skein::origin_policy;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

/// A request with these Origin headers.
skein::request asking(const std::vector<std::string_view>& origins,
                      const std::vector<std::string_view>& hosts) {
  skein::request::header_list headers;
  for (const auto host : hosts) headers.emplace_back("Host", host);
  for (const auto origin : origins) headers.emplace_back("oRiGiN", origin);
  return {"GET", "/", headers, "192.0.2.1:1"};
}

origin_policy only(std::vector<std::string> allowed) {
  origin_policy policy;
  policy.allowed = std::move(allowed);
  return policy;
}

struct judged {
  std::string_view text;
  bool answer;
};

struct judged_pair {
  std::string_view first, second;
  bool answer;
};

const auto long_label = std::string(63, 'a');
// Three labels of 63, one of 61: 253 with their dots.
const auto long_name = long_label + "." + long_label + "." + long_label + "." + std::string(61, 'a');

}  // namespace

TEST_SUITE("origin_policy") {
  TEST_CASE("what is written as an origin") {
    const auto longest = "https://" + long_name;
    const auto longest_with_dot = longest + ".";
    const auto too_long = longest + "a";
    const auto longest_label = "https://" + long_label + ".example";
    const auto too_long_label = "https://a" + long_label + ".example";
    const auto far_too_long = "https://" + std::string(100'000, 'a');
    const auto many_dots = "https://a" + std::string(500, '.');
    const std::vector<judged> rows{
        {"https://example.com", true},
        {"http://example.com", true},
        {"http://localhost:3000", true},
        {"HTTPS://EXAMPLE.COM", true},
        {"https://example.com:1", true},
        {"https://example.com:65535", true},
        {"https://example.com.", true},
        {"https://xn--bcher-kva.example", true},
        {"https://my_host", true},
        {"https://a-b.example", true},
        {"http://192.0.2.1:8080", true},
        {"http://[::1]", true},
        {"http://[2001:DB8::1]:8080", true},
        {"http://[::ffff:192.0.2.1]", true},
        {"chrome-extension://abcdefghijklmnop", true},
        {"moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc", true},
        {"vscode-webview://1234", true},
        {"app+x.y-z://host", true},
        {longest, true},
        {longest_with_dot, true},
        {longest_label, true},
        {"", false},
        {"null", false},
        {"NULL", false},
        {"*", false},
        {"https://*", false},
        {"https://*.example.com", false},
        {"example.com", false},
        {"//example.com", false},
        {"://example.com", false},
        {"https:example.com", false},
        {"https:/example.com", false},
        {"https:///example.com", false},
        {"https//example.com", false},
        {"https://", false},
        {"file://", false},
        {"data:text/html,x", false},
        {"about:blank", false},
        {"javascript:alert(1)", false},
        {"1http://example.com", false},
        {"-http://example.com", false},
        {"ht tp://example.com", false},
        {"ht_tp://example.com", false},
        {"h\xc3\xa9://example.com", false},
        {"https://example.com/", false},
        {"https://example.com/path", false},
        {"https://example.com?query", false},
        {"https://example.com#fragment", false},
        {"https://example.com\\", false},
        {"https://user@example.com", false},
        {"https://user:password@example.com", false},
        {"https://user:80@example.com:80", false},
        {"https://@example.com", false},
        {" https://example.com", false},
        {"https://example.com ", false},
        {"\thttps://example.com", false},
        {"https://example.com\t", false},
        {"https:// example.com", false},
        {"https://exam ple.com", false},
        {"https://example.com\r\n", false},
        {"https://example.com\0"sv, false},
        {"https://example.com\0.evil.example"sv, false},
        {"https://b\xc3\xbc"
         "cher.example",
         false},
        {"https://ex%61mple.com", false},
        {"https://example.com:", false},
        {"https://example.com:0", false},
        {"https://example.com:00", false},
        {"https://example.com:0443", false},
        {"https://example.com:65536", false},
        {"https://example.com:4294967739", false},
        {"https://example.com:18446744073709552059", false},
        {"https://example.com:-1", false},
        {"https://example.com:+443", false},
        {"https://example.com:443 ", false},
        {"https://example.com: 443", false},
        {"https://example.com:443:443", false},
        {"https://example.com:http", false},
        {"https://example.com:0x1bb", false},
        {"https://:443", false},
        {"https://.", false},
        {"https://..", false},
        {"https://.example.com", false},
        {"https://example..com", false},
        {"https://example.com..", false},
        {"http://[]", false},
        {"http://[", false},
        {"http://]", false},
        {"http://[::1", false},
        {"http://::1", false},
        {"http://::1]", false},
        {"http://[::1]x", false},
        {"http://x[::1]", false},
        {"http://[::1]]", false},
        {"http://[[::1]]", false},
        {"http://[::1]:", false},
        {"http://[::1]80", false},
        {"http://[:::::]", false},
        {"http://[1:2:3:4:5:6:7]", false},
        {"http://[1:2:3:4:5:6:7:8:9]", false},
        {"http://[12345::]", false},
        {"http://[127.0.0.1]", false},
        {"http://[abc]", false},
        {"http://[fe80::1%25eth0]", false},
        {"http://[fe80::1%eth0]", false},
        {"http://[v1.x]", false},
        {"https://example.com,https://example.org", false},
        {"https://example.com https://example.org", false},
        {"https://http://example.com", false},
        {too_long, false},
        {too_long_label, false},
        {far_too_long, false},
        {many_dots, false},
    };
    CHECK(rows.size() >= 100);
    for (const auto& row : rows) {
      CAPTURE(std::string{row.text.substr(0, 80)});
      CHECK(is_origin(row.text) == row.answer);
    }
  }

  TEST_CASE("an entry of the list allows exactly its scheme, host and port") {
    const std::vector<judged_pair> rows{
        // what the list has, the request's origin
        {"https://example.com", "https://example.com", true},
        {"https://example.com", "https://example.com:443", true},
        {"https://example.com:443", "https://example.com", true},
        {"https://example.com", "HTTPS://Example.COM", true},
        {"HTTPS://EXAMPLE.COM", "https://example.com", true},
        {"http://example.com", "http://example.com:80", true},
        {"http://example.com:80", "http://example.com", true},
        {"https://example.com:8443", "https://example.com:8443", true},
        {"http://192.0.2.1", "http://192.0.2.1", true},
        {"http://[::1]:3000", "http://[::1]:3000", true},
        {"http://[0:0:0:0:0:0:0:1]", "http://[::1]", true},
        {"http://[2001:DB8:0::1]", "http://[2001:db8::1]:80", true},
        {"https://xn--bcher-kva.example", "https://xn--bcher-kva.example", true},
        {"https://xn--bcher-kva.example", "https://XN--BCHER-KVA.example", true},
        {"chrome-extension://abcdef", "chrome-extension://abcdef", true},
        {"https://example.com.", "https://example.com.", true},
        {"ws://example.com", "ws://example.com:80", true},
        {"wss://example.com", "wss://example.com:443", true},
        // Another scheme.
        {"https://example.com", "http://example.com", false},
        {"http://example.com", "https://example.com", false},
        {"https://example.com", "http://example.com:443", false},
        {"https://example.com", "wss://example.com", false},
        {"https://example.com", "httpss://example.com", false},
        {"https://example.com", "ftp://example.com", false},
        {"https://example.com", "chrome-extension://example.com", false},
        // Another port.
        {"https://example.com", "https://example.com:444", false},
        {"https://example.com", "https://example.com:8443", false},
        {"https://example.com", "https://example.com:80", false},
        {"https://example.com:8443", "https://example.com", false},
        {"https://example.com", "https://example.com:0443", false},
        {"https://example.com", "https://example.com:65979", false},  // 443 in 16 bits
        {"https://example.com", "https://example.com:", false},
        // Another host that looks like it.
        {"https://example.com", "https://evil-example.com", false},
        {"https://example.com", "https://evilexample.com", false},
        {"https://example.com", "https://example.com.evil.example", false},
        {"https://example.com", "https://example.com-evil.example", false},
        {"https://example.com", "https://example.comevil", false},
        {"https://example.com", "https://example.co", false},
        {"https://example.com", "https://xample.com", false},
        {"https://example.com", "https://www.example.com", false},
        {"https://example.com", "https://a.b.example.com", false},
        {"https://www.example.com", "https://example.com", false},
        {"https://example.com", "https://example.com.", false},
        {"https://example.com.", "https://example.com", false},
        {"https://example.com", "https://.example.com", false},
        {"https://example.com", "https://example_com", false},
        {"https://example.com", "https://exampleXcom", false},
        {"https://example.com", "https://example.com%00.evil.example", false},
        {"https://example.com", "https://example.com\0.evil.example"sv, false},
        {"https://example.com", "https://ex\xd0\xb0mple.com", false},  // a Cyrillic letter
        {"https://example.com", "https://xn--exmple-4nf.com", false},
        {"http://127.0.0.1", "http://localhost", false},
        {"http://127.0.0.1", "http://127.1", false},
        {"http://127.0.0.1", "http://2130706433", false},
        {"http://127.0.0.1", "http://0x7f000001", false},
        {"http://127.0.0.1", "http://[::ffff:127.0.0.1]", false},
        {"http://[::1]", "http://[::2]", false},
        {"http://[::1]", "http://[::1]:81", false},
        {"http://[::1]", "http://::1", false},
        // Decorations.
        {"https://example.com", "https://example.com@evil.example", false},
        {"https://example.com", "https://evil.example@example.com", false},
        {"https://example.com", "https://example.com:443@evil.example", false},
        {"https://example.com", "https://example.com/", false},
        {"https://example.com", "https://example.com/../evil.example", false},
        {"https://example.com", "https://evil.example/https://example.com", false},
        {"https://example.com", "https://evil.example?https://example.com", false},
        {"https://example.com", "https://evil.example#https://example.com", false},
        {"https://example.com", "https://evil.example\\https://example.com", false},
        {"https://example.com", " https://example.com", false},
        {"https://example.com", "https://example.com ", false},
        {"https://example.com", "https://example.com, https://evil.example", false},
        {"https://example.com", "https://evil.example https://example.com", false},
        {"https://example.com", "null", false},
        {"https://example.com", "", false},
        {"https://example.com", "example.com", false},
        {"https://example.com", "*", false},
        // Entries that name no origin allow none, not even what is written the same: there are no wildcards
        // but a
        // lone star.
        {"null", "null", false},
        {"", "", false},
        {"example.com", "example.com", false},
        {"https://*.example.com", "https://www.example.com", false},
        {"https://*.example.com", "https://*.example.com", false},
        {"https://*", "https://example.com", false},
        {"*.example.com", "https://www.example.com", false},
        {"**", "https://example.com", false},
        {" *", "https://example.com", false},
        {"https://example.com/", "https://example.com", false},
        {"https://.example.com", "https://www.example.com", false},
    };
    CHECK(rows.size() >= 80);
    for (const auto& row : rows) {
      CAPTURE(std::string{row.first});
      CAPTURE(std::string{row.second});
      CHECK(origin_allowed(only({std::string{row.first}}), asking({row.second}, {"example.com"})) ==
            row.answer);
      const auto among = only({"https://other.example", std::string{row.first}, "https://third.example"});
      CHECK(origin_allowed(among, asking({row.second}, {"example.com"})) == row.answer);
    }
  }

  TEST_CASE("without a list an origin must have the host and the port of the request") {
    const std::vector<judged_pair> rows{
        // Host, Origin
        {"example.com", "https://example.com", true},
        {"example.com", "http://example.com", true},
        {"example.com:443", "https://example.com", true},
        {"example.com", "https://example.com:443", true},
        {"example.com:80", "http://example.com", true},
        {"EXAMPLE.com:8080", "http://example.COM:8080", true},
        {"[::1]:9000", "http://[::1]:9000", true},
        {"[0:0::1]", "http://[::1]", true},
        {"example.com.", "https://example.com.", true},
        {"example.com", "ws://example.com", true},
        {"example.com:443", "http://example.com", false},
        {"example.com:8080", "http://example.com", false},
        {"example.com:8080", "http://example.com:8081", false},
        {"example.com", "http://example.com:8080", false},
        {"example.com", "https://evil.example", false},
        {"example.com", "https://example.com.evil.example", false},
        {"example.com", "https://evil-example.com", false},
        {"example.com", "https://sub.example.com", false},
        {"sub.example.com", "https://example.com", false},
        {"example.com", "https://example.com.", false},
        {"example.com", "null", false},
        {"example.com", "", false},
        {"example.com", "example.com", false},
        // No page of this host has such a scheme.
        {"example.com", "chrome-extension://example.com", false},
        {"example.com", "ftp://example.com", false},
        {"example.com:8080", "foo://example.com:8080", false},
        // A Host that names no host is nobody's.
        {"", "https://example.com", false},
        {":443", "https://example.com", false},
        {"example.com:", "https://example.com", false},
        {"example.com:0", "https://example.com:0", false},
        {"user@example.com", "https://example.com", false},
        {"example.com/path", "https://example.com", false},
        {"https://example.com", "https://example.com", false},
        {"example.com, evil.example", "https://example.com", false},
        {"example.com evil.example", "https://example.com", false},
        {"*", "https://example.com", false},
        {"[::1", "http://[::1]", false},
    };
    for (const auto& row : rows) {
      CAPTURE(std::string{row.first});
      CAPTURE(std::string{row.second});
      CHECK(origin_allowed({}, asking({row.second}, {row.first})) == row.answer);
    }
    CHECK(!origin_allowed({}, asking({"https://example.com"}, {})));
    CHECK(!origin_allowed({}, asking({"https://example.com"}, {"example.com", "example.com"})));
    CHECK(!origin_allowed({}, asking({"https://example.com"}, {"evil.example", "example.com"})));
  }

  TEST_CASE("more than one Origin is refused by every policy, none is let in by all but a callback") {
    origin_policy asks;
    int asked = 0;
    asks.accept = [&asked](std::string_view origin, const skein::request&) {
      ++asked;
      return origin == "https://example.com";
    };
    const auto twice = asking({"https://example.com", "https://example.com"}, {"example.com"});
    const auto none = asking({}, {"example.com"});
    for (const auto& policy : {origin_policy{}, only({"https://example.com"}), only({"*"}), asks}) {
      CHECK(!origin_allowed(policy, twice));
    }
    for (const auto& policy : {origin_policy{}, only({"https://example.com"}), only({"*"})}) {
      CHECK(origin_allowed(policy, none));
    }
    CHECK(asked == 0);
    CHECK(!origin_allowed(asks, none));
    CHECK(asked == 1);
    CHECK(origin_allowed(asks, asking({"https://example.com"}, {"example.com"})));
  }

  TEST_CASE("a star allows whatever is one origin") {
    for (const auto origin :
         {"https://example.com"sv, "null"sv, ""sv, "garbage"sv, "https://a https://b"sv}) {
      CHECK(origin_allowed(only({"*"}), asking({origin}, {"example.com"})));
      CHECK(origin_allowed(only({"https://example.org", "*"}), asking({origin}, {"example.com"})));
    }
  }

  TEST_CASE("a callback decides alone, and what it throws is thrown") {
    auto policy = only({"https://example.com"});
    policy.accept = [](std::string_view origin, const skein::request&) {
      if (origin == "throw") throw std::runtime_error{"no"};
      return origin == "null";
    };
    CHECK(origin_allowed(policy, asking({"null"}, {"example.com"})));
    CHECK(!origin_allowed(policy, asking({"https://example.com"}, {"example.com"})));
    CHECK_THROWS_AS((void)origin_allowed(policy, asking({"throw"}, {"example.com"})), std::runtime_error);
  }
}
