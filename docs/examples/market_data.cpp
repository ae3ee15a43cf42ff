#include "market_data.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <utility>

namespace skein::examples {
namespace {

std::string decimal(std::int64_t cents) {
  const auto rest = std::to_string(cents % 100);
  return std::to_string(cents / 100) + (rest.size() == 1 ? ".0" : ".") + rest;
}

}  // namespace

market_data::instrument::instrument(std::string name, std::int64_t first_price)
    : symbol(std::move(name)), topic("market." + symbol), cents(first_price) {}

// Symbols are our own and need no escape; a JSON library would write the price as 1.8923E2.
std::string market_data::instrument::describe(bool with_type) const {
  return (with_type ? R"({"type":"market_data","symbol":")" : R"({"symbol":")") + symbol + R"(","price":)" +
         decimal(cents) + R"(,"sequence":)" + std::to_string(sequence) + R"(,"source":"random walk"})";
}

market_data::market_data(topics& to, std::chrono::nanoseconds interval, std::uint64_t seed)
    : topics_(to), interval_(interval), random_(seed) {
  instruments_.reserve(4);
  instruments_.emplace_back("AAPL", 189'23);
  instruments_.emplace_back("MSFT", 415'10);
  instruments_.emplace_back("NVDA", 121'47);
  instruments_.emplace_back("TSLA", 248'05);
}

std::string market_data::snapshot() const {
  std::string prices;
  const std::lock_guard lock{mutex_};
  for (const auto& each : instruments_) prices += (prices.empty() ? "[" : ",") + each.describe(false);
  return prices + "]";
}

// [run]
asio::awaitable<void> market_data::run(std::shared_ptr<market_data> self) {
  asio::steady_timer pause{co_await asio::this_coro::executor};
  for (;;) {
    self->move_all();
    pause.expires_after(self->interval_);
    co_await pause.async_wait(asio::use_awaitable);
  }
}

void market_data::move_all() {
  const std::lock_guard lock{mutex_};
  for (auto& each : instruments_) {
    const auto most = std::max<std::int64_t>(each.cents / 1000, 1);
    each.cents =
        std::max<std::int64_t>(each.cents + std::uniform_int_distribution{-most, most}(random_), 100);
    ++each.sequence;
    topics_.post_publish(each.topic, message::text(each.describe(true)));
  }
}
// [/run]

}  // namespace skein::examples
