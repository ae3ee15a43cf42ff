#include "desk.hpp"
#include "examples.hpp"

#include <memory>
#include <utility>

namespace skein::examples {

void configure(config& options) {
  // Behind those of the configuration: the first that matches counts.
  for (auto& rule : desk_rules()) options.topics.rules.push_back(std::move(rule));
}

// [install]
void install(container& into) {
  protocol_options rights;
  rights.authorize = may_follow;
  auto& protocol = into.protocol(std::move(rights));
  auto spawn = [&into](asio::awaitable<void> task) { into.spawn(std::move(task)); };
  auto shared = std::make_shared<desk>(into.manager(), into.topics(), into.users(), spawn);
  shared->answer_requests(protocol);
  into.spawn(market_data::run(shared->prices()));

  route_options how;
  how.subprotocols = {"skein.v1"};
  if (!into.options().tokens.any()) how.authenticator = whoever_they_say;
  into.server().route(
      desk_path, [shared, serve = protocol.handler()](connection& client) { return serve(client); },
      std::move(how));
}
// [/install]

}  // namespace skein::examples
