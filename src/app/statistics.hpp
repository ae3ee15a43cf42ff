#pragma once

// What the parts of a container count, for /ws/stats.

#include <skein/server.hpp>

#include <memory>

namespace skein {

class json_protocol;
class message_store;
class topics;
class users;

namespace app {

/// Adds a section for each part that is there.
void add_statistics(server& to, const std::shared_ptr<const topics>& of_topics,
                    const std::shared_ptr<const users>& of_users,
                    const std::shared_ptr<const message_store>& of_store, const json_protocol* of_protocol);

}  // namespace app
}  // namespace skein
