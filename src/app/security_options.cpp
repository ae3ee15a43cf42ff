// The options that say who a client is, where it comes from, and how much it may.

#include "app/option_kinds.hpp"
#include "app/tokens.hpp"
#include "app/value_text.hpp"
#include "security/client_address.hpp"
#include "security/jwks_client.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace skein::app {
namespace {

using namespace std::chrono_literals;

bool is_not_empty(const std::string& text) {
  return !text.empty();
}

/// A token of HTTP, as the names of cookies are (RFC 6265 section 4.1.1).
bool is_token(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c <= '~' && std::string_view{"()<>@,;:\\\"/[]?={}"}.find(c) == std::string_view::npos;
  });
}

// `place` as in option_kinds.hpp.
template <class Place>
option a_rate(std::string key, Place place, std::string help) {
  auto result = make_option(std::move(key), "rate", "N/s, N/s:BURST, or off", std::move(help));
  result.example = "100/s:200";
  result.set = [=](config& into, const std::vector<std::string>& given) {
    const auto value = parse_rate(given.front());
    if (value) place(into) = *value;
    return value.has_value();
  };
  result.show = [=](const config& from) { return to_string(place(from)); };
  return result;
}

/// A duration that is kept in seconds: a part of one is refused, not rounded.
template <class Place>
option whole_seconds(std::string key, range bounds, Place place, std::string help) {
  auto result = duration(std::move(key), bounds, SKEIN_PLACE(shutdown_timeout), std::move(help));
  result.allowed += ", in whole seconds";
  result.hint = ", with a unit: s, m or h";
  result.bounds = {};  // they are in nanoseconds, of which not each is allowed
  result.example = "7s";
  result.set = [=](config& into, const std::vector<std::string>& given) {
    const auto value = parse_duration(given.front());
    if (!value || *value % 1s != 0s || !bounds.contains(static_cast<std::uint64_t>(value->count())))
      return false;
    place(into) = std::chrono::duration_cast<std::chrono::seconds>(*value);
    return true;
  };
  result.show = [=](const config& from) { return format_duration(place(from)); };
  return result;
}

constexpr std::array<std::pair<std::string_view, forwarded_header>, 3> headers{
    {{"x-forwarded-for", forwarded_header::x_forwarded_for},
     {"forwarded", forwarded_header::forwarded},
     {"none", forwarded_header::none}}};

option forwarded() {
  auto result = choice("forwarded-header", headers, SKEIN_PLACE(server.proxies.header),
                       "The header in which trusted proxies say who their client is.");
  result.example = "forwarded";
  return result;
}

constexpr std::array<std::pair<std::string_view, bool>, 2> client_certificates{
    {{"required", true}, {"optional", false}}};

constexpr std::array<std::pair<std::string_view, token_user>, 2> token_users{
    {{"sub", token_user::subject}, {"iss-sub", token_user::issuer_and_subject}}};

constexpr auto pem_file = "the path of a PEM file";

void add_tls(std::vector<option>& to) {
  to.push_back(
      list("tls-certificate", "WEBSOCKET_TLS_CERTIFICATES", pem_file, "/etc/skein/example.crt", is_not_empty,
           SKEIN_PLACE(server.tls.certificate_files),
           "A certificate with its chain; switches TLS on. Give it again for more names (SNI): a "
           "client is shown the first that is valid for the name it asks for, else the very first."));
  to.push_back(list("tls-key", "WEBSOCKET_TLS_KEYS", pem_file, "/etc/skein/example.key", is_not_empty,
                    SKEIN_PLACE(server.tls.key_files),
                    "The private key, not encrypted, of each tls-certificate, in the same order."));
  to.push_back(text("tls-client-ca", pem_file, "/etc/skein/clients.crt", is_not_empty,
                    SKEIN_PLACE(server.tls.client_ca_file),
                    "The authorities whose certificates clients show (mutual TLS). None: clients are not "
                    "asked for one."));
  to.push_back(choice("tls-client-certificate", client_certificates,
                      SKEIN_PLACE(server.tls.client_certificate_required),
                      "Whether a client without a certificate is refused, if there is a tls-client-ca."));
  to.back().example = "optional";
}

void add_tokens(std::vector<option>& to) {
  to.push_back(text(
      "jwt-secret-file", "[ALGORITHM:]FILE with HS256, HS384 or HS512", "HS256:/run/secrets/jwt",
      [](const std::string& v) { return parse_key_file(v, true, jwt_algorithm::hs256).has_value(); },
      SKEIN_PLACE(tokens.secret_file),
      "The secret that JSON Web Tokens are signed with; HS256 unless it says."));
  to.push_back(list(
      "jwt-key", "WEBSOCKET_JWT_KEYS", "ALGORITHM:FILE, as RS256:/etc/skein/key.pem", "ES256:/etc/key.pem",
      [](const std::string& v) { return parse_key_file(v, false).has_value(); },
      SKEIN_PLACE(tokens.key_files),
      "A public key or a certificate in PEM for tokens of this one algorithm; give it again for more. With "
      "' issuer=ISSUER' behind it it is for its tokens alone."));
  to.push_back(text(
      "jwks", "a file, https://host[:port]/path, or http:// with a loopback host", "https://id.example/jwks",
      [](const std::string& v) {
        const auto keys = parse_bound_keys(v);
        return keys && (!is_url(keys->where) || detail::parse_jwks_address(keys->where));
      },
      SKEIN_PLACE(tokens.jwks),
      "A JWK set with the keys of tokens; a URL is asked again for unknown keys. With ' issuer=ISSUER' "
      "behind "
      "it they are for its tokens alone."));
  to.push_back(text("jwks-ca-file", "a file", "/etc/ssl/own.pem", is_not_empty,
                    SKEIN_PLACE(tokens.jwks_ca_file),
                    "Certificates in PEM that vouch for the JWK set's server; none: the system's."));
  to.push_back(list("jwt-issuer", "WEBSOCKET_JWT_ISSUERS", "a text", "https://id.example", is_not_empty,
                    SKEIN_PLACE(tokens.issuers), "An issuer whose tokens are good; none: any."));
  to.push_back(list("jwt-audience", "WEBSOCKET_JWT_AUDIENCES", "a text", "chat", is_not_empty,
                    SKEIN_PLACE(tokens.audiences),
                    "Whom tokens are for; none: tokens that are for somebody are refused."));
  to.push_back(
      choice("jwt-user", token_users, SKEIN_PLACE(tokens.user),
             "Who a token's user is: its sub, or its iss, a space and its sub, for issuers that name "
             "users of their own."));
  to.back().example = "iss-sub";
  to.push_back(whole_seconds("jwt-clock-skew", zero_or(between(nanoseconds{1s}, nanoseconds{1h})),
                             SKEIN_PLACE(tokens.clock_skew),
                             "How far the issuers' clocks may be apart from "
                             "this one."));
  to.push_back(toggle("jwt-require-nbf", SKEIN_PLACE(tokens.require_not_before),
                      "Tokens that do not say from when on they are valid are refused."));
  to.push_back(
      count("jwt-one-time", between(0, 1ULL << 24U), SKEIN_PLACE(tokens.one_time_capacity),
            "Tokens are accepted once, by their jti, and so many are remembered; past it 401. 0: they "
            "may be used again."));
  to.push_back(whole_seconds("token-grace", zero_or(between(nanoseconds{1s}, nanoseconds{1h})),
                             SKEIN_PLACE(tokens.grace),
                             "From a token's expiry to the end of its connection with 4001."));
  to.push_back(toggle("require-auth", SKEIN_PLACE(server.require_authentication),
                      "Nobody may connect without a token, unless a route says so: 401."));
  to.push_back(text("token-cookie", "the name of a cookie", "session", is_token,
                    SKEIN_PLACE(tokens.places.cookie),
                    "A cookie that may hold the token, for pages of an allowed origin that is listed."));
  to.push_back(text("token-query", "the name of a parameter", "token", is_token,
                    SKEIN_PLACE(tokens.places.query),
                    "A query parameter that may hold the token. Proxies and browsers write those down."));
  to.push_back(toggle("token-first-message", SKEIN_PLACE(tokens.places.first_message),
                      "The token may come in the first message, within 10 s; else 4001."));
  to.push_back(count("max-unadmitted", between(0, 10'000'000), SKEIN_PLACE(server.max_unadmitted),
                     "Connections whose token is still to come; past it 503. 0: a quarter of "
                     "max-connections."));
}

void add_limits(std::vector<option>& to) {
  constexpr auto any_count = between(0, 10'000'000);
  to.push_back(a_rate("message-rate", SKEIN_PLACE(server.clients.messages),
                      "Messages received from a connection; past it an error message, the third time 1008."));
  to.push_back(count("message-burst", any_count, SKEIN_PLACE(message_burst),
                     "Messages that may be received at once; 0: what message-rate says."));
  to.push_back(a_rate("byte-rate", SKEIN_PLACE(server.clients.bytes),
                      "Payload bytes received from a connection, as 64KiB/s:1MiB; past it as message-rate."));
  to.push_back(a_rate("user-rate", SKEIN_PLACE(server.clients.user_messages),
                      "Messages received from all connections of a user; past it as message-rate."));
  to.push_back(a_rate("handshake-rate", SKEIN_PLACE(server.clients.handshakes),
                      "Connections begun by one address, and further requests to upgrade; past it 429."));
  to.push_back(count("connections-per-address", any_count,
                     SKEIN_PLACE(server.clients.connections_per_address),
                     "Connections of one address at once; past it 429. 0: no limit."));
  to.push_back(
      count("handshakes-per-address", any_count, SKEIN_PLACE(server.clients.handshakes_per_address),
            "Connections of one address that stay in TLS or HTTP while others wait; past it they are "
            "closed. 0: no limit."));
  to.push_back(a_rate("accept-rate", SKEIN_PLACE(server.clients.accepts),
                      "Requests to upgrade from all addresses together; past it 503."));
}

void add_proxies(std::vector<option>& to) {
  to.push_back(list(
      "trusted-proxy", "WEBSOCKET_TRUSTED_PROXIES", "an address, or a network such as 10.0.0.0/8",
      "10.0.0.0/8", [](const std::string& v) { return detail::network::parse(v).has_value(); },
      SKEIN_PLACE(server.proxies.trusted),
      "Proxies that are believed when they say who their client is; give it again for more."));
  to.push_back(forwarded());
  to.push_back(toggle("proxy-protocol", SKEIN_PLACE(server.proxies.proxy_protocol),
                      "Connections begin with the PROXY protocol, from trusted proxies only."));
}

}  // namespace

void add_security_options(std::vector<option>& to) {
  add_tls(to);
  add_tokens(to);
  add_limits(to);
  add_proxies(to);
}

}  // namespace skein::app
