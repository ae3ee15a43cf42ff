// [program]
#include "chat.hpp"

#include <skein/skein.hpp>

int main() {
  skein::container container{skein::config::from_environment()};
  auto& room = container.manager();
  container.server().add_standard_endpoints();
  container.server().route(
      "/chat", [&room](skein::connection& client) { return skein::examples::chat(client, room); });
  return container.run();
}
// [/program]
