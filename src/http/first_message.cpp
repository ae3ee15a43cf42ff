#include "http/first_message.hpp"

#include "connection/connection_impl.hpp"
#include "http/sign_in.hpp"
#include "hub/shard.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <optional>
#include <string>
#include <utility>

namespace skein::detail {
namespace {

namespace json = boost::json;

/// The time that a connection has for its token, by its shard's clock.
class time_to_sign_in final : public deadline_entry {
 public:
  explicit time_to_sign_in(connection_impl& whose) : whose_(whose) {}
  void on_deadline(time_point) override {
    passed_ = true;
    whose_.begin_close(closed_by::local, close_code::unauthorized, "no token in time");
  }
  [[nodiscard]] bool passed() const noexcept { return passed_; }

 private:
  connection_impl& whose_;
  bool passed_ = false;
};

/// The token of an `auth` message; nothing if it is something else.
std::optional<std::string> token_in(const message& what) {
  if (!what.is_text()) return std::nullopt;
  json::parse_options limits;
  limits.max_depth = 2;
  json::error_code error;
  const auto parsed = json::parse(what.payload(), error, {}, limits);
  const auto* object = parsed.if_object();
  if (error || object == nullptr) return std::nullopt;
  const auto* type = object->if_contains("type");
  const auto* token = object->if_contains("token");
  if (type == nullptr || !type->is_string() || type->get_string() != "auth" || token == nullptr ||
      !token->is_string() || object->size() != 2)
    return std::nullopt;
  return std::string{token->get_string()};
}

prepared_message welcome(const identity& who) {
  json::object answer{{"type", "authenticated"}, {"user", who.user}};
  if (who.expires) answer["expires_at"] = who.expires->time_since_epoch().count();
  return message::text(json::serialize(answer));
}

/// `why` is for the log, `text` for the client.
void turn_away(connection_impl& client, refusal_log& refusals, close_code code, const char* text,
               std::string_view why) {
  dynamic_cast<shard&>(client.where()).shared().count_refusal(refusal_reason::authentication);
  refusals.tell(client.remote_address(), client.route(), std::to_string(static_cast<unsigned>(code)), why,
                client.where().now());
  client.begin_close(closed_by::local, code, text);
}

asio::awaitable<bool> sign_in(connection_impl& client, token_authenticator& tokens, refusal_log& refusals) {
  time_to_sign_in limit{client};
  auto& where = client.where();
  where.set_deadline(limit, deadline_after(where.now(), tokens.options().first_message_timeout));
  const auto first = co_await client.read();
  if (!first) {
    if (limit.passed()) turn_away(client, refusals, close_code::unauthorized, "", "no token in time");
    co_return false;
  }
  auto token = token_in(*first);
  if (!token) {
    turn_away(client, refusals, close_code::policy_violation, "a token is wanted first",
              "the first message is no token");
    co_return false;
  }
  auto answer = co_await tokens.identify(std::move(*token));
  if (!client.is_open()) {
    if (limit.passed()) turn_away(client, refusals, close_code::unauthorized, "", "no token in time");
    co_return false;
  }
  if (answer.status() == token_status::keys_unavailable) {
    turn_away(client, refusals, close_code::try_again_later, "no keys to verify tokens with",
              reason_of(answer));
    co_return false;
  }
  if (!answer.good()) {
    turn_away(client, refusals, close_code::unauthorized, "the token was refused", reason_of(answer));
    co_return false;
  }
  client.admit(std::move(answer.who()));
  co_await client.write(welcome(client.user()));
  co_return true;
}

/// What the handler of one connection holds until it is admitted; the handler itself lives longer.
struct waiting_room {
  std::shared_ptr<void> place;
};

asio::awaitable<void> serve(connection& client, std::shared_ptr<token_authenticator> tokens,
                            std::shared_ptr<refusal_log> refusals, std::shared_ptr<const handler> then,
                            std::shared_ptr<waiting_room> waits) {
  const bool admitted = co_await sign_in(dynamic_cast<connection_impl&>(client), *tokens, *refusals);
  waits->place.reset();
  if (admitted) co_await (*then)(client);
}

}  // namespace

handler after_token(std::shared_ptr<token_authenticator> tokens, std::shared_ptr<refusal_log> refusals,
                    std::shared_ptr<const handler> then, std::shared_ptr<void> place) {
  auto waits = std::make_shared<waiting_room>();
  waits->place = std::move(place);
  return
      [tokens = std::move(tokens), refusals = std::move(refusals), then = std::move(then),
       waits = std::move(waits)](connection& client) { return serve(client, tokens, refusals, then, waits); };
}

}  // namespace skein::detail
