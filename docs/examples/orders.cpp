#include "orders.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <utility>

namespace skein::examples {
namespace {

constexpr std::int64_t max_quantity = 1'000'000;
constexpr std::size_t max_open_orders = 64;  // of one owner

order order_from(const json::object& request) {
  order result;
  result.symbol = text_field(request, "symbol", 16);
  result.side = text_field(request, "side");
  if (result.side != "buy" && result.side != "sell")
    throw request_error("bad_request", "\"side\" must be buy or sell");
  result.quantity = number_field(request, "quantity", 1, max_quantity);
  return result;
}

json::object describe(const order& what) {
  return {{"order_id", what.id},       {"symbol", what.symbol}, {"side", what.side},
          {"quantity", what.quantity}, {"filled", what.filled}, {"status", what.status()},
          {"sequence", what.sequence}};
}

prepared_message update(const order& what) {
  json::object text{{"type", "order_update"}};
  for (auto& [name, value] : describe(what)) text.emplace(name, std::move(value));
  return json_message(text);
}

}  // namespace

std::string_view order::status() const noexcept {
  if (filled == 0) return "accepted";
  return is_done() ? "filled" : "partially_filled";
}

void order::advance() noexcept {
  const auto half = quantity / 2;
  filled = filled < half ? half : quantity;
  ++sequence;
}

orders::orders(topics& to, spawner spawn, std::chrono::nanoseconds step)
    : topics_(to), spawn_(std::move(spawn)), step_(step) {}

std::uint64_t orders::place(const std::string& owner, const json::object& request) {
  auto placed = order_from(request);
  {
    const std::lock_guard lock{mutex_};
    auto& mine = open_[owner];
    if (mine.size() >= max_open_orders)
      throw request_error("too_many_orders", "wait until some orders are filled");
    placed.id = ++last_id_;
    mine.emplace(placed.id, placed);
  }
  const auto id = placed.id;
  spawn_(fill(shared_from_this(), owner, std::move(placed)));
  return id;
}

json::array orders::open_orders(const std::string& owner) const {
  json::array open;
  const std::lock_guard lock{mutex_};
  if (const auto mine = open_.find(owner); mine != open_.end()) {
    for (const auto& [id, each] : mine->second) open.push_back(describe(each));
  }
  return open;
}

// [fill]
asio::awaitable<void> orders::fill(std::shared_ptr<orders> self, std::string owner, order what) {
  asio::steady_timer pause{co_await asio::this_coro::executor};
  const auto topic = orders_topic(owner);
  for (;;) {
    self->remember(owner, what);
    try {
      co_await self->topics_.publish(topic, update(what));
    } catch (const boost::system::system_error&) {
      // A history that cannot be kept: the order goes on, and `get_orders` says how far it is.
    }
    if (what.is_done()) co_return;
    pause.expires_after(self->step_);
    co_await pause.async_wait(asio::use_awaitable);
    what.advance();
  }
}
// [/fill]

void orders::remember(const std::string& owner, const order& what) {
  const std::lock_guard lock{mutex_};
  auto& mine = open_[owner];
  if (!what.is_done()) {
    mine.insert_or_assign(what.id, what);
    return;
  }
  mine.erase(what.id);
  if (mine.empty()) open_.erase(owner);
}

}  // namespace skein::examples
