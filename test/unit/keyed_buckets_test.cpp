#include "security/rate_limit.hpp"

#include <doctest/doctest.h>

#include <array>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using skein::duration;
using skein::rate;
using skein::time_point;
using skein::detail::keyed_buckets;
using skein::detail::siphash;
using skein::detail::siphash_key;
using namespace std::chrono_literals;

namespace {

const time_point start{1h};

boost::asio::ip::address address(const char* text) {
  return boost::asio::ip::make_address(text);
}

}  // namespace

TEST_SUITE("keyed_buckets") {
  const siphash_key secret{1, 2};

  TEST_CASE("SipHash-2-4 gives the values its authors published") {
    const siphash_key key{0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
    std::string input;
    for (char c = 0; c < 15; ++c) input += c;
    CHECK(siphash::of(key, "") == 0x726fdb47dd0e0e31ULL);
    CHECK(siphash::of(key, input.substr(0, 1)) == 0x74f839c593dc67fdULL);
    CHECK(siphash::of(key, input.substr(0, 8)) == 0x93f5f5799a932462ULL);
    CHECK(siphash::of(key, input) == 0xa129ca6149be45e5ULL);
  }

  TEST_CASE("each key has a bucket of its own") {
    keyed_buckets buckets{rate{10, 2}, 1024, secret};
    CHECK(buckets.take("alice", 1, start));
    CHECK(buckets.take("alice", 1, start));
    CHECK(buckets.take("alice", 1, start).wait == 100ms);
    CHECK(buckets.take("bob", 2, start));
    CHECK(!buckets.take("bob", 1, start));
    CHECK(buckets.take("alice", 1, start + 100ms));
    CHECK(!buckets.take("bob", 2, start + 100ms));
    CHECK(buckets.take("carol", 3, start).wait == duration::max());
    CHECK(buckets.take("", 2, start));
    CHECK(!buckets.take("", 1, start));
    const auto stats = buckets.stats();
    CHECK(stats.allowed == 5);
    CHECK(stats.refused == 5);
    CHECK(stats.replaced == 0);
    CHECK(stats.untracked == 0);
    CHECK(buckets.busy(start) == 3);
    CHECK(buckets.busy(start + 1s) == 0);
  }

  TEST_CASE("an IPv6 address counts as its /64, a mapped one as IPv4") {
    keyed_buckets buckets{rate{1}, 1024, secret};
    CHECK(buckets.take(address("2001:db8:1:2::1"), 1, start));
    CHECK(!buckets.take(address("2001:db8:1:2:ffff::2"), 1, start));
    CHECK(buckets.take(address("2001:db8:1:3::1"), 1, start));
    CHECK(buckets.take(address("192.0.2.1"), 1, start));
    CHECK(!buckets.take(address("::ffff:192.0.2.1"), 1, start));
    CHECK(buckets.take(address("192.0.2.2"), 1, start));
    CHECK(buckets.take(address("::"), 1, start));
    CHECK(!buckets.take(address("::1"), 1, start));
    CHECK(buckets.take(address("0.0.0.0"), 1, start));
  }

  TEST_CASE("whether one would be allowed can be asked without taking it") {
    keyed_buckets buckets{rate{1, 2}, 16, secret};
    const auto known = address("192.0.2.1"), other = address("192.0.2.2");
    CHECK(buckets.has_one(known, start));
    CHECK(buckets.take(known, 1, start));
    for (int i = 0; i < 3; ++i) CHECK(buckets.has_one(known, start));
    CHECK(buckets.take(known, 1, start));
    CHECK_FALSE(buckets.has_one(known, start));
    CHECK_FALSE(buckets.has_one(address("::ffff:192.0.2.1"), start));
    CHECK(buckets.has_one(other, start));
    CHECK_FALSE(buckets.has_one(known, start + 999ms));
    CHECK(buckets.has_one(known, start + 1s));
    CHECK(buckets.stats().allowed == 2);
    CHECK(buckets.stats().refused == 0);
    CHECK(keyed_buckets{rate{}}.has_one(known, start));
  }

  TEST_CASE("off allows everything and remembers nothing") {
    keyed_buckets buckets{rate{}, 16, secret};
    for (int i = 0; i < 1000; ++i) CHECK(buckets.take(std::to_string(i), 1'000'000, start));
    CHECK(buckets.busy(start) == 0);
  }

  TEST_CASE("a capacity that is not possible is refused, any other is rounded up") {
    CHECK_THROWS_AS((keyed_buckets{rate{1}, 0}), std::invalid_argument);
    CHECK_THROWS_AS((keyed_buckets{rate{1}, keyed_buckets::max_capacity + 1}), std::invalid_argument);
    CHECK(keyed_buckets{rate{1}, 1}.capacity() == 16);
    CHECK(keyed_buckets{rate{1}, 16}.capacity() == 16);
    CHECK(keyed_buckets{rate{1}, 17}.capacity() == 32);
    CHECK(keyed_buckets{rate{1}, 1000}.capacity() == 1024);
    CHECK(keyed_buckets{rate{1}}.capacity() == keyed_buckets::default_capacity);
  }

  TEST_CASE("an offender is remembered, and nobody new is refused, while a flood of keys passes") {
    const rate limit{10, 10};
    keyed_buckets buckets{limit, 16, secret};
    REQUIRE(buckets.take("offender", 10, start));
    for (int i = 0; i < 100'000; ++i) {
      REQUIRE(buckets.take("flood " + std::to_string(i), 1, start));
      if (i % 1000 == 0) REQUIRE(!buckets.take("offender", 1, start));
    }
    CHECK(buckets.stats().replaced == 100'000 - 15);
  }

  TEST_CASE("no flood gives back more than half a burst") {
    // The keys of the flood spend more than the one that is watched, so that it is the first to give way.
    for (std::uint64_t spent = 1; spent <= 10; ++spent) {
      keyed_buckets buckets{rate{1, 10}, 16, secret};
      REQUIRE(buckets.take("watched", spent, start));
      for (int i = 0; i < 64; ++i) REQUIRE(buckets.take(std::to_string(i), 10, start));
      CAPTURE(spent);
      CHECK(buckets.take("watched", 10 - spent + 1, start).allowed() == (spent <= 5));
    }
  }

  TEST_CASE("where all have spent more than half, a new key passes untracked and is counted") {
    const rate limit{1, 10};
    keyed_buckets buckets{limit, 16, secret};
    for (int i = 0; i < 16; ++i) REQUIRE(buckets.take(std::to_string(i), 6, start));
    CHECK(buckets.stats().untracked == 0);
    for (int i = 0; i < 20; ++i) CHECK(buckets.take("new", 10, start));
    CHECK(buckets.stats().untracked == 20);
    for (int i = 0; i < 16; ++i) CHECK(!buckets.take(std::to_string(i), 5, start));
    // A second later they are exactly half full, and one gives way.
    CHECK(buckets.take("new", 10, start + 1s));
    CHECK(!buckets.take("new", 10, start + 1s));
    CHECK(buckets.stats().replaced == 1);
  }

  TEST_CASE("a bucket that is full again is reused before any other") {
    const rate limit{1, 4};
    keyed_buckets buckets{limit, 16, secret};
    for (int i = 0; i < 8; ++i) REQUIRE(buckets.take("early " + std::to_string(i), 1, start));
    for (int i = 0; i < 8; ++i) REQUIRE(buckets.take("late " + std::to_string(i), 4, start));
    for (int i = 0; i < 8; ++i) REQUIRE(buckets.take("new " + std::to_string(i), 4, start + 1s));
    CHECK(buckets.stats().replaced == 0);
    CHECK(buckets.busy(start + 1s) == 16);
    for (int i = 0; i < 8; ++i) CHECK(!buckets.take("late " + std::to_string(i), 2, start + 1s));
  }

  TEST_CASE("half its capacity in busy keys loses none of them") {
    keyed_buckets buckets{rate{1}, 65'536, secret};
    for (int i = 0; i < 32'768; ++i) REQUIRE(buckets.take(std::to_string(i), 1, start));
    const auto given_up = buckets.stats().replaced + buckets.stats().untracked;
    CHECK(given_up < 200);  // of Poisson's tail: 16 places where 8 are expected
  }

  TEST_CASE("threads together get exactly the burst of each key") {
    constexpr std::uint32_t burst = 1000;
    constexpr int keys = 5;
    keyed_buckets buckets{rate{1, burst}, 1024, secret};
    std::array<std::array<std::uint32_t, keys>, 4> got{};
    std::vector<std::thread> threads;
    for (auto& mine : got) {
      threads.emplace_back([&buckets, &mine] {
        for (int i = 0; i < 2500; ++i) {
          const auto key = i % keys;
          if (buckets.take(std::to_string(key), 1, start)) ++mine[static_cast<std::size_t>(key)];
          if (i % 500 == 0) {
            (void)buckets.busy(start);
            (void)buckets.stats();
          }
        }
      });
    }
    for (auto& thread : threads) thread.join();
    for (std::size_t key = 0; key < keys; ++key) {
      std::uint32_t sum = 0;
      for (const auto& mine : got) sum += mine[key];
      CHECK(sum == burst);
    }
    CHECK(buckets.stats().refused == 4 * 2500 - keys * burst);
  }
}
