// Users over the shards of one manager.

#include "connection/remote.hpp"
#include "hub/broadcast.hpp"
#include "hub/hub.hpp"

#include <skein/users.hpp>

#include <stdexcept>
#include <utility>

namespace skein {
namespace detail {
namespace {

void require(bool allowed, const char* what) {
  if (!allowed) throw std::invalid_argument{what};
}

audience_ref connections_of(std::string user) {
  return std::make_shared<const audience>(audience{audience::kind::user, std::move(user)});
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
  explicit hub_users(const hub& of) : shards_(of.shards()), shared_(of.shared()) {}

  asio::awaitable<delivery_report> send(std::string user, prepared_message what, delivery how) override {
    check(what, how);
    auto whom = connections_of(std::move(user));
    co_return co_await deliver_to_all(shards_, shared_->time, std::move(what), std::move(how),
                                      std::move(whom));
  }

  void post_send(std::string_view user, prepared_message what, delivery how) override {
    check(what, how);
    if (shared_->stopped.load(std::memory_order_relaxed)) return;
    post_to_all(shards_, what, how, connections_of(std::string{user}));
  }

  asio::awaitable<std::vector<connection_id>> connections(std::string user) override {
    const auto shards = shards_;  // this may go while it waits
    std::vector<connection_id> all;
    for (const auto& one : shards) {
      std::vector<connection_id> none;
      const auto some = co_await run_on(*one, list_on(one, user), std::move(none));
      all.insert(all.end(), some.begin(), some.end());
    }
    co_return all;
  }

  asio::awaitable<std::size_t> close(std::string user, close_code code, std::string text) override {
    require(code == close_code::none || is_sendable(code), "close: this code may not be sent");
    const auto shards = shards_;
    std::size_t all = 0;
    for (const auto& one : shards) {
      all += co_await run_on(*one, close_on(one, user, code, text), std::size_t{0});
    }
    co_return all;
  }

 private:
  static void check(const prepared_message& what, const delivery& how) {
    require(static_cast<bool>(what), "send: the message is empty");
    require(how.policy() != overflow::wait, "send: the policy cannot be wait");
  }

  // Not the manager itself: a handler that has these must not be what keeps it.
  const std::vector<std::shared_ptr<shard>> shards_;
  const std::shared_ptr<hub_shared> shared_;
};

}  // namespace
}  // namespace detail

std::shared_ptr<users> make_users(const std::shared_ptr<manager>& of) {
  const auto* const hub = dynamic_cast<const detail::hub*>(of.get());
  detail::require(hub != nullptr, "make_users: this manager was not made by make_manager");
  return std::make_shared<detail::hub_users>(*hub);
}

}  // namespace skein
