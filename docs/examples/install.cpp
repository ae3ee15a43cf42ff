#include "examples.hpp"
#include "gateway.hpp"

#include <memory>
#include <utility>

namespace skein::examples {

// [install]
void install(container& into) {
  auto spawn = [&into](asio::awaitable<void> task) { into.spawn(std::move(task)); };
  auto shared = std::make_shared<gateway>(into.manager(), spawn);
  into.server().route(gateway_path, [shared](connection& client) { return shared->serve(client); });
}
// [/install]

}  // namespace skein::examples
