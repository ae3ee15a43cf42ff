// Beside a connection that always has more to read, the others have their turn. TLS, which may have read
// ahead, is in tls_session_test.cpp.

#include "connection/poller.hpp"
#include "hub/hub.hpp"
#include "hub/shard.hpp"
#include "hub_fixture.hpp"

#include <doctest/doctest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <deque>

using namespace hub_test;

namespace {

/// A descriptor that has always something to read.
class never_done final : public detail::poller_client {
 public:
  explicit never_done(detail::poller& by) : by_(by), descriptor_(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)) {
    boost::system::error_code ec;
    by.add(descriptor_, *this, true, false, ec);
    REQUIRE(!ec);
  }
  never_done(const never_done&) = delete;
  never_done& operator=(const never_done&) = delete;
  ~never_done() {
    by_.remove(descriptor_, *this);
    ::close(descriptor_);
  }
  void on_ready(bool, bool, bool) override { ++reports; }

  int reports = 0;

 private:
  detail::poller& by_;
  int descriptor_;
};

int reports_of(const std::deque<never_done>& all) {
  int sum = 0;
  for (const auto& one : all) sum += one.reports;
  return sum;
}

std::string masked_frames(int count, std::size_t size) {
  std::string frame{"\x82\xfe"};
  frame += static_cast<char>(size >> 8U);
  frame += static_cast<char>(size & 0xffU);
  frame += std::string(4 + size, '\0');
  std::string all;
  for (int i = 0; i < count; ++i) all += frame;
  return all;
}

}  // namespace

TEST_SUITE("fairness of reading") {
  TEST_CASE("what is ready is reported in batches, and whoever was not in one is in one of the next") {
    asio::io_context context{1};
    detail::poller by{context.get_executor()};
    constexpr int count = 700;
    std::deque<never_done> all;
    for (int i = 0; i < count; ++i) all.emplace_back(by);
    by.dispatch();
    const auto batch = reports_of(all);
    CHECK(batch > 0);
    CHECK(batch <= count / 2);
    for (int turn = 1; turn < (count + batch - 1) / batch; ++turn) by.dispatch();
    CHECK(std::ranges::all_of(all, [](const never_done& one) { return one.reports >= 1; }));
    for (int turn = 0; turn < 50; ++turn) by.dispatch();
    const auto fewer = [](const never_done& one, const never_done& other) {
      return one.reports < other.reports;
    };
    const auto [least, most] = std::minmax_element(all.begin(), all.end(), fewer);
    CHECK(most->reports - least->reports <= 1);
  }

  TEST_CASE("between two batches everything else of the shard has its turn") {
    fixture f;
    auto& peer = f.connect(echo);
    const auto where = dynamic_cast<detail::hub&>(*f.hub).shards().front();
    {
      std::deque<never_done> all;
      for (int i = 0; i < 700; ++i) all.emplace_back(where->poller());
      peer.send(text("my turn"));
      f.context.restart();
      std::vector<message> got;
      for (int i = 0; i < 100 && got.empty(); ++i) {
        REQUIRE(f.context.poll_one() == 1);
        got = peer.received();
      }
      CHECK(got == std::vector{text("my turn")});
      CHECK(reports_of(all) < 10 * 700);
    }
    f.settle();
  }

  TEST_CASE("a connection is read from once, then the others have their turn") {
    fixture f;
    int taken = 0;
    auto& greedy = f.connect([&taken](connection& client) -> asio::awaitable<void> {
      return [](connection& from, int& count) -> asio::awaitable<void> {
        while (auto got = co_await from.read()) ++count;
      }(client, taken);
    });
    auto& modest = f.connect(echo);
    constexpr int all = 4'000;
    constexpr std::size_t size = 1'000, one_read = 64 * 1024;
    greedy.send_bytes(masked_frames(all, size));
    modest.send(text("my turn"));
    f.context.restart();
    std::vector<message> got;
    while (got.empty()) {
      REQUIRE(f.context.poll_one() == 1);
      got = modest.received();
    }
    CHECK(got == std::vector{text("my turn")});
    CHECK(taken <= static_cast<int>(8 * one_read / size));
    // It is not forgotten either, and the others come again and again.
    int turns = 0;
    while (taken < all) {
      modest.send(text("again"));
      const auto before = taken;
      while (got = modest.received(), got.empty()) REQUIRE(f.context.poll_one() == 1);
      CHECK(taken - before <= static_cast<int>(8 * one_read / size));  // an answer takes a few turns
      ++turns;
    }
    CHECK(turns >= 7);
  }
}
