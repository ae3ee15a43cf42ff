#include "connection/inbound_guard.hpp"

#include "connection/deadline_queue.hpp"
#include "connection/request_id.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace skein::detail {
namespace {

namespace json = boost::json;

// Whoever is only a little too fast loses messages, not the connection.
constexpr std::chrono::nanoseconds least_calm = std::chrono::seconds{1};

json::string_view as_json(std::string_view text) noexcept {
  return {text.data(), text.size()};
}

/// The error, with the `id` of the message if it is an object that has one: whoever asked learns which
/// request it was. Only the few offences that are answered are looked at.
std::string answer_to(const message& what, json::object error) {
  json::error_code invalid;
  const auto request = json::parse(as_json(what.payload()), invalid);
  const auto* const object = request.if_object();
  const auto* const id = object ? object->if_contains("id") : nullptr;
  if (id && is_request_id(*id)) error["id"] = *id;
  return json::serialize(error);
}

}  // namespace

std::optional<inbound_guard::objection> inbound_guard::slow_down(const message& what, std::string_view limit,
                                                                 const rate& past, rate_verdict verdict,
                                                                 time_point now) {
  const auto refill = std::chrono::duration<double>(static_cast<double>(past.burst()) / past.per_second());
  calm_at_ = deadline_after(now, std::max(std::chrono::ceil<std::chrono::nanoseconds>(refill), least_calm));
  if (++too_fast_ >= most_offences) return objection{offence::too_fast, true, "too many messages"};
  json::object answer{{"type", "error"},
                      {"code", "rate_limited"},
                      {"message", "too fast: this message was dropped"},
                      {"limit", as_json(limit)}};
  // What costs more than a whole burst never passes.
  if (verdict.wait != duration::max()) answer["retry_after_ms"] = verdict.retry_after().count();
  return objection{offence::too_fast, false, answer_to(what, std::move(answer))};
}

std::optional<inbound_guard::objection> inbound_guard::judge(const message& what, std::string_view user,
                                                             bool validate, time_point now) {
  if (!rules_) return std::nullopt;
  const auto& rules = *rules_;
  if (now >= calm_at_) too_fast_ = 0;
  if (const auto verdict = messages_.take(rules.messages, 1, now); !verdict)
    return slow_down(what, "messages", rules.messages, verdict, now);
  if (const auto verdict = bytes_.take(rules.bytes, what.size(), now); !verdict)
    return slow_down(what, "bytes", rules.bytes, verdict, now);
  if (rules.users && !user.empty()) {
    if (const auto verdict = rules.users->take(user, now); !verdict)
      return slow_down(what, "user", rules.users->limit(), verdict, now);
  }
  if (!validate || !rules.validator) return std::nullopt;
  const auto error = rules.validator->check(what);
  if (!error) return std::nullopt;
  if (++invalid_ >= most_offences) return objection{offence::invalid, true, "too many bad messages"};
  json::object answer{{"type", "error"},
                      {"code", as_json(name(error->code))},
                      {"message", as_json(error->text)},
                      {"field", as_json(error->pointer)}};
  return objection{offence::invalid, false, answer_to(what, std::move(answer))};
}

}  // namespace skein::detail
