#pragma once

// A server with certificates that were made for the test.

#include "http.hpp"
#include "tls_client.hpp"

#include <skein/tls.hpp>

namespace skein::test {

/// Certificates of one authority, for `localhost` unless the test wants others.
struct tls_fixture {
  temporary_folder folder;
  authority root{"test root"};

  /// Writes files for these names; returns the options with the pair added.
  skein::tls_options with(skein::tls_options options, const certificate_wish& wish,
                          const authority* issuer = nullptr) {
    const auto made = (issuer != nullptr ? *issuer : root).issue(wish);
    const auto name = std::to_string(options.certificate_files.size());
    options.certificate_files.push_back(folder.write(name + ".crt", made.certificate));
    options.key_files.push_back(folder.write(name + ".key", made.key));
    return options;
  }
  skein::server_options server_options() {
    skein::server_options options;
    options.tls = with({}, {.common_name = "localhost", .alternative_names = {"DNS:localhost"}});
    return options;
  }
  /// What a client of `localhost` wants.
  [[nodiscard]] tls_wishes trusting() const {
    tls_wishes wishes;
    wishes.server_name = "localhost";
    wishes.authority = root.certificate();
    return wishes;
  }
};

/// Whether a client that trusts the fixture's authority is served.
inline bool serves(const test_server& server, const tls_fixture& made) {
  tls_client client{server.port(), made.trusting()};
  return client.established() && client.open().status == 101 && is_open(client);
}

}  // namespace skein::test
