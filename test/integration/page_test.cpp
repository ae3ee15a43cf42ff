// The page for people.

#include "http/page.hpp"

#include "test_server.hpp"

#include <doctest/doctest.h>

#include <string>

namespace skein::test {
namespace {

http_answer fetch(const test_server& server, const std::string& path) {
  raw_client client{server.port()};
  client.send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  return client.read_answer();
}

const auto with_page = [](skein::server& server) { app::install_page(server); };

}  // namespace

TEST_SUITE("page") {
  TEST_CASE("the page and everything that it names is served as what it is") {
    test_server server{quiet_options(), {}, with_page};
    const auto page = fetch(server, "/");
    CHECK(page.status == 200);
    CHECK(page.header("Content-Type") == "text/html; charset=utf-8");
    for (const auto& [name, type] :
         {std::pair{"app.js", "text/javascript; charset=utf-8"},
          std::pair{"style.css", "text/css; charset=utf-8"}, std::pair{"icon.svg", "image/svg+xml"}}) {
      CAPTURE(name);
      CHECK(page.body.find('"' + std::string{name} + '"') != std::string::npos);
      const auto asset = fetch(server, '/' + std::string{name});
      CHECK(asset.status == 200);
      CHECK(asset.header("Content-Type") == type);
      CHECK(asset.body.size() > 100);
    }
  }

  TEST_CASE("the JavaScript client may be imported from anywhere") {
    test_server server{quiet_options(), {}, [](skein::server& to) { app::install_client(to); }};
    const auto module = fetch(server, "/skein.js");
    CHECK(module.status == 200);
    CHECK(module.header("Content-Type") == "text/javascript; charset=utf-8");
    CHECK(module.header("Access-Control-Allow-Origin") == "*");
    CHECK(module.body.find("export class Client") != std::string::npos);
    CHECK(fetch(server, "/").status == 404);
  }

  TEST_CASE("the page may load nothing from elsewhere and run no script of its own") {
    test_server server{quiet_options(), {}, with_page};
    const auto page = fetch(server, "/");
    const auto policy = page.header("Content-Security-Policy");
    CHECK(policy.find("default-src 'none'") != std::string::npos);
    CHECK(policy.find("unsafe") == std::string::npos);
    CHECK(page.body.find("://") == std::string::npos);
    CHECK(page.body.find("style=") == std::string::npos);
    CHECK(page.header("Cache-Control") == "no-cache");
    CHECK(page.header("X-Content-Type-Options") == "nosniff");
  }
}

}  // namespace skein::test
