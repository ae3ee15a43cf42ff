#include "hub/presence.hpp"

#include "hub/broadcast.hpp"
#include "hub/envelope.hpp"
#include "hub/shard.hpp"

#include <algorithm>
#include <utility>

namespace skein::detail {
namespace {

using members = std::map<connection_id, presence_member>;

void append_members(std::string& to, std::string_view name, const members& all) {
  if (all.empty()) return;
  to += ",\"";
  to += name;
  to += "\":[";
  bool first = true;
  for (const auto& [id, who] : all) {
    if (!std::exchange(first, false)) to += ',';
    append_member(to, who);
  }
  to += ']';
}

}  // namespace

void append_member(std::string& to, const presence_member& who) {
  to += "{\"connection\":\"" + std::to_string(who.connection) + '"';
  if (!who.user.empty()) {
    to += ",\"user\":";
    append_json_string(to, who.user);
  }
  if (!who.info.empty()) to += ",\"info\":" + who.info;
  to += '}';
}

/// The changes of one topic that have not been told yet.
class presence_desk::gathering final : public deadline_entry {
 public:
  gathering(presence_desk& at, std::string name) : desk(at), topic(std::move(name)) {}
  void on_deadline(time_point) override { desk.publish(*this); }

  presence_desk& desk;
  const std::string topic;
  std::weak_ptr<const presence_board> board;
  members joined, left;
  bool too_many = false;
  std::size_t count = 0;
  std::size_t told = 0;  // the count that subscribers know
};

presence_desk::presence_desk(shard& of) : shard_(of) {}
presence_desk::~presence_desk() = default;

// --- Where the connection lives ---

void presence_desk::tell(const membership& about, const connection_impl& who, bool joined) {
  const auto board = about.board.lock();
  if (!board) return;
  presence_member member{who.id(), who.user().user, about.info};
  const auto& owner = owner_of(board->shards, about.topic);
  // By way of the queue even if the owner is here: what happens to one connection is told in order.
  owner->post([owner, board, topic = about.topic, member = std::move(member), joined]() mutable {
    owner->presence.changed(board, topic, std::move(member), joined);
  });
}

void presence_desk::join(const std::shared_ptr<const presence_board>& board, connection_impl& who,
                         std::string topic, std::string info) {
  auto& added = members_[&who].emplace_back(membership{std::move(topic), std::move(info), board});
  tell(added, who, true);
}

void presence_desk::hide_from(const connection_impl& who, std::string pattern) {
  hidden_[&who].insert(std::move(pattern));
}

bool presence_desk::may_see(const connection_impl& who, std::string_view topic) const {
  const auto known = hidden_.find(&who);
  if (known == hidden_.end()) return true;
  return std::ranges::any_of(shard_.followers.patterns(who), [&](const auto& each) {
    return topic_matches(each, topic) && !known->second.contains(each);
  });
}

void presence_desk::leave(connection_impl& who, std::string_view topic) {
  if (const auto mine = hidden_.find(&who); mine != hidden_.end()) {
    if (const auto found = mine->second.find(topic); found != mine->second.end()) mine->second.erase(found);
    if (mine->second.empty()) hidden_.erase(mine);
  }
  const auto known = members_.find(&who);
  if (known == members_.end()) return;
  auto& all = known->second;
  const auto found = std::ranges::find(all, topic, &membership::topic);
  if (found == all.end()) return;
  tell(*found, who, false);
  all.erase(found);
  if (all.empty()) members_.erase(known);
}

void presence_desk::leave_all(connection_impl& who) noexcept {
  hidden_.erase(&who);
  const auto known = members_.find(&who);
  if (known == members_.end()) return;
  for (const auto& each : known->second) {
    try {
      tell(each, who, false);
    } catch (...) {
      shard_.problem("who leaves " + each.topic + " is not told: " + what_of(std::current_exception()));
    }
  }
  members_.erase(known);
}

void presence_desk::clear() noexcept {
  members_.clear();
  hidden_.clear();
  gatherings_.clear();
}

std::string_view presence_desk::info_of(const connection_impl& who, std::string_view topic) const noexcept {
  const auto known = members_.find(&who);
  if (known == members_.end()) return {};
  const auto found = std::ranges::find(known->second, topic, &membership::topic);
  return found == known->second.end() ? std::string_view{} : std::string_view{found->info};
}

// --- The owner ---

void presence_desk::changed(const std::shared_ptr<const presence_board>& board, const std::string& topic,
                            presence_member who, bool joined) {
  auto& state = gatherings_[topic];
  if (!state) state = std::make_unique<gathering>(*this, topic);
  state->board = board;
  if (!joined && state->count == 0) return;  // of topics that there were before these
  joined ? ++state->count : --state->count;
  auto& opposite = joined ? state->left : state->joined;
  if (opposite.erase(who.connection) == 0 && !state->too_many) {
    const auto id = who.connection;
    (joined ? state->joined : state->left).emplace(id, std::move(who));
    if (state->joined.size() + state->left.size() > board->most_members) {
      state->too_many = true;
      state->joined.clear();
      state->left.clear();
    }
  }
  if (!state->is_set()) shard_.set_deadline(*state, deadline_after(shard_.now(), board->interval));
}

void presence_desk::publish(gathering& what) {
  const auto board = what.board.lock();
  const bool news = !what.joined.empty() || !what.left.empty() || what.count != what.told;
  if (board && news) {
    std::string text = "{\"type\":\"presence_change\",\"channel\":";
    append_json_string(text, what.topic);
    text += ",\"count\":" + std::to_string(what.count);
    if (what.count <= board->most_members && !what.too_many) {
      append_members(text, "joined", what.joined);
      append_members(text, "left", what.left);
    }
    text += '}';
    auto how = delivery().drop().where([topic = what.topic](const connection& one) {
      const auto& to = static_cast<const connection_impl&>(one);
      return to.wants_envelopes && static_cast<shard&>(to.where()).presence.may_see(to, topic);
    });
    auto whom = std::make_shared<const audience>(audience{audience::kind::followers, what.topic});
    post_to_all(board->shards, message::text(std::move(text)), how, whom);
  }
  what.joined.clear();
  what.left.clear();
  what.too_many = false;
  what.told = what.count;
  if (what.count == 0) gatherings_.erase(std::string{what.topic});
}

}  // namespace skein::detail
