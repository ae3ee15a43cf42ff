#include "protocol/answers.hpp"

#include "connection/connection_impl.hpp"
#include "hub/envelope.hpp"
#include "hub/presence.hpp"

#include <boost/json/serialize.hpp>

#include <utility>

namespace skein::detail {
namespace {

/// An object and one more field, a list of what is JSON text already.
class answer_with_list {
 public:
  answer_with_list(const json::value* id, json::object head, std::string_view name) {
    if (id) head["id"] = *id;
    text_ = json::serialize(head);
    text_.back() = ',';
    append_json_string(text_, name);
    text_ += ":[";
  }
  /// Where the next element goes.
  [[nodiscard]] std::string& next() {
    if (!std::exchange(empty_, false)) text_ += ',';
    return text_;
  }
  [[nodiscard]] message done() && { return message::text(std::move(text_) + "]}"); }

 private:
  std::string text_;
  bool empty_ = true;
};

}  // namespace

prepared_message answer(const json::value* id, json::object fields) {
  if (id) fields["id"] = *id;
  return message::text(json::serialize(fields));
}

prepared_message error_answer(const json::value* id, std::string_view code, std::string_view text,
                              std::string_view field, std::chrono::milliseconds retry_after) {
  json::object fields{{"type", "error"}, {"code", code}, {"message", text}};
  if (!field.empty()) fields["field"] = field;
  if (retry_after.count() > 0) fields["retry_after_ms"] = retry_after.count();
  return answer(id, std::move(fields));
}

void add_position(json::object& to, const topic_position& at) {
  if (at.epoch.empty()) return;
  to["epoch"] = at.epoch;
  to["offset"] = at.offset;
}

json::object opening(std::string_view type, std::string_view channel) {
  return {{"type", type}, {"channel", channel}};
}

prepared_message simple_answer(const json::value* id, std::string_view type, std::string_view channel) {
  json::object fields{{"type", type}};
  if (!channel.empty()) fields["channel"] = channel;
  return answer(id, std::move(fields));
}

prepared_message history_answer(const json::value* id, const std::string& channel, const history_page& page,
                                std::optional<bool> recovered) {
  auto head = opening("history", channel);
  add_position(head, page.current);
  if (recovered) head["recovered"] = *recovered;
  head["more"] = page.more;
  answer_with_list all{id, std::move(head), "publications"};
  for (const auto& each : page.publications) {
    all.next() += enveloped(each.what, {channel, page.current.epoch, each.offset}).payload();
  }
  return std::move(all).done();
}

prepared_message presence_answer(const json::value* id, const std::string& channel,
                                 const presence_report& report) {
  auto head = opening("presence", channel);
  head["count"] = report.count;
  if (report.members.size() != report.count) return answer(id, std::move(head));
  answer_with_list all{id, std::move(head), "members"};
  for (const auto& each : report.members) append_member(all.next(), each);
  return std::move(all).done();
}

namespace {

json::object rate_object(const rate& of) {
  return {{"messages_per_s", of.per_second()}, {"burst", of.burst()}};
}

/// How fast this connection, and its user over all connections, may send messages.
void add_rates(json::object& to, const connection& client) {
  const auto* const mine = dynamic_cast<const connection_impl*>(&client);
  const auto* const rules = mine ? mine->inbound() : nullptr;
  if (!rules) return;
  if (!rules->messages.is_off()) to["rate"] = rate_object(rules->messages);
  if (rules->users && !client.user().user.empty()) to["user_rate"] = rate_object(rules->users->limit());
}

}  // namespace

prepared_message welcome_message(const connection& client, const protocol_options& options,
                                 std::optional<std::chrono::milliseconds> token_left) {
  using std::chrono::milliseconds;
  json::object fields{{"type", "welcome"},
                      {"version", 1},
                      {"connection", std::to_string(client.id())},
                      {"ping_ms", std::chrono::duration_cast<milliseconds>(options.ping_interval).count()},
                      {"max_message_bytes", options.max_message_bytes},
                      {"max_subscriptions", options.max_subscriptions}};
  add_rates(fields, client);
  if (!client.user().user.empty()) fields["user"] = client.user().user;
  if (token_left) fields["expires_in_ms"] = token_left->count();
  return message::text(json::serialize(fields));
}

prepared_message refreshed_message(const json::value* id,
                                   std::optional<std::chrono::milliseconds> token_left) {
  json::object fields{{"type", "refreshed"}};
  if (token_left) fields["expires_in_ms"] = token_left->count();
  return answer(id, std::move(fields));
}

prepared_message subscription_ended(const std::string& channel, std::string_view code) {
  auto fields = opening("unsubscribed", channel);
  fields["code"] = code;
  return message::text(json::serialize(fields));
}

}  // namespace skein::detail
