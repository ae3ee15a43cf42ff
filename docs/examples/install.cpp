#include "desk.hpp"
#include "examples.hpp"

#include <memory>
#include <utility>

namespace skein::examples {

void configure(config& options) {
  // Behind those of the configuration: the first that matches counts.
  for (auto& rule : desk_rules()) options.topics.rules.push_back(std::move(rule));
}

namespace {

/// Whether clients have no means to prove who they are, and need not either.
bool nobody_proves_anything(const config& options) {
  const auto& server = options.server;
  return !server.tokens && !options.tokens.any() && server.tls.client_ca_file.empty() &&
         !server.require_authentication;
}

}  // namespace

// [install]
void install(container& into) {
  protocol_options rights;
  if (into.options().rights == topic_rights::rules) rights.authorize = may_follow;
  auto& protocol = into.protocol(std::move(rights));
  auto spawn = [&into](asio::awaitable<void> task) { into.spawn(std::move(task)); };
  auto shared = std::make_shared<desk>(into.manager(), into.topics(), into.users(), spawn);
  shared->answer_requests(protocol);
  into.spawn(market_data::run(shared->prices()));

  route_options how;
  how.subprotocols = {"skein.v1"};
  if (nobody_proves_anything(into.options())) how.authenticator = whoever_they_say;
  into.server().route(
      desk_path, [shared, serve = protocol.handler()](connection& client) { return serve(client); },
      std::move(how));
}
// [/install]

}  // namespace skein::examples
