// Certificates are loaded again while connections are open.

#include "tls_server.hpp"

#include <skein/container.hpp>

#include <csignal>
#include <doctest/doctest.h>

#include <atomic>
#include <fstream>
#include <mutex>
#include <thread>

using namespace skein::test;

namespace {

std::string shown_by(std::uint16_t port) {
  const tls_client client{port};
  return client.established() ? client.server_common_name() : "nobody";
}

void replace(const skein::tls_options& options, const certified& by) {
  std::ofstream{options.certificate_files[0], std::ios::binary} << by.certificate;
  std::ofstream{options.key_files[0], std::ios::binary} << by.key;
}

}  // namespace

TEST_SUITE("TLS reload") {
  TEST_CASE("new connections see the new certificate, old ones live on") {
    tls_fixture made;
    auto where = made.server_options();
    where.port = 0;
    const auto hub = skein::make_manager(quiet_options());
    skein::server server{hub, where};
    server.route("/echo", echo);
    server.start();
    tls_client old{server.port(), made.trusting()};
    REQUIRE(old.open().status == 101);

    replace(where.tls, made.root.issue({.common_name = "renewed"}));
    CHECK(shown_by(server.port()) == "localhost");  // not before it is asked for
    server.reload_certificates();
    CHECK(shown_by(server.port()) == "renewed");
    CHECK(is_open(old));
    CHECK(hub->stats().tls.reloads == 1);

    // A ticket of before is not honoured: what it stands for was not checked with what is loaded now.
    auto wishes = made.trusting();
    wishes.server_name.clear();
    wishes.ticket = old.ticket();
    REQUIRE(wishes.ticket);
    const tls_client again{server.port(), wishes};
    CHECK(again.established());
    CHECK_FALSE(again.resumed());

    // Half of it is wrong: nothing changes.
    std::ofstream{where.tls.key_files[0], std::ios::trunc} << made.root.issue({}).key;
    CHECK_THROWS_AS(server.reload_certificates(), skein::tls_error);
    std::filesystem::remove(where.tls.certificate_files[0]);
    CHECK_THROWS_AS(server.reload_certificates(), skein::tls_error);
    CHECK(shown_by(server.port()) == "renewed");
    CHECK(is_open(old));
    CHECK(hub->stats().tls.failed_reloads == 2);
    CHECK(hub->stats().tls.reloads == 1);
  }

  TEST_CASE("while clients come and go without a pause") {
    tls_fixture made;
    auto where = made.server_options();
    where.port = 0;
    const auto hub = skein::make_manager(quiet_options());
    skein::server server{hub, where};
    server.route("/echo", echo);
    server.start();
    std::atomic<bool> enough{false};
    std::thread reloading{[&] {
      while (!enough) server.reload_certificates();
    }};
    int served = 0;
    for (int i = 0; i < 50; ++i) {
      tls_client client{server.port(), made.trusting()};
      if (client.established() && client.open().status == 101 && is_open(client)) ++served;
    }
    enough = true;
    reloading.join();
    CHECK(served == 50);
  }

  TEST_CASE("a server without TLS has nothing to load") {
    const auto hub = skein::make_manager(quiet_options());
    skein::server server{hub};
    CHECK_NOTHROW(server.reload_certificates());
    CHECK(hub->stats().tls.reloads == 0);
  }

  TEST_CASE("SIGHUP loads them, and says in the log what came of it") {
    tls_fixture made;
    skein::config options;
    options.server = made.server_options();
    options.server.port = 0;
    options.manager = quiet_options();
    skein::container container{options};
    std::mutex mutex;
    std::string log;
    container.use_log([&](skein::log_level, std::string_view line) {
      const std::lock_guard lock{mutex};
      log.append(line).append("\n");
    });
    const auto logged = [&](std::string_view part) {
      const std::lock_guard lock{mutex};
      return log.find(part) != std::string::npos;
    };
    container.server().route("/echo", echo);
    int status = -1;
    std::thread running{[&] { status = container.run(); }};
    REQUIRE(eventually([&] { return container.server().port() != 0; }));
    const auto port = container.server().port();
    CHECK(eventually([&] { return shown_by(port) == "localhost"; }));

    replace(options.server.tls, made.root.issue({.common_name = "renewed"}));
    std::raise(SIGHUP);
    CHECK(eventually([&] { return logged("have been loaded again"); }));
    CHECK(shown_by(port) == "renewed");

    std::ofstream{options.server.tls.certificate_files[0], std::ios::trunc} << "nonsense";
    std::raise(SIGHUP);
    CHECK(
        eventually([&] { return logged("stay as they were: " + options.server.tls.certificate_files[0]); }));
    CHECK(shown_by(port) == "renewed");

    container.stop();
    running.join();
    CHECK(status == 0);
  }

  TEST_CASE("a container whose certificates cannot be used does not start, and says why") {
    tls_fixture made;
    skein::config options;
    options.server = made.server_options();
    options.server.port = 0;
    options.server.tls.key_files[0] = made.folder.path("missing.key");
    skein::container container{options};
    std::string log;
    container.use_log([&](skein::log_level, std::string_view line) { log.append(line); });
    CHECK(container.run() == 1);
    CHECK(log.find("missing.key: cannot be read: No such file") != std::string::npos);
  }
}
