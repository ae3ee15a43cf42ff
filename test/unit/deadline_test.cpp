#include "connection/deadline_queue.hpp"
#include "connection/heartbeat.hpp"
#include "counting_new.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <new>
#include <random>
#include <vector>

using namespace skein;
using namespace skein::detail;
using namespace std::chrono_literals;

namespace {

const time_point zero{};

struct entry final : deadline_entry {
  explicit entry(std::vector<int>& l, int n = 0) : log(l), number(n) {}
  void on_deadline(time_point) override { log.push_back(number); }
  std::vector<int>& log;
  int number;
};

}  // namespace

TEST_SUITE("deadline_queue") {
  TEST_CASE("deadlines come in their order, and not before their time") {
    std::vector<int> log;
    deadline_queue queue;
    entry a{log, 1};
    entry b{log, 2};
    entry c{log, 3};
    queue.set(b, zero + 20ms);
    queue.set(a, zero + 10ms);
    queue.set(c, zero + 30ms);
    CHECK(queue.next() == zero + 10ms);
    queue.run(zero + 10ms - 1ns);
    CHECK(log.empty());
    queue.run(zero + 20ms);
    CHECK(log == std::vector{1, 2});
    queue.run(zero + 1h);
    CHECK(log == std::vector{1, 2, 3});
    CHECK(queue.next() == time_point::max());
  }

  TEST_CASE("a deadline can be moved both ways, and be kept where it is sooner") {
    std::vector<int> log;
    deadline_queue queue;
    entry a{log, 1};
    queue.set(a, zero + 10ms);
    queue.set(a, zero + 30ms);
    CHECK(queue.next() == zero + 30ms);
    queue.set_no_later(a, zero + 40ms);
    CHECK(queue.next() == zero + 30ms);
    queue.set_no_later(a, zero + 5ms);
    CHECK(queue.next() == zero + 5ms);
    CHECK(queue.size() == 1);
  }

  TEST_CASE("an entry that is destroyed leaves the queue") {
    std::vector<int> log;
    deadline_queue queue;
    entry stays{log, 1};
    queue.set(stays, zero + 2ms);
    {
      entry goes{log, 2};
      queue.set(goes, zero + 1ms);
    }
    queue.run(zero + 1s);
    CHECK(log == std::vector{1});
  }

  TEST_CASE("a deadline may set itself again, and destroy others") {
    struct repeating final : deadline_entry {
      repeating(deadline_queue& q, std::unique_ptr<entry>& v) : queue(q), victim(v) {}
      void on_deadline(time_point now) override {
        ++times;
        victim.reset();
        queue.set(*this, now + 10ms);
      }
      deadline_queue& queue;
      std::unique_ptr<entry>& victim;
      int times = 0;
    };
    std::vector<int> log;
    deadline_queue queue;
    auto victim = std::make_unique<entry>(log, 1);
    queue.set(*victim, zero + 10ms);
    repeating again{queue, victim};
    queue.set(again, zero + 5ms);
    queue.run(zero + 10ms);
    CHECK(again.times == 1);
    CHECK(log.empty());
    queue.run(zero + 20ms);
    CHECK(again.times == 2);
  }

  TEST_CASE("an entry that there is no memory for is not set" * doctest::skip(!counting::counts)) {
    std::vector<int> log;
    deadline_queue queue;
    entry a{log, 1};
    entry b{log, 2};
    bool thrown = false;
    counting::let_fail(1);
    try {
      queue.set(a, zero + 10ms);
    } catch (const std::bad_alloc&) {
      thrown = true;
    }
    counting::let_fail(0);
    CHECK(thrown);
    CHECK(!a.is_set());
    queue.set(b, zero + 20ms);
    queue.remove(a);
    CHECK(queue.size() == 1);
  }

  TEST_CASE("thousands of entries that are set, moved and removed at random come in order") {
    std::mt19937 random{7};
    std::vector<int> log;
    deadline_queue queue;
    std::vector<std::unique_ptr<entry>> entries;
    for (int i = 0; i < 3000; ++i) entries.push_back(std::make_unique<entry>(log, i));
    std::vector<int> due(entries.size(), -1);
    for (int step = 0; step < 20000; ++step) {
      const auto which = random() % entries.size();
      if (random() % 4 == 0) {
        queue.remove(*entries[which]);
        due[which] = -1;
      } else {
        due[which] = static_cast<int>(random() % 100000);
        queue.set(*entries[which], zero + std::chrono::microseconds{due[which]});
      }
    }
    queue.run(zero + 1h);
    std::vector<int> order;
    for (const auto which : log) order.push_back(due[static_cast<std::size_t>(which)]);
    CHECK(std::is_sorted(order.begin(), order.end()));
    CHECK(static_cast<std::size_t>(std::count_if(due.begin(), due.end(), [](int d) { return d >= 0; })) ==
          log.size());
  }
}

TEST_SUITE("heartbeat") {
  const heartbeat_times times{25s, 8s};

  TEST_CASE("the first ping falls within the first interval, where the spread says") {
    heartbeat early;
    early.start(zero, times, 0.0);
    heartbeat late;
    late.start(zero, times, 0.999);
    CHECK(early.due() > zero);
    CHECK(early.due() < zero + 2s);
    CHECK(late.due() > zero + 24s);
    CHECK(late.due() <= zero + 25s);
  }

  TEST_CASE("without an interval there is never a ping") {
    heartbeat none;
    none.start(zero, heartbeat_times{0s, 8s}, 0.5);
    CHECK(none.due() == time_point::max());
    CHECK(none.poll(zero + 1000h, times) == heartbeat::action::none);
  }

  TEST_CASE("a peer that does not answer is dead after the timeout, and not before") {
    heartbeat beat;
    beat.start(zero, times, 1.0);
    CHECK(beat.poll(zero + 25s - 1ns, times) == heartbeat::action::none);
    CHECK(beat.poll(zero + 25s, times) == heartbeat::action::ping);
    CHECK(beat.poll(zero + 33s - 1ns, times) == heartbeat::action::none);
    CHECK(beat.poll(zero + 33s, times) == heartbeat::action::dead);
  }

  TEST_CASE("only the pong that answers the last ping proves life") {
    heartbeat beat;
    beat.start(zero, times, 1.0);
    CHECK(!beat.pong("0", zero, times));
    REQUIRE(beat.poll(zero + 25s, times) == heartbeat::action::ping);
    CHECK(!beat.pong("something else", zero + 26s, times));
    const auto rtt = beat.pong(beat.payload(), zero + 26s, times);
    REQUIRE(rtt);
    CHECK(*rtt == 1s);
    CHECK(beat.due() == zero + 50s);
    CHECK(!beat.pong(beat.payload(), zero + 27s, times));
    REQUIRE(beat.poll(zero + 50s, times) == heartbeat::action::ping);
    CHECK(!beat.pong("1", zero + 51s, times));
  }
}

TEST_SUITE("ping_budget") {
  TEST_CASE("it gives the burst at once, then the rate") {
    ping_budget bucket;
    const ping_limit limit{10, 50};
    const auto now = zero + 1h;
    for (int i = 0; i < 50; ++i) CHECK(bucket.take(now, limit));
    CHECK(!bucket.take(now, limit));
    CHECK(!bucket.take(now + 99ms, limit));
    CHECK(bucket.take(now + 100ms, limit));
    CHECK(!bucket.take(now + 199ms, limit));
    int taken = 0;
    for (int i = 0; i < 100; ++i) taken += bucket.take(now + 1h, limit) ? 1 : 0;
    CHECK(taken == 50);
  }

  TEST_CASE("a rate of zero allows everything") {
    ping_budget bucket;
    for (int i = 0; i < 1000; ++i) CHECK(bucket.take(zero, ping_limit{0, 0}));
  }
}
