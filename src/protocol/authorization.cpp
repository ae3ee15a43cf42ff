// Who may do what with a topic, by the claims of an identity.

#include "hub/topic_name.hpp"

#include <skein/protocol.hpp>

#include <boost/json/array.hpp>

#include <algorithm>
#include <utility>

namespace skein {
namespace {

namespace json = boost::json;

/// A list of patterns; nothing if there is none.
const json::array* list_of(const json::object& rights, std::string_view name) {
  const auto* const value = rights.if_contains(name);
  return value ? value->if_array() : nullptr;
}

bool allows(const json::array* list, std::string_view wanted) {
  return list && std::any_of(list->begin(), list->end(), [wanted](const json::value& each) {
           if (!each.is_string()) return false;
           const std::string_view allowed{each.get_string().data(), each.get_string().size()};
           return is_topic_pattern(allowed) && topic_covers(allowed, wanted);
         });
}

bool may(const json::value& claims, std::string_view claim, topic_action what, std::string_view channel) {
  const auto* const all = claims.if_object();
  const auto* const given = all ? all->if_contains(claim) : nullptr;
  const auto* const rights = given ? given->if_object() : nullptr;
  if (!rights) return false;
  const auto* const follow = list_of(*rights, "subscribe");
  switch (what) {
    case topic_action::subscribe:
    case topic_action::history:
      return allows(follow, channel);
    case topic_action::publish:
      return allows(list_of(*rights, "publish"), channel);
    case topic_action::presence:
      return allows(rights->contains("presence") ? list_of(*rights, "presence") : follow, channel);
  }
  return false;
}

}  // namespace

bool topic_covers(std::string_view allowed, std::string_view wanted) noexcept {
  while (!allowed.empty() && !wanted.empty()) {
    const auto [mine, my_rest] = detail::split_token(allowed);
    const auto [its, its_rest] = detail::split_token(wanted);
    if (mine == ">") return true;
    if (its == ">") return false;
    if (mine != "*" && mine != its) return false;
    allowed = my_rest;
    wanted = its_rest;
  }
  return allowed.empty() && wanted.empty();
}

topic_authorizer authorize_by_claim(std::string claim) {
  return [claim = std::move(claim)](connection& who, topic_action what,
                                    std::string channel) -> asio::awaitable<bool> {
    co_return may(who.user().claims, claim, what, channel);
  };
}

}  // namespace skein
