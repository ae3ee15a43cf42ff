#pragma once

// A small HTTP server for the tests of JWK sets, which answers as the test says: over TLS, late, or not at
// all.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace skein::test {

class key_server {
 public:
  enum class transport : std::uint8_t { clear, tls };
  /// Over TLS the certificate is signed by itself, for `localhost` and 127.0.0.1.
  explicit key_server(transport over = transport::clear);
  key_server(const key_server&) = delete;
  key_server& operator=(const key_server&) = delete;
  ~key_server();

  /// The bytes of every answer from now on. Empty: the connection is closed without one. `silence`: nothing
  /// happens.
  void answer_with(std::string bytes);
  void serve(const std::string& document);
  static inline const std::string silence = "silence";

  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::string url(const std::string& host = "127.0.0.1") const;
  [[nodiscard]] int asked() const;
  /// The certificate in PEM, in a file that lives as long as this.
  [[nodiscard]] std::string certificate_file() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace skein::test
