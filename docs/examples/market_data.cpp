#include "market_data.hpp"

#include "session.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <utility>

namespace skein::examples {
namespace {

bool listens(const connection& client) {
  return subscribed(client, channel::market_data);
}

std::string decimal(std::int64_t cents) {
  const auto rest = std::to_string(cents % 100);
  return std::to_string(cents / 100) + (rest.size() == 1 ? ".0" : ".") + rest;
}

}  // namespace

market_data::instrument::instrument(std::string name, std::int64_t first_price)
    : symbol(std::move(name)), cents(first_price) {
  how.where(listens).conflate(symbol);
}

// Symbols are our own and need no escape; a JSON library would write the price as 1.8923E2.
std::string market_data::instrument::describe(bool with_type) const {
  return (with_type ? R"({"type":"market_data","symbol":")" : R"({"symbol":")") + symbol + R"(","price":)" +
         decimal(cents) + R"(,"sequence":)" + std::to_string(sequence) + R"(,"source":"random walk"})";
}

market_data::market_data(manager& hub, spawner spawn, std::chrono::nanoseconds interval, std::uint64_t seed)
    : hub_(hub), spawn_(std::move(spawn)), interval_(interval), random_(seed) {
  instruments_.reserve(4);
  instruments_.emplace_back("AAPL", 189'23);
  instruments_.emplace_back("MSFT", 415'10);
  instruments_.emplace_back("NVDA", 121'47);
  instruments_.emplace_back("TSLA", 248'05);
}

void market_data::join() {
  {
    const std::lock_guard lock{mutex_};
    ++subscribers_;
    if (std::exchange(running_, true)) return;
  }
  spawn_(generate(shared_from_this()));
}

void market_data::leave() {
  const std::lock_guard lock{mutex_};
  --subscribers_;
}

bool market_data::running() const {
  const std::lock_guard lock{mutex_};
  return running_;
}

prepared_message market_data::snapshot() const {
  std::string prices;
  {
    const std::lock_guard lock{mutex_};
    for (const auto& each : instruments_) prices += (prices.empty() ? "" : ",") + each.describe(false);
  }
  return message::text(R"({"type":"snapshot","channel":"market_data","prices":[)" + prices + "]}");
}

// [generate]
asio::awaitable<void> market_data::generate(std::shared_ptr<market_data> self) {
  asio::steady_timer pause{co_await asio::this_coro::executor};
  while (self->publish()) {
    pause.expires_after(self->interval_);
    co_await pause.async_wait(asio::use_awaitable);
  }
}

// Moves every price and sends it, unless nobody listens any more.
bool market_data::publish() {
  const std::lock_guard lock{mutex_};
  running_ = subscribers_ != 0;
  if (!running_) return false;
  for (auto& each : instruments_) {
    const auto most = std::max<std::int64_t>(each.cents / 1000, 1);
    each.cents =
        std::max<std::int64_t>(each.cents + std::uniform_int_distribution{-most, most}(random_), 100);
    ++each.sequence;
    hub_.post_broadcast(message::text(each.describe(true)), each.how);
  }
  return true;
}
// [/generate]

}  // namespace skein::examples
