#include "http/client_gate.hpp"

#include "http/answer.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>

namespace skein::detail {
namespace {

class user_buckets final : public user_rate {
 public:
  explicit user_buckets(const rate& limit) : buckets_(limit) {}
  [[nodiscard]] const rate& limit() const noexcept override { return buckets_.limit(); }
  [[nodiscard]] rate_verdict take(std::string_view user, time_point now) noexcept override {
    return buckets_.take(user, 1, now);
  }

 private:
  keyed_buckets buckets_;
};

std::pair<refusal, refusal_reason> too_often(unsigned status, std::string_view text, rate_verdict verdict) {
  refusal why;
  why.status = status;
  why.text = std::string{text};
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(verdict.wait).count();
  why.headers.emplace_back("Retry-After", std::to_string(std::max<decltype(seconds)>(1, seconds)));
  return {std::move(why), refusal_reason::rate};
}

}  // namespace

std::shared_ptr<void> address_places::take(const boost::asio::ip::address& from) {
  const auto whose = key_of(from);
  {
    const std::lock_guard lock{mutex_};
    auto& count = taken_[whose];
    if (count >= most_) return nullptr;
    ++count;
  }
  // The deleter is called even if there is no memory for the count of owners.
  return {this, [keep = shared_from_this(), whose](void*) { keep->give_back(whose); }};
}

void address_places::give_back(const address_key& from) noexcept {
  const std::lock_guard lock{mutex_};
  const auto found = taken_.find(from);
  if (found != taken_.end() && --found->second == 0) taken_.erase(found);
}

std::size_t address_places::addresses() const {
  const std::lock_guard lock{mutex_};
  return taken_.size();
}

client_gate::client_gate(const server_options& options) : limits_(options.clients) {
  for (const auto& text : options.proxies.trusted) {
    const auto one = network::parse(text);
    if (!one) throw std::invalid_argument{"trusted proxy: an address or a network such as 10.0.0.0/8"};
    proxies_.networks.push_back(*one);
  }
  if (options.proxies.proxy_protocol && proxies_.networks.empty())
    throw std::invalid_argument{"proxy_protocol: needs trusted proxies"};
  proxies_.header = options.proxies.header;
  if (!limits_.handshakes.is_off()) handshakes_.emplace(limits_.handshakes);
  if (limits_.connections_per_address != 0)
    places_ = std::make_shared<address_places>(limits_.connections_per_address);
  // Offenders only: they need no more room.
  if (handshakes_ || places_ || !limits_.accepts.is_off()) refused_.emplace(rate{answered_refusals}, 8192);
  if (!limits_.user_messages.is_off()) users_ = std::make_shared<user_buckets>(limits_.user_messages);
}

bool client_gate::listens_to(const boost::asio::ip::address& from, time_point now) const {
  return !refused_ || refused_->has_one(from, now) || contains(proxies_.networks, from);
}

bool client_gate::remember(const boost::asio::ip::address& peer, time_point now) noexcept {
  if (!refused_ || contains(proxies_.networks, peer)) return true;
  return refused_->take(peer, 1, now) && refused_->has_one(peer, now);
}

entrance client_gate::enter(const boost::asio::ip::address& from, time_point now) noexcept {
  if (!handshakes_ || contains(proxies_.networks, from)) return entrance::open;
  if (handshakes_->take(from, 1, now)) return entrance::paid;
  remember(from, now);
  return entrance::unpaid;
}

std::optional<std::pair<refusal, refusal_reason>> client_gate::check_address(
    const boost::asio::ip::address& from, time_point now) {
  if (handshakes_) {
    if (const auto verdict = handshakes_->take(from, 1, now); !verdict)
      return too_often(429, "too many requests from this address\n", verdict);
  }
  return std::nullopt;
}

std::optional<std::pair<refusal, refusal_reason>> client_gate::check_all(time_point now) {
  if (!limits_.accepts.is_off()) {
    const std::lock_guard lock{mutex_};
    if (const auto verdict = accepts_.take(limits_.accepts, 1, now); !verdict)
      return too_often(503, "too many requests\n", verdict);
  }
  return std::nullopt;
}

std::pair<std::shared_ptr<void>, bool> client_gate::take_place(const boost::asio::ip::address& from) {
  if (!places_) return {nullptr, true};
  auto place = places_->take(from);
  const bool taken = place != nullptr;
  return {std::move(place), taken};
}

std::pair<refusal, refusal_reason> client_gate::no_place() {
  auto why = unavailable("too many connections from this address");
  why.status = 429;
  return {std::move(why), refusal_reason::address_limit};
}

std::shared_ptr<const inbound_rules> client_gate::rules(const route_options& route) const {
  return rules_of(route, limits_, users_);
}

std::shared_ptr<const inbound_rules> rules_of(const route_options& route, const client_limits& limits,
                                              std::shared_ptr<user_rate> users) {
  inbound_rules rules;
  rules.messages = route.messages.value_or(limits.messages);
  rules.bytes = route.bytes.value_or(limits.bytes);
  rules.users = std::move(users);
  rules.validator = route.validator;
  return rules.any() ? std::make_shared<const inbound_rules>(std::move(rules)) : nullptr;
}

}  // namespace skein::detail
