#pragma once

// Servers whose clients bring tokens, and a clock that stands still.

#include "http.hpp"
#include "unit/jwt_fixture.hpp"

#include <skein/authentication.hpp>

#include <functional>
#include <memory>
#include <string>

namespace skein::test {

/// 2030-01-01, which is when a virtual clock begins.
inline constexpr long long long_ago = 1'893'456'000;

inline std::string token_for(const std::string& user, long long lifetime = 60, const std::string& kid = {}) {
  const std::string header = kid.empty() ? R"({"alg":"HS256"})" : R"({"alg":"HS256","kid":")" + kid + "\"}";
  return jwt_test::signed_token(
      jwt_algorithm::hs256, header,
      R"({"sub":")" + user + R"(","role":"trader","exp":)" + std::to_string(long_ago + lifetime) + "}");
}

inline std::string bearer(const std::string& token) {
  return "Authorization: Bearer " + token + "\r\n";
}

/// A token as it should be, but signed by somebody else.
inline std::string forged_token() {
  return jwt_test::signed_token(jwt_algorithm::hs256, R"({"alg":"HS256"})",
                                R"({"sub":"ada","exp":)" + std::to_string(long_ago + 60) + "}", 1);
}

/// Who this is, and then each message.
inline asio::awaitable<void> say_who_then_echo(connection& client) {
  co_await client.write(message::text("you are " + client.user().user));
  while (auto received = co_await client.read()) co_await client.write(std::move(*received));
}

/// Renews the connection with each token that comes, and answers with the status.
inline asio::awaitable<void> renew_each(std::shared_ptr<token_authenticator> tokens, connection& client) {
  while (auto received = co_await client.read()) {
    const auto answer = co_await tokens->refresh(client, std::string{received->payload()});
    const auto text = std::to_string(static_cast<int>(answer.status()));
    co_await client.write(message::text(text));
  }
}

class token_server {
 public:
  explicit token_server(const std::function<void(token_options&, server_options&)>& change = {},
                        const std::function<void(skein::server&)>& routes = {})
      : tokens(make(change)), server(timed(), where, [&](skein::server& one) {
          one.route("/who", say_who_then_echo);
          one.route("/renew", [of = tokens](connection& client) { return renew_each(of, client); });
          if (routes) routes(one);
          one.add_standard_endpoints();
        }) {}

  [[nodiscard]] unsigned status(std::string_view headers, std::string_view path = "/who") const {
    return status_of(server, headers, path);
  }

  std::shared_ptr<testing::virtual_clock> time = std::make_shared<testing::virtual_clock>();
  server_options where;
  std::shared_ptr<token_authenticator> tokens;
  test_server server;

 private:
  std::shared_ptr<token_authenticator> make(
      const std::function<void(token_options&, server_options&)>& change) {
    token_options options;
    options.keys.push_back(jwt_test::public_key_for(jwt_algorithm::hs256));
    options.jwt.clock_skew = std::chrono::seconds{0};
    options.time = time;
    where.require_authentication = true;
    if (change) change(options, where);
    where.tokens = std::make_shared<token_authenticator>(std::move(options));
    return where.tokens;
  }
  manager_options timed() const {
    auto options = quiet_options();
    options.time = time;
    return options;
  }
};

}  // namespace skein::test
