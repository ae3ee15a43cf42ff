// What operators ask: /ws/stats, /healthz, /readyz.

#include "http/server_core.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

namespace skein {
namespace {

namespace json = boost::json;

json::object to_json(const manager_stats& stats) {
  json::object refused;
  for (std::size_t i = 0; i < stats.refused.size(); ++i) {
    const auto reason = name(static_cast<refusal_reason>(i));
    refused[json::string_view{reason.data(), reason.size()}] = stats.refused[i];
  }
  json::object connections{{"active", stats.active},       {"open", stats.open},
                           {"closing", stats.closing},     {"handshaking", stats.handshaking},
                           {"max", stats.max_connections}, {"total", stats.total},
                           {"closed", stats.closed},       {"refused", std::move(refused)}};
  json::object messages{{"in", stats.messages_in},
                        {"out", stats.messages_out},
                        {"bytes_in", stats.bytes_in},
                        {"bytes_out", stats.bytes_out},
                        {"wire_bytes_in", stats.wire_bytes_in},
                        {"wire_bytes_out", stats.wire_bytes_out},
                        {"writes", stats.writes},
                        {"broadcasts", stats.broadcasts}};
  json::object queues{{"messages", stats.queued_messages}, {"bytes", stats.queued_bytes}};
  json::object dropped{{"overflow", stats.dropped_overflow},
                       {"conflated", stats.dropped_conflated},
                       {"discarded", stats.discarded},
                       {"evictions", stats.evictions}};
  json::object heartbeat{{"pings_sent", stats.pings_sent},
                         {"pongs_received", stats.pongs_received},
                         {"pong_timeouts", stats.pong_timeouts},
                         {"pings_received", stats.pings_received}};
  json::object failures{
      {"write_timeouts", stats.write_timeouts}, {"close_timeouts", stats.close_timeouts},
      {"protocol", stats.protocol_failures},    {"handler_exceptions", stats.handler_exceptions},
      {"rate_limited", stats.rate_limited},     {"invalid", stats.invalid},
      {"token_expiries", stats.token_expiries}};
  json::object tls{{"handshakes", stats.tls.handshakes}, {"resumed", stats.tls.resumed},
                   {"failed", stats.tls.failed},         {"timed_out", stats.tls.timed_out},
                   {"reloads", stats.tls.reloads},       {"failed_reloads", stats.tls.failed_reloads}};
  return {{"uptime_seconds", std::chrono::duration<double>(stats.uptime).count()},
          {"connections", std::move(connections)},
          {"messages", std::move(messages)},
          {"queues", std::move(queues)},
          {"dropped", std::move(dropped)},
          {"heartbeat", std::move(heartbeat)},
          {"failures", std::move(failures)},
          {"tls", std::move(tls)}};
}

json::object to_json(const token_stats& stats) {
  json::object result{{"good", stats.good},
                      {"refused", stats.refused},
                      {"keys", stats.keys},
                      {"fetches", stats.fetches},
                      {"failed_fetches", stats.failed_fetches},
                      {"last_fetch", nullptr}};
  if (stats.last_fetch) result["last_fetch"] = stats.last_fetch->time_since_epoch().count();
  return result;
}

response json_response(const json::object& what, unsigned status) {
  response answer;
  answer.status = status;
  answer.body = json::serialize(what) + '\n';
  answer.content_type = "application/json";
  answer.headers.emplace_back("Cache-Control", "no-store");
  return answer;
}

response health_response(const health_report& health, bool good) {
  json::array reasons;
  for (const auto& reason : health.reasons) reasons.emplace_back(reason);
  const json::object body{{"live", health.live}, {"ready", health.ready}, {"reasons", std::move(reasons)}};
  return json_response(body, good ? 200 : 503);
}

// The endpoints may be asked when the manager has gone, if it was embedded in somebody's context.

response gone() {
  return json_response({{"live", false}, {"ready", false}, {"reasons", {"no manager"}}}, 503);
}

asio::awaitable<response> stats_of(std::weak_ptr<const detail::server_core> of) {
  const auto core = of.lock();
  const auto what = core ? core->manager.lock() : nullptr;
  if (!what) co_return gone();
  auto all = to_json(what->stats());
  if (const auto& tokens = core->options.tokens) all["tokens"] = to_json(tokens->stats());
  for (const auto& [name, now] : core->statistics) all[name] = now();
  co_return json_response(all, 200);
}

asio::awaitable<response> health_of(std::weak_ptr<const detail::server_core> of, bool health_report::*good) {
  const auto core = of.lock();
  const auto manager = core ? core->manager.lock() : nullptr;
  if (!manager) co_return gone();
  auto health = manager->health();
  for (const auto& check : core->health_checks) check(health);
  if (!health.live) health.ready = false;
  co_return health_response(health, health.*good);
}

}  // namespace

void server::add_standard_endpoints() {
  const std::weak_ptr<const detail::server_core> core = core_;
  get("/ws/stats", [core](const request&) { return stats_of(core); });
  get("/healthz", [core](const request&) { return health_of(core, &health_report::live); });
  get("/readyz", [core](const request&) { return health_of(core, &health_report::ready); });
}

}  // namespace skein
