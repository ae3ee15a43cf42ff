// Users over the shards of one manager.

#include "connection/remote.hpp"
#include "hub/broadcast.hpp"
#include "hub/envelope.hpp"
#include "hub/hub.hpp"
#include "hub/replay.hpp"

#include <skein/users.hpp>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>

#include <atomic>
#include <stdexcept>
#include <utility>

namespace skein {
namespace detail {
namespace {

void require(bool allowed, const char* what) {
  if (!allowed) throw std::invalid_argument{what};
}

/// What the users of one manager are made of: shared with the coroutines that send and replay.
struct users_core {
  // Not the manager itself: a handler that has users must not be what keeps it.
  const std::vector<std::shared_ptr<shard>> shards;
  const std::shared_ptr<hub_shared> shared;
  const users_options options;
  std::atomic<std::uint64_t> stored{0}, unkept{0}, pushed_out{0}, replayed{0}, acknowledged{0};

  /// The shard that puts what is stored for this user in order.
  [[nodiscard]] const std::shared_ptr<shard>& owner_of(std::string_view user) const noexcept {
    return detail::owner_of(shards, user);
  }
};

audience_ref connections_of(const users_core& core, std::string user, const prepared_message& what,
                            stored_id id) {
  audience whom{audience::kind::user, std::move(user)};
  if (core.shared->envelope_wanted.load(std::memory_order_relaxed)) {
    envelope_label label;
    label.stored = id;
    whom.enveloped = enveloped(what, label);
  }
  whom.number = id;
  return std::make_shared<const audience>(std::move(whom));
}

/// Keeps a message, then sends it. Runs on the user's owner.
asio::awaitable<user_report> store_and_send(std::shared_ptr<shard> owner, std::shared_ptr<users_core> core,
                                            std::string user, prepared_message what, delivery how) {
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  turnstile::place place{owner->order, *owner, 'u' + user};
  user_report report;
  std::exception_ptr failure;
  try {
    const auto kept = co_await core->options.store->keep(user, what, core->options.limits);
    report.id = kept.id;
    report.pushed_out = kept.pushed_out;
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) {
    core->unkept.fetch_add(1, std::memory_order_relaxed);
    std::rethrow_exception(failure);
  }
  core->stored.fetch_add(1, std::memory_order_relaxed);
  core->pushed_out.fetch_add(report.pushed_out, std::memory_order_relaxed);
  co_await place.turn();
  auto whom = connections_of(*core, std::move(user), what, report.id);
  place.leave();
  const auto delivered = co_await deliver_to_all(core->shards, core->shared->time, std::move(what),
                                                 std::move(how), std::move(whom));
  static_cast<delivery_report&>(report) = delivered;
  co_return report;
}

asio::awaitable<std::size_t> replay_on(std::shared_ptr<shard> where, std::shared_ptr<users_core> core,
                                       std::shared_ptr<connection_impl> who) {
  std::size_t sent = 0;
  const auto& user = who->user().user;
  if (user.empty() || !who->is_open() || where->is_catching_up(*who, audience::kind::user, user))
    co_return sent;
  const held_back held{*where, *who, audience::kind::user, user};
  auto& state = held.state();
  for (bool more = true; more;) {
    state.overflowed = false;
    const auto page = co_await core->options.store->waiting(user, state.last, replay_page);
    for (const auto& each : page) {
      envelope_label label;
      label.stored = each.id;
      auto form = who->wants_envelopes ? enveloped(each.what, label) : each.what;
      const auto queued = co_await who->send(std::move(form), delivery().wait());
      if (queued == outcome::closed) co_return sent;
      state.last = each.id;
      ++sent;
      core->replayed.fetch_add(1, std::memory_order_relaxed);
    }
    more = !page.empty() || state.overflowed;
  }
  co_return sent;
}

void send_unawaited(const std::shared_ptr<shard>& owner, const std::shared_ptr<users_core>& core,
                    std::string user, prepared_message what, delivery how) {
  asio::co_spawn(owner->executor(),
                 store_and_send(owner, core, std::move(user), std::move(what), std::move(how)),
                 [core](const std::exception_ptr& error, const user_report&) {
                   if (error) core->shared->problem("a message to a user was not stored: " + what_of(error));
                 });
}

asio::awaitable<std::vector<connection_id>> list_on(std::shared_ptr<shard> where, std::string user) {
  std::vector<connection_impl*> found;
  where->users.match(user, found);
  std::vector<connection_id> ids;
  ids.reserve(found.size());
  for (const auto* one : found) ids.push_back(one->id());
  co_return ids;
}

asio::awaitable<std::size_t> close_on(std::shared_ptr<shard> where, std::string user, close_code code,
                                      std::string text) {
  std::vector<connection_impl*> found;
  where->users.match(user, found);
  std::size_t closed = 0;
  for (auto* const one : found) {
    if (!one->is_open()) continue;
    one->begin_close(closed_by::local, code, text);
    ++closed;
  }
  co_return closed;
}

class hub_users final : public users {
 public:
  hub_users(const hub& of, users_options options)
      : core_(std::make_shared<users_core>(of.shards(), of.shared(), std::move(options))) {}

  asio::awaitable<user_report> send(std::string user, prepared_message what, delivery how) override {
    check(what, how);
    const auto core = core_;
    user_report report;
    if (how.is_stored()) {
      require(!user.empty(), "send: nobody can have a stored message");
      const auto owner = core->owner_of(user);
      auto task = store_and_send(owner, core, std::move(user), std::move(what), std::move(how));
      // Also if the owner is here: what cannot be cancelled is a coroutine of its own, not the caller.
      co_return co_await run_on(*owner, std::move(task), std::move(report));
    }
    auto whom = connections_of(*core, std::move(user), what, 0);
    const auto delivered = co_await deliver_to_all(core->shards, core->shared->time, std::move(what),
                                                   std::move(how), std::move(whom));
    static_cast<delivery_report&>(report) = delivered;
    co_return report;
  }

  void post_send(std::string_view user, prepared_message what, delivery how) override {
    check(what, how);
    if (core_->shared->stopped.load(std::memory_order_relaxed)) return;
    std::string name{user};
    if (!how.is_stored()) {
      const auto whom = connections_of(*core_, std::move(name), what, 0);
      post_to_all(core_->shards, what, how, whom);
      return;
    }
    require(!name.empty(), "post_send: nobody can have a stored message");
    const auto& owner = core_->owner_of(user);
    if (owner->running_here()) {
      send_unawaited(owner, core_, std::move(name), std::move(what), std::move(how));
      return;
    }
    owner->post([owner, core = core_, name = std::move(name), what = std::move(what),
                 how = std::move(how)]() mutable {
      send_unawaited(owner, core, std::move(name), std::move(what), std::move(how));
    });
  }

  asio::awaitable<std::size_t> replay(connection& to) override {
    const auto mine = own(to, *core_->shared);
    auto task = replay_on(mine.where, core_, mine.who);
    if (mine.where->running_here()) co_return co_await std::move(task);
    co_return co_await run_on(*mine.where, std::move(task), std::size_t{0});
  }

  asio::awaitable<bool> acknowledge(std::string user, stored_id id) override {
    const auto core = core_;
    const bool was_there = co_await core->options.store->acknowledge(std::move(user), id);
    if (was_there) core->acknowledged.fetch_add(1, std::memory_order_relaxed);
    co_return was_there;
  }

  asio::awaitable<std::size_t> acknowledge_all(std::string user, std::vector<stored_id> ids) override {
    const auto core = core_;
    const auto gone = co_await core->options.store->acknowledge_all(std::move(user), std::move(ids));
    core->acknowledged.fetch_add(gone, std::memory_order_relaxed);
    co_return gone;
  }

  asio::awaitable<std::vector<stored_message>> waiting(std::string user, stored_id after,
                                                       page_limits most) override {
    const auto core = core_;
    co_return co_await core->options.store->waiting(std::move(user), after, most);
  }

  asio::awaitable<std::vector<connection_id>> connections(std::string user) override {
    const auto core = core_;  // this may go while it waits
    std::vector<connection_id> all;
    for (const auto& one : core->shards) {
      std::vector<connection_id> none;
      const auto some = co_await run_on(*one, list_on(one, user), std::move(none));
      all.insert(all.end(), some.begin(), some.end());
    }
    co_return all;
  }

  asio::awaitable<std::size_t> close(std::string user, close_code code, std::string text) override {
    require(code == close_code::none || is_sendable(code), "close: this code may not be sent");
    const auto core = core_;
    std::size_t all = 0;
    for (const auto& one : core->shards) {
      all += co_await run_on(*one, close_on(one, user, code, text), std::size_t{0});
    }
    co_return all;
  }

  [[nodiscard]] users_stats stats() const override {
    const auto read = [](const auto& from) { return from.load(std::memory_order_relaxed); };
    users_stats all;
    all.stored = read(core_->stored);
    all.unkept = read(core_->unkept);
    all.pushed_out = read(core_->pushed_out);
    all.replayed = read(core_->replayed);
    all.acknowledged = read(core_->acknowledged);
    return all;
  }

 private:
  static void check(const prepared_message& what, const delivery& how) {
    require(static_cast<bool>(what), "send: the message is empty");
    require(how.policy() != overflow::wait, "send: the policy cannot be wait");
  }

  const std::shared_ptr<users_core> core_;
};

}  // namespace
}  // namespace detail

asio::awaitable<std::size_t> users::acknowledge_all(std::string user, std::vector<stored_id> ids) {
  std::size_t gone = 0;
  for (const auto id : ids) {
    const bool was_there = co_await acknowledge(user, id);
    if (was_there) ++gone;
  }
  co_return gone;
}

std::shared_ptr<users> make_users(const std::shared_ptr<manager>& of, users_options options) {
  const auto* const hub = dynamic_cast<const detail::hub*>(of.get());
  detail::require(hub != nullptr, "make_users: this manager was not made by make_manager");
  detail::require(options.limits.max_messages >= 1, "users: limits that allow no message");
  if (!options.store) options.store = make_memory_store();
  return std::make_shared<detail::hub_users>(*hub, std::move(options));
}

}  // namespace skein
