#include "security/client_address.hpp"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

using namespace skein::detail;
using source = skein::detail::client_source;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

/// A client's address and how it was found, on one line: `forwarded 192.0.2.1`.
std::string print(const client_address& found) {
  const auto how = found.source == source::peer        ? "peer "s
                   : found.source == source::forwarded ? "forwarded "s
                   : found.source == source::hidden    ? "hidden "s
                                                       : "malformed "s;
  return how + found.address.to_string();
}

std::vector<network> networks(std::initializer_list<const char*> list) {
  std::vector<network> all;
  for (const auto* text : list) all.push_back(network::parse(text).value());
  return all;
}

/// What is found for a peer 10.0.0.1, where 10.0.0.0/8 and fd00::/8 are trusted, in fields of this name.
std::string find(forwarded_header header, std::string_view name, const std::vector<std::string_view>& fields,
                 const char* peer = "10.0.0.1") {
  skein::request::header_list headers{{"Host", "example.com"}};
  for (const auto field : fields) headers.emplace_back(name, field);
  const skein::request what{"GET", "/", headers, "10.0.0.1:1234"};
  return print(
      find_client(boost::asio::ip::make_address(peer), what, {networks({"10.0.0.0/8", "fd00::/8"}), header}));
}

std::string listed(const std::vector<std::string_view>& fields) {
  return find(forwarded_header::x_forwarded_for, "x-forwarded-FOR", fields);
}
std::string forwarded(const std::vector<std::string_view>& fields) {
  return find(forwarded_header::forwarded, "forwarded", fields);
}

struct vector {
  std::vector<std::string_view> fields;
  std::string_view answer;
};

}  // namespace

TEST_SUITE("network") {
  TEST_CASE("a network contains its addresses and not those beside it") {
    struct row {
      const char* network;
      std::vector<const char*> inside, outside;
    };
    const std::vector<row> rows{
        {"10.0.0.0/8",
         {"10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"},
         {"9.255.255.255", "11.0.0.0", "::10.0.0.1"}},
        {"192.0.2.128/25", {"192.0.2.128", "192.0.2.255"}, {"192.0.2.127", "192.0.3.0"}},
        {"192.0.2.4/31", {"192.0.2.4", "192.0.2.5"}, {"192.0.2.3", "192.0.2.6"}},
        {"192.0.2.4/32", {"192.0.2.4"}, {"192.0.2.5", "192.0.2.3"}},
        {"192.0.2.4", {"192.0.2.4"}, {"192.0.2.5", "::c000:204"}},
        {"0.0.0.0/0", {"0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"}, {"::1", "2001:db8::1"}},
        {"128.0.0.0/1", {"128.0.0.0", "255.255.255.255"}, {"127.255.255.255"}},
        {"::/0", {"::", "2001:db8::1"}, {"10.0.0.1", "::ffff:10.0.0.1"}},
        {"2001:db8::/32", {"2001:db8::", "2001:db8:ffff::1"}, {"2001:db9::", "2001:db7::"}},
        {"2001:db8::/33", {"2001:db8:7fff::"}, {"2001:db8:8000::"}},
        {"2001:db8::1/128", {"2001:db8::1"}, {"2001:db8::", "2001:db8::2"}},
        {"fe80::1", {"fe80::1"}, {"fe80::2"}},
        {"::ffff:10.0.0.0/104", {"10.0.0.1", "::ffff:10.0.0.1"}, {"11.0.0.0"}},
        {"::ffff:0:0/96", {"1.2.3.4"}, {"::1"}},
        {"::ffff:10.0.0.1", {"10.0.0.1"}, {"10.0.0.2"}},
    };
    for (const auto& row : rows) {
      const auto parsed = network::parse(row.network);
      CAPTURE(row.network);
      REQUIRE(parsed);
      for (const auto* inside : row.inside) {
        CAPTURE(inside);
        CHECK(parsed->contains(boost::asio::ip::make_address(inside)));
      }
      for (const auto* outside : row.outside) {
        CAPTURE(outside);
        CHECK(!parsed->contains(boost::asio::ip::make_address(outside)));
      }
    }
  }

  TEST_CASE("what is no network is refused") {
    for (const auto text : {""sv,
                            "/"sv,
                            "/8"sv,
                            "10.0.0.0/"sv,
                            "10.0.0.0/33"sv,
                            "10.0.0.0/-1"sv,
                            "10.0.0.0/+8"sv,
                            "10.0.0.0/08"sv,
                            "10.0.0.0/8/8"sv,
                            "10.0.0.0/8 "sv,
                            " 10.0.0.0/8"sv,
                            "10.0.0.0/0x8"sv,
                            "10.1.0.0/8"sv,
                            "10.0.0.1/31"sv,
                            "10.0.0/8"sv,
                            "10.0.0.0.0/8"sv,
                            "010.0.0.0/8"sv,
                            "256.0.0.0/8"sv,
                            "10/8"sv,
                            "::/129"sv,
                            "2001:db8::1/64"sv,
                            "[::1]"sv,
                            "[::]/0"sv,
                            "fe80::1%eth0"sv,
                            "fe80::%1/64"sv,
                            "localhost"sv,
                            "*"sv,
                            "::ffff:10.0.0.0/8"sv,
                            "::ffff:0:0/95"sv,
                            "10.0.0.0/99999999999"sv,
                            "1.2.3.4\0"sv,
                            "1.2.3.4\0/8"sv}) {
      CAPTURE(std::string{text});
      CHECK(!network::parse(text));
    }
  }

  TEST_CASE("a mapped address is the IPv4 address") {
    CHECK(parse_address("::ffff:192.0.2.1")->to_string() == "192.0.2.1");
    CHECK(parse_address("::ffff:c000:201")->to_string() == "192.0.2.1");
    CHECK(parse_address("::192.0.2.1")->is_v6());
    CHECK(!parse_address("192.0.2.01"));
    CHECK(!parse_address("0x7f.0.0.1"));
    CHECK(!parse_address("127.1"));
    CHECK(!parse_address("1.2.3.4%0"));
    CHECK(!parse_address(std::string(100, '1')));
  }
}

TEST_SUITE("client_address") {
  TEST_CASE("a peer that is not trusted is the client, whatever it says") {
    for (const auto header : {forwarded_header::x_forwarded_for, forwarded_header::forwarded}) {
      const auto* name = header == forwarded_header::forwarded ? "Forwarded" : "X-Forwarded-For";
      CHECK(find(header, name, {"for=192.0.2.1"}, "198.51.100.1") == "peer 198.51.100.1");
      CHECK(find(header, name, {"192.0.2.1"}, "198.51.100.1") == "peer 198.51.100.1");
      CHECK(find(header, name, {"\"garbage,,"}, "2001:db8::1") == "peer 2001:db8::1");
      CHECK(find(header, name, {"garbage"}, "::ffff:198.51.100.1") == "peer 198.51.100.1");
      CHECK(find(header, name, {}, "10.0.0.1") == "peer 10.0.0.1");
    }
  }

  TEST_CASE("only the header that is configured is read") {
    CHECK(find(forwarded_header::none, "X-Forwarded-For", {"192.0.2.1"}) == "peer 10.0.0.1");
    CHECK(find(forwarded_header::none, "Forwarded", {"for=192.0.2.1"}) == "peer 10.0.0.1");
    CHECK(find(forwarded_header::forwarded, "X-Forwarded-For", {"192.0.2.1"}) == "peer 10.0.0.1");
    CHECK(find(forwarded_header::x_forwarded_for, "Forwarded", {"for=192.0.2.1"}) == "peer 10.0.0.1");
  }

  TEST_CASE("a trusted peer is recognised in its mapped form") {
    CHECK(find(forwarded_header::x_forwarded_for, "X-Forwarded-For", {"192.0.2.1"}, "::ffff:10.0.0.1") ==
          "forwarded 192.0.2.1");
    CHECK(find(forwarded_header::x_forwarded_for, "X-Forwarded-For", {"192.0.2.1"}, "fd00::1") ==
          "forwarded 192.0.2.1");
  }

  TEST_CASE("X-Forwarded-For") {
    const std::vector<vector> rows{
        {{"192.0.2.1"}, "forwarded 192.0.2.1"},
        {{"  192.0.2.1\t"}, "forwarded 192.0.2.1"},
        {{"192.0.2.1:8080"}, "forwarded 192.0.2.1"},
        {{"192.0.2.1:0"}, "forwarded 192.0.2.1"},
        {{"2001:db8::1"}, "forwarded 2001:db8::1"},
        {{"[2001:db8::1]"}, "forwarded 2001:db8::1"},
        {{"[2001:db8::1]:65535"}, "forwarded 2001:db8::1"},
        {{"::ffff:192.0.2.1"}, "forwarded 192.0.2.1"},
        {{"[::ffff:192.0.2.1]:1"}, "forwarded 192.0.2.1"},
        {{"2001:db8::1:8080"}, "forwarded 2001:db8::1:8080"},  // no port without brackets
        // The rightmost that is not trusted; what a client has put before it is not believed, nor even read.
        {{"198.51.100.7, 192.0.2.1"}, "forwarded 192.0.2.1"},
        {{"198.51.100.7,192.0.2.1,10.0.0.2"}, "forwarded 192.0.2.1"},
        {{"198.51.100.7, 192.0.2.1, 10.0.0.2 , fd00::5"}, "forwarded 192.0.2.1"},
        {{"10.0.0.9, 192.0.2.1"}, "forwarded 192.0.2.1"},
        {{"garbage, 192.0.2.1"}, "forwarded 192.0.2.1"},
        {{"\", 192.0.2.1"}, "forwarded 192.0.2.1"},
        {{",,,192.0.2.1"}, "forwarded 192.0.2.1"},
        {{"unknown, 192.0.2.1"}, "forwarded 192.0.2.1"},
        // Several fields are one list.
        {{"198.51.100.7", "192.0.2.1"}, "forwarded 192.0.2.1"},
        {{"192.0.2.1", "10.0.0.2"}, "forwarded 192.0.2.1"},
        {{"198.51.100.7, 192.0.2.1", "10.0.0.2, 10.0.0.3", "fd00::1"}, "forwarded 192.0.2.1"},
        {{"", "192.0.2.1"}, "forwarded 192.0.2.1"},
        // All trusted: the first.
        {{"10.0.0.7, 10.0.0.6"}, "forwarded 10.0.0.7"},
        {{"10.0.0.7"}, "forwarded 10.0.0.7"},
        // A proxy that does not say.
        {{"unknown"}, "hidden 10.0.0.1"},
        {{"UNKNOWN"}, "hidden 10.0.0.1"},
        {{"192.0.2.1, unknown"}, "hidden 10.0.0.1"},
        {{"192.0.2.1, unknown, 10.0.0.2"}, "hidden 10.0.0.2"},
        // Malformed where it matters.
        {{""}, "malformed 10.0.0.1"},
        {{"  "}, "malformed 10.0.0.1"},
        {{"192.0.2.1,"}, "malformed 10.0.0.1"},
        {{"192.0.2.1", ""}, "malformed 10.0.0.1"},
        {{"192.0.2.1, , 10.0.0.2"}, "malformed 10.0.0.1"},
        {{"192.0.2.1 10.0.0.2"}, "malformed 10.0.0.1"},
        {{"192.0.2.1;10.0.0.2"}, "malformed 10.0.0.1"},
        {{"192.0.2.1, garbage"}, "malformed 10.0.0.1"},
        {{"localhost"}, "malformed 10.0.0.1"},
        {{"192.0.2"}, "malformed 10.0.0.1"},
        {{"192.0.2.1.5"}, "malformed 10.0.0.1"},
        {{"192.0.2.256"}, "malformed 10.0.0.1"},
        {{"192.0.2.01"}, "malformed 10.0.0.1"},
        {{"-192.0.2.1"}, "malformed 10.0.0.1"},
        {{"192.0.2.1:"}, "malformed 10.0.0.1"},
        {{"192.0.2.1:65536"}, "malformed 10.0.0.1"},
        {{"192.0.2.1:123456"}, "malformed 10.0.0.1"},
        {{"192.0.2.1:80x"}, "malformed 10.0.0.1"},
        {{"192.0.2.1:-1"}, "malformed 10.0.0.1"},
        {{"192.0.2.1/32"}, "malformed 10.0.0.1"},
        {{"[192.0.2.1]"}, "malformed 10.0.0.1"},
        {{"[2001:db8::1"}, "malformed 10.0.0.1"},
        {{"2001:db8::1]"}, "malformed 10.0.0.1"},
        {{"[2001:db8::1]x"}, "malformed 10.0.0.1"},
        {{"[2001:db8::1]:"}, "malformed 10.0.0.1"},
        {{"[]"}, "malformed 10.0.0.1"},
        {{"[[2001:db8::1]]"}, "malformed 10.0.0.1"},
        {{"fe80::1%eth0"}, "malformed 10.0.0.1"},
        {{"2001:db8:::1"}, "malformed 10.0.0.1"},
        {{"\"192.0.2.1\""}, "malformed 10.0.0.1"},
        {{"for=192.0.2.1"}, "malformed 10.0.0.1"},
        {{"_hidden"}, "malformed 10.0.0.1"},
        {{"192.0.2.1\0"sv}, "malformed 10.0.0.1"},
        {{"::"}, "forwarded ::"},
    };
    for (const auto& row : rows) {
      CAPTURE(std::string{row.fields.front()});
      CHECK(listed(row.fields) == row.answer);
    }
  }

  TEST_CASE("Forwarded") {
    const std::vector<vector> rows{
        // The examples of RFC 7239.
        {{R"(for="_gazonk")"}, "hidden 10.0.0.1"},
        {{R"(For="[2001:db8:cafe::17]:4711")"}, "forwarded 2001:db8:cafe::17"},
        {{"for=192.0.2.60;proto=http;by=203.0.113.43"}, "forwarded 192.0.2.60"},
        {{"for=192.0.2.43, for=198.51.100.17"}, "forwarded 198.51.100.17"},
        {{"for=_hidden, for=_SEVKISEK"}, "hidden 10.0.0.1"},
        {{R"(for=192.0.2.43, for="[2001:db8:cafe::17]")"}, "forwarded 2001:db8:cafe::17"},
        {{R"(for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown)"}, "hidden 10.0.0.1"},
        {{R"(for=192.0.2.43, for="[2001:db8:cafe::17]", for=unknown)"}, "hidden 10.0.0.1"},
        {{"for=192.0.2.43", R"(for="[2001:db8:cafe::17]", for=unknown)"}, "hidden 10.0.0.1"},
        {{R"(for=192.0.2.43, for="[2001:db8:cafe::17]";proto=http;by=203.0.113.43)"},
         "forwarded 2001:db8:cafe::17"},
        {{R"(for="192.0.2.43:47011")"}, "forwarded 192.0.2.43"},
        {{R"(for="192.0.2.43:_port")"}, "forwarded 192.0.2.43"},
        {{R"(for="unknown:80")"}, "hidden 10.0.0.1"},
        {{R"(for="_hidden:80")"}, "hidden 10.0.0.1"},
        // The rightmost that is not trusted, over all fields.
        {{"for=198.51.100.7, for=192.0.2.1, for=10.0.0.2"}, "forwarded 192.0.2.1"},
        {{"for=198.51.100.7, for=192.0.2.1", "for=10.0.0.2", R"(for="[fd00::9]:1")"}, "forwarded 192.0.2.1"},
        {{"for=10.0.0.7, for=10.0.0.6"}, "forwarded 10.0.0.7"},
        {{"for=192.0.2.1, for=unknown, for=10.0.0.2"}, "hidden 10.0.0.2"},
        {{"for=192.0.2.1, proto=https, for=10.0.0.2"}, "hidden 10.0.0.2"},
        {{"for=unknown, for=192.0.2.1"}, "forwarded 192.0.2.1"},
        // Everything that the grammar allows.
        {{"FOR=192.0.2.1"}, "forwarded 192.0.2.1"},
        {{R"(for="192.0.2.1")"}, "forwarded 192.0.2.1"},
        {{R"(for="\192.\0.2.1")"}, "forwarded 192.0.2.1"},
        {{R"(host="a,b;c\"d\\";for=192.0.2.1)"}, "forwarded 192.0.2.1"},
        {{R"(for=192.0.2.1;host="a, for=198.51.100.7")"}, "forwarded 192.0.2.1"},
        {{";;for=192.0.2.1;"}, "forwarded 192.0.2.1"},
        {{"for=192.0.2.1 ; proto=https"}, "forwarded 192.0.2.1"},
        {{", for=192.0.2.1, ,"}, "forwarded 192.0.2.1"},
        {{"", "for=192.0.2.1"}, "forwarded 192.0.2.1"},
        {{"for=192.0.2.1;x-1='!#$%&*+.^_`|~"}, "forwarded 192.0.2.1"},
        {{"for=192.0.2.1;secret=\"\xc3\xa9\""}, "forwarded 192.0.2.1"},
        {{R"(for=192.0.2.1;by="";host="")"}, "forwarded 192.0.2.1"},
        {{R"(for="[::ffff:192.0.2.1]")"}, "forwarded 192.0.2.1"},
        {{"proto=https"}, "hidden 10.0.0.1"},
        {{";"}, "hidden 10.0.0.1"},
        {{"for=UnKnown"}, "hidden 10.0.0.1"},
        {{"for=_a.b-c_1"}, "hidden 10.0.0.1"},
        // An open quotation mark of the client does not swallow what the proxy adds: the request is refused.
        {{R"(for="198.51.100.7, for=192.0.2.1)"}, "malformed 10.0.0.1"},
        {{R"(for=", for="[2001:db8::1]")"}, "malformed 10.0.0.1"},
        {{R"(for="\, for="[2001:db8::1]")"}, "malformed 10.0.0.1"},
        {{R"(for="a", for="b)", "for=192.0.2.1"}, "malformed 10.0.0.1"},
        {{R"(for="192.0.2.1\)"}, "malformed 10.0.0.1"},
        // Anything else that is malformed, even before the client's own address.
        {{""}, "malformed 10.0.0.1"},
        {{" , ,"}, "malformed 10.0.0.1"},
        {{"192.0.2.1"}, "malformed 10.0.0.1"},
        {{"for"}, "malformed 10.0.0.1"},
        {{"for="}, "malformed 10.0.0.1"},
        {{"=192.0.2.1"}, "malformed 10.0.0.1"},
        {{"for =192.0.2.1"}, "malformed 10.0.0.1"},
        {{"for= 192.0.2.1"}, "malformed 10.0.0.1"},
        {{"for=192.0.2.1 for=192.0.2.2"}, "malformed 10.0.0.1"},
        {{"for=192.0.2.1;for=192.0.2.2"}, "malformed 10.0.0.1"},
        {{"for=192.0.2.1;proto=a;PROTO=b"}, "malformed 10.0.0.1"},
        {{"for=192.0.2.1:80"}, "malformed 10.0.0.1"},
        {{"for=[2001:db8::1]"}, "malformed 10.0.0.1"},
        {{"for=2001:db8::1"}, "malformed 10.0.0.1"},
        {{R"(for="2001:db8::1")"}, "malformed 10.0.0.1"},
        {{R"(for="[192.0.2.1]")"}, "malformed 10.0.0.1"},
        {{R"(for="[2001:db8::1")"}, "malformed 10.0.0.1"},
        {{R"(for="[2001:db8::1]80")"}, "malformed 10.0.0.1"},
        {{R"(for="[2001:db8::1]:")"}, "malformed 10.0.0.1"},
        {{R"(for="[2001:db8::1%25eth0]")"}, "malformed 10.0.0.1"},
        {{R"(for="192.0.2.1:65536")"}, "malformed 10.0.0.1"},
        {{R"(for="192.0.2.1:")"}, "malformed 10.0.0.1"},
        {{R"(for="192.0.2.1:_")"}, "malformed 10.0.0.1"},
        {{R"(for=" 192.0.2.1")"}, "malformed 10.0.0.1"},
        {{R"(for="")"}, "malformed 10.0.0.1"},
        {{"for=_"}, "malformed 10.0.0.1"},
        {{R"(for="_a b")"}, "malformed 10.0.0.1"},
        {{"for=nobody"}, "malformed 10.0.0.1"},
        {{"for=nobody, for=192.0.2.1"}, "malformed 10.0.0.1"},
        {{R"(for="192.0.2.1"x)"}, "malformed 10.0.0.1"},
        {{R"(for=x"192.0.2.1")"}, "malformed 10.0.0.1"},
        {{"for=192.0.2.1\0"sv}, "malformed 10.0.0.1"},
        {{"host=\"\x01\";for=192.0.2.1"}, "malformed 10.0.0.1"},
    };
    for (const auto& row : rows) {
      CAPTURE(std::string{row.fields.front()});
      CHECK(forwarded(row.fields) == row.answer);
    }
  }

  TEST_CASE("the number of hops, parameters and characters is bounded") {
    const auto repeat = [](const std::string& what, std::size_t times, const char* between) {
      std::string all;
      for (std::size_t i = 0; i < times; ++i) all += (i == 0 ? "" : between) + what;
      return all;
    };
    for (const auto extra : {-1, 0, 1}) {
      const auto hops = static_cast<std::size_t>(static_cast<int>(max_forwarded_hops) + extra);
      const bool fits = extra <= 0;
      const auto addresses = repeat("10.0.0.2", hops, ",");
      const auto elements = repeat("for=10.0.0.2", hops, ",");
      CHECK(listed({addresses}) == (fits ? "forwarded 10.0.0.2" : "malformed 10.0.0.1"));
      CHECK(forwarded({elements}) == (fits ? "forwarded 10.0.0.2" : "malformed 10.0.0.1"));
    }
    std::string parameters = "for=192.0.2.1";
    for (int i = 1; i < 16; ++i) parameters += ";p" + std::to_string(i) + "=v";
    CHECK(forwarded({parameters}) == "forwarded 192.0.2.1");
    parameters += ";p16=v";
    CHECK(forwarded({parameters}) == "malformed 10.0.0.1");
    for (const std::size_t size : {128U, 129U, 9'000U}) {
      const auto quoted = "for=192.0.2.1;x=\"" + std::string(size, 'x') + "\"";
      CHECK(forwarded({quoted}) == (size <= 128 ? "forwarded 192.0.2.1" : "malformed 10.0.0.1"));
    }
  }

  TEST_CASE("every beginning of a well-formed list is judged without reading past it") {
    const std::string whole =
        R"(for="[2001:db8::1]:80";by=_x;host="a\"b", for=10.0.0.2 ; proto=https, for=192.0.2.7)";
    for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
      const std::vector<char> heap(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(cut));
      const std::string_view text{heap.data(), heap.size()};
      (void)forwarded({text});
      (void)listed({text});
    }
    CHECK(forwarded({whole}) == "forwarded 192.0.2.7");
  }
}
