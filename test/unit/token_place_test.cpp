// How addresses of JWK sets are written.

#include "security/token_place.hpp"

#include "security/jwks_client.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace skein::detail;

namespace {

std::string read(std::string_view url) {
  const auto address = parse_jwks_address(url);
  if (!address) return "none";
  return std::string{address->tls ? "tls " : "clear "} + address->authority() + ' ' + address->target;
}

}  // namespace

TEST_SUITE("JWK set address") {
  TEST_CASE("https, or http to this machine") {
    CHECK(read("https://id.example") == "tls id.example /");
    CHECK(read("https://id.example/") == "tls id.example /");
    CHECK(read("https://id.example:8443/jwks?v=1") == "tls id.example:8443 /jwks?v=1");
    CHECK(read("https://192.0.2.1/x") == "tls 192.0.2.1 /x");
    CHECK(read("https://[2001:db8::1]:65535/x") == "tls [2001:db8::1]:65535 /x");
    CHECK(read("http://127.0.0.1:8080/x") == "clear 127.0.0.1:8080 /x");
    CHECK(read("http://127.9.9.9") == "clear 127.9.9.9 /");
    CHECK(read("http://[::1]/x") == "clear [::1] /x");
    CHECK(read("http://localhost/x") == "clear localhost /x");
  }

  TEST_CASE("everything else is no address") {
    for (const auto* bad : {"",
                            "id.example",
                            "ftp://id.example",
                            "HTTPS://id.example",
                            "http://id.example/x",
                            "http://10.0.0.1/",
                            "http://localhost.example/",
                            "http://127.0.0.1.example/",
                            "https://",
                            "https:///x",
                            "https://a b/",
                            "https://user@id.example/",
                            "https://id.example:/x",
                            "https://id.example:65536/x",
                            "https://id.example:1:2/x",
                            "https://id.example:x/",
                            "https://id.example/a b",
                            "https://id.example/#x",
                            "https://id.example#x",
                            "https://id.example?x",
                            "https://[::1/x",
                            "https://[::g]/x",
                            "https://[1.2.3.4]/",
                            "https://id.example/\r\nX: y",
                            "https://id.example:999999/"}) {
      CAPTURE(bad);
      CHECK(read(bad) == "none");
    }
  }
}
