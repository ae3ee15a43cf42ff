#include "security/key_source.hpp"
#include "security/token_place.hpp"

#include <skein/authentication.hpp>
#include <skein/tls.hpp>

#include <boost/asio/this_coro.hpp>

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace skein {
namespace {

void require(bool allowed, const char* what) {
  if (!allowed) throw std::invalid_argument{what};
}

token_options checked(token_options options) {
  using namespace std::chrono_literals;
  require(!options.keys.empty() || !options.jwks.url.empty(), "tokens: neither keys nor an address of some");
  require(options.grace >= 0s, "grace: not negative");
  require(options.first_message_timeout > 0ns, "first_message_timeout: more than zero");
  require(options.jwks.timeout > 0ns, "jwks timeout: more than zero");
  require(options.jwks.pause > 0ns, "jwks pause: more than zero");
  require(options.jwks.max_age >= 0ns, "jwks max_age: not negative");
  if (!options.time) options.time = steady_clock();
  if (!options.to_identity) {
    options.to_identity = [how = options.user](const jwt_claims& claims) {
      identity who;
      who.user = claims.subject;
      if (how == token_user::issuer_and_subject && !claims.subject.empty())
        who.user = claims.issuer + ' ' + claims.subject;
      who.claims = claims.all;
      return who;
    };
  }
  return options;
}

std::string_view issuer_of(const identity& who) {
  const auto* const claims = who.claims.if_object();
  const auto* const issuer = claims ? claims->if_contains("iss") : nullptr;
  const auto* const text = issuer ? issuer->if_string() : nullptr;
  return text ? std::string_view{text->data(), text->size()} : std::string_view{};
}

/// Whether these are the same user's, as far as the same issuer names it. What a certificate says of its
/// user no token renews.
bool may_renew(connection& who, const identity& renewed) {
  const auto& current = who.user();
  if (const auto* const shown = who.request().client_certificate();
      shown && identity_of(*shown).claims == current.claims)
    return false;
  return issuer_of(current) == issuer_of(renewed);
}

}  // namespace

struct token_authenticator::impl : std::enable_shared_from_this<impl> {
  explicit impl(token_options given)
      : options(checked(std::move(given))),
        verifier(options.keys, options.jwt),
        configured(options.keys),
        key_count(options.keys.size()) {}

  void fetch_keys() {
    if (options.jwks.url.empty()) return;
    const auto from = detail::parse_jwks_address(options.jwks.url);
    require(from.has_value(), "jwks: https://host[:port][/path], or http:// with a loopback host");
    // Weak: a fetch may outlive the authenticator.
    source = std::make_shared<detail::key_source>(
        *from, options.jwks, options.time,
        [weak = weak_from_this()](std::vector<jwt_key> keys) {
          if (const auto self = weak.lock()) self->use(&impl::fetched, std::move(keys));
        },
        options.on_problem);
  }
  /// Puts keys in the place of those of the same origin; those of the other one stay.
  void use(std::vector<jwt_key> impl::*which, std::vector<jwt_key> keys) {
    const std::lock_guard lock{mutex};
    auto all = which == &impl::fetched ? configured : fetched;
    all.insert(all.begin(), keys.begin(), keys.end());
    this->*which = std::move(keys);
    key_count.store(all.size(), std::memory_order_relaxed);
    verifier.replace_keys(std::move(all));
  }
  [[nodiscard]] jwt_verdict verify(std::string_view token) const {
    return verifier.verify(token, options.time->wall_now());
  }
  [[nodiscard]] token_answer answer(const jwt_verdict& verdict) const {
    if (const auto* why = std::get_if<jwt_refusal>(&verdict)) return token_answer{*why};
    const auto& claims = std::get<jwt_claims>(verdict);
    const auto until = claims.expires + options.grace;
    // The verifier allows for clocks that differ, possibly by more than the grace.
    // In seconds, because nanoseconds end in the year 2262.
    if (until <= std::chrono::floor<std::chrono::seconds>(options.time->wall_now()))
      return token_answer{jwt_refusal::expired};
    auto who = options.to_identity(claims);
    who.expires = until;
    return token_answer{std::move(who)};
  }
  [[nodiscard]] static asio::awaitable<token_answer> identify(std::shared_ptr<impl> self, std::string token);

  const token_options options;
  jwt_verifier verifier;
  std::shared_ptr<detail::key_source> source;  // if there is one
  std::mutex mutex;                            // of the keys by their origin
  std::vector<jwt_key> configured, fetched;
  std::atomic<std::size_t> key_count;
  std::atomic<std::uint64_t> good{0};
  std::atomic<std::uint64_t> refused{0};
};

asio::awaitable<token_answer> token_authenticator::impl::identify(std::shared_ptr<impl> self,
                                                                  std::string token) {
  auto verdict = self->verify(token);
  const auto unknown = [](const jwt_verdict& of) {
    const auto* why = std::get_if<jwt_refusal>(&of);
    return why != nullptr && *why == jwt_refusal::key_unknown;
  };
  if (self->source) {
    if (unknown(verdict)) {
      const bool fetched = co_await self->source->refresh();
      if (fetched) verdict = self->verify(token);
    } else {
      self->source->refresh_if_old(co_await asio::this_coro::executor);
    }
  }
  auto result = self->answer(verdict);
  if (unknown(verdict) && self->source && !self->source->loaded())
    result = token_answer{token_status::keys_unavailable};
  (result.good() ? self->good : self->refused).fetch_add(1, std::memory_order_relaxed);
  co_return result;
}

token_authenticator::token_authenticator(token_options options)
    : impl_(std::make_shared<impl>(std::move(options))) {
  impl_->fetch_keys();
}

token_authenticator::~token_authenticator() = default;

const token_options& token_authenticator::options() const noexcept {
  return impl_->options;
}

token_stats token_authenticator::stats() const {
  token_stats now;
  now.good = impl_->good.load(std::memory_order_relaxed);
  now.refused = impl_->refused.load(std::memory_order_relaxed);
  now.keys = impl_->key_count.load(std::memory_order_relaxed);
  if (impl_->source) {
    now.fetches = impl_->source->fetches();
    now.failed_fetches = impl_->source->failures();
    if (const auto at = impl_->source->loaded_at())
      now.last_fetch = std::chrono::floor<std::chrono::seconds>(*at);
  }
  return now;
}

asio::awaitable<token_answer> token_authenticator::identify(std::string token) {
  return impl::identify(impl_, std::move(token));
}

asio::awaitable<token_answer> token_authenticator::refresh(connection& who, std::string token) {
  auto answer = co_await impl::identify(impl_, std::move(token));
  if (!answer.good()) co_return answer;
  if (!who.is_open()) co_return token_answer{token_status::closed};
  auto renewed = answer.who();
  if (!may_renew(who, renewed) || !who.renew(std::move(renewed)))
    co_return token_answer{token_status::other_user};
  co_return answer;
}

asio::awaitable<bool> token_authenticator::load_keys() {
  const auto keep = impl_;
  if (!keep->source) co_return true;
  const bool fetched = co_await keep->source->refresh(detail::fetch_when::now);
  co_return fetched;
}

void token_authenticator::replace_keys(std::vector<jwt_key> keys) {
  impl_->use(&impl::configured, std::move(keys));
}

std::variant<std::optional<std::string>, refusal> token_authenticator::find(
    const request& what, const origin_policy& origins) const {
  auto found = detail::find_token(what, impl_->options.places, origins);
  if (!found.ambiguous) return std::move(found.token);
  refusal why;
  why.status = 400;
  why.text = "one token, in one place\n";
  why.headers.emplace_back("WWW-Authenticate", R"(Bearer error="invalid_request")");
  return why;
}

request token_authenticator::without_token(const request& what) const {
  return detail::without_token(what, impl_->options.places);
}

}  // namespace skein
