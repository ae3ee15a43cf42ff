#include "http/sign_in.hpp"

#include "http/answer.hpp"

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace skein::detail {
namespace {

refusal unauthorized(std::string text, std::string challenge) {
  refusal why;
  why.status = 401;
  why.text = std::move(text);
  why.headers.emplace_back("WWW-Authenticate", std::move(challenge));
  return why;
}

refusal who_are_you() {
  return unauthorized("a token is needed\n", "Bearer");
}

/// RFC 6750 section 3.1. Which check failed is nobody's business.
refusal bad_token() {
  return unauthorized("the token was refused\n", R"(Bearer error="invalid_token")");
}

asio::awaitable<admission> by_token(const route_entry& route, const server_options& options,
                                    const request& asked, std::string& reason) {
  auto& tokens = *options.tokens;
  auto found = tokens.find(asked, route.options.origin ? *route.options.origin : options.origin);
  if (auto* const why = std::get_if<refusal>(&found)) co_return std::move(*why);
  auto& token = std::get<std::optional<std::string>>(found);
  if (!token) co_return without_token(route, asked);
  auto answer = co_await tokens.identify(std::move(*token));
  if (answer.good()) co_return std::move(answer.who());
  reason = reason_of(answer);
  if (answer.status() == token_status::keys_unavailable)
    co_return unavailable("no keys to verify tokens with");
  co_return bad_token();
}

}  // namespace

std::string_view reason_of(const token_answer& bad) noexcept {
  if (bad.status() == token_status::keys_unavailable) return "no keys to verify tokens with";
  const auto why = bad.why();
  return why ? to_string(*why) : std::string_view{"the token is not good"};
}

admission without_token(const route_entry& route, const request& asked) {
  identity who;
  if (const auto* const shown = asked.client_certificate()) who = identity_of(*shown);
  if (!who.user.empty() || route.anonymous || route.token_may_follow) return who;
  return who_are_you();
}

asio::awaitable<admission> sign_in(const route_entry& route, const server_options& options,
                                   const request& asked, std::string& why) {
  if (nobody_to_ask(route, options)) co_return without_token(route, asked);
  if (!route.options.authenticator) {
    auto result = co_await by_token(route, options, asked, why);
    co_return result;
  }
  auto result = co_await route.options.authenticator(asked);
  const auto* const who = std::get_if<identity>(&result);
  if (who != nullptr && who->user.empty() && !route.anonymous) co_return who_are_you();
  co_return result;
}

}  // namespace skein::detail
