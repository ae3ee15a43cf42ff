#include <skein/inbound.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <random>
#include <string>

using skein::duration;
using skein::parse_rate;
using skein::rate;
using skein::time_point;
using skein::token_bucket;
using namespace std::chrono_literals;

namespace {

__extension__ using wide = unsigned __int128;
constexpr std::uint32_t most = std::numeric_limits<std::uint32_t>::max();
const time_point start{1h};

/// A bucket in arithmetic that cannot overflow and does not round: tokens in billionths.
struct exact_bucket {
  wide level;
  time_point seen;

  explicit exact_bucket(const rate& limit, time_point now)
      : level(wide{limit.burst()} * 1'000'000'000U), seen(now) {}

  duration take(const rate& limit, std::uint64_t cost, time_point now) {
    const auto full = wide{limit.burst()} * 1'000'000'000U;
    if (now > seen) {
      level += wide(now.time_since_epoch().count() - seen.time_since_epoch().count()) * limit.per_second();
      seen = now;
    }
    if (level > full) level = full;
    const auto price = wide{cost} * 1'000'000'000U;
    if (price > full) return duration::max();
    if (price <= level) {
      level -= price;
      return {};
    }
    return duration{
        static_cast<duration::rep>((price - level + limit.per_second() - 1) / limit.per_second())};
  }
};

}  // namespace

TEST_SUITE("rate") {
  TEST_CASE("a rate is read as it is written") {
    CHECK(parse_rate("off") == rate{});
    CHECK(parse_rate("100/s") == rate{100, 100});
    CHECK(parse_rate("100/s:200") == rate{100, 200});
    CHECK(parse_rate("100/s:1") == rate{100, 1});
    CHECK(parse_rate("1/s:4294967295") == rate{1, most});
    CHECK(parse_rate("4294967295/s") == rate{most});
    CHECK(parse_rate("64KiB/s:1MiB") == rate{65'536, 1'048'576});
    CHECK(parse_rate("3GiB/s") == rate{3U << 30U});
  }

  TEST_CASE("what is written in any other way is no rate") {
    for (const auto* text : {"",
                             "0/s",
                             "0",
                             "100",
                             "100/",
                             "100/m",
                             "100/s:",
                             "100/s:0",
                             "1KiBMiB/s",
                             "16KiBMiBGiB/s",
                             "1/s:1KiBMiB",
                             "100/s:200:300",
                             "100 /s",
                             " 100/s",
                             "100/s ",
                             "-1/s",
                             "+1/s",
                             "1.5/s",
                             "4294967296/s",
                             "1/s:4294967296",
                             "18446744073709551617/s",
                             "4GiB/s",
                             "4194304KiB/s",
                             "1kib/s",
                             "1KiB",
                             "OFF",
                             "offf",
                             "0/s:5",
                             "100/S",
                             "1KiBKiB/s",
                             "\xd9\xa1/s",
                             "1e3/s"}) {
      CAPTURE(text);
      CHECK(!parse_rate(text));
    }
  }

  TEST_CASE("what is printed is read as the same") {
    for (const auto& limit :
         {rate{}, rate{1}, rate{100, 200}, rate{200, 100}, rate{most, 1}, rate{1, most}}) {
      CHECK(parse_rate(to_string(limit)) == limit);
    }
    CHECK(to_string(rate{}) == "off");
    CHECK(to_string(rate{100}) == "100/s");
    CHECK(to_string(rate{100, 50}) == "100/s:50");
  }

  TEST_CASE("zeros have the meaning that is documented") {
    CHECK(rate{0, 7} == rate{});
    CHECK(rate{0, 7}.is_off());
    CHECK(rate{7, 0} == rate{7, 7});
  }
}

TEST_SUITE("rate_limit") {
  TEST_CASE("the burst is given at once, and not one token more") {
    const rate limit{10, 50};
    token_bucket bucket;
    for (int i = 0; i < 50; ++i) REQUIRE(bucket.take(limit, 1, start));
    CHECK(!bucket.take(limit, 1, start));
    CHECK(token_bucket{}.take(limit, 49, start));
    CHECK(token_bucket{}.take(limit, 50, start));
    CHECK(!token_bucket{}.take(limit, 51, start));
  }

  TEST_CASE("a token is there to the nanosecond") {
    const rate limit{3, 2};  // a third of a second is not a whole number of nanoseconds
    token_bucket bucket;
    REQUIRE(bucket.take(limit, 2, start));
    const auto refused = bucket.take(limit, 1, start);
    CHECK(refused.wait == 333'333'334ns);
    CHECK(refused.retry_after() == 334ms);
    CHECK(!bucket.peek(limit, 1, start + 333'333'333ns));
    CHECK(bucket.peek(limit, 1, start + 333'333'334ns));
    CHECK(bucket.take(limit, 1, start + 333'333'334ns));
    // What was refilled beyond the token is not lost: three thirds are a second.
    CHECK(bucket.take(limit, 1, start + 666'666'667ns));
    CHECK(!bucket.take(limit, 1, start + 1s - 1ns));
    CHECK(bucket.take(limit, 1, start + 1s));
  }

  TEST_CASE("whoever takes as soon as it is allowed gets exactly the rate, for a day") {
    const rate limit{7, 3};
    token_bucket bucket;
    auto now = start;
    std::uint64_t taken = 0;
    while (now < start + 24h) {
      const auto verdict = bucket.take(limit, 1, now);
      if (verdict.allowed()) ++taken;
      now += verdict.wait;
    }
    CHECK(taken == 3 + 7 * 86'400 - 1);  // the last second's seventh token comes at its end
  }

  TEST_CASE("off allows everything") {
    token_bucket bucket;
    for (int i = 0; i < 1000; ++i)
      CHECK(bucket.take(rate{}, std::numeric_limits<std::uint64_t>::max(), start));
    CHECK(bucket.is_full(rate{}, start));
  }

  TEST_CASE("a cost of zero is allowed by an empty bucket, one above the burst never") {
    const rate limit{10};
    token_bucket bucket;
    REQUIRE(bucket.take(limit, 10, start));
    CHECK(bucket.take(limit, 0, start));
    for (const std::uint64_t cost :
         {std::uint64_t{11}, std::uint64_t{18'446'744'074}, std::numeric_limits<std::uint64_t>::max()}) {
      CHECK(bucket.take(limit, cost, start).wait == duration::max());
      CHECK(bucket.take(limit, cost, start).retry_after() == std::chrono::milliseconds::max());
    }
    CHECK(bucket.take(limit, 10, start + 1s));  // what was refused has cost nothing
  }

  TEST_CASE("time that goes back gives nothing twice") {
    const rate limit{10, 10};
    token_bucket bucket;
    REQUIRE(bucket.take(limit, 10, start));
    CHECK(!bucket.take(limit, 1, start - 1h));
    CHECK(!bucket.take(limit, 1, start));
    CHECK(bucket.take(limit, 1, start + 100ms));
    CHECK(!bucket.take(limit, 1, start - 1h));
    CHECK(!bucket.take(limit, 1, start + 100ms));
  }

  TEST_CASE("the ends of time and of rates overflow nothing") {
    for (const auto& limit : {rate{most}, rate{1, most}, rate{most, 1}, rate{1}}) {
      token_bucket bucket;
      CHECK(bucket.take(limit, limit.burst(), time_point::min()));
      CHECK(!bucket.take(limit, 1, time_point::min()));
      CHECK(bucket.take(limit, limit.burst(), time_point::max()));
      CHECK(!bucket.take(limit, 1, time_point::max()));
      CHECK(!bucket.take(limit, 1, time_point::min()));
      const auto wait = bucket.take(limit, limit.burst(), time_point::max()).wait;
      CHECK(wait > 0ns);
      CHECK(wait < duration::max());
    }
    token_bucket bucket;
    REQUIRE(bucket.take(rate{1, most}, most, start));
    CHECK(bucket.take(rate{1, most}, most, start).wait == duration{std::int64_t{most} * 1'000'000'000});
    CHECK(bucket.take(rate{1, most}, most, start).retry_after() ==
          std::chrono::milliseconds{std::int64_t{most} * 1'000});
  }

  TEST_CASE("a rate may change while what was taken stays taken") {
    token_bucket bucket;
    REQUIRE(bucket.take(rate{10, 100}, 100, start));
    CHECK(bucket.take(rate{10, 1}, 1, start).wait ==
          10s);  // 100 taken, of which 0 may remain before the next
    CHECK(bucket.take(rate{10, 101}, 1, start));
  }

  TEST_CASE("ten thousand random histories agree with exact arithmetic to the nanosecond") {
    std::mt19937_64 random{20'260'101};
    const auto any = [&random](std::uint64_t below) { return random() % below; };
    const auto scaled = [&](std::uint64_t limit) {
      return 1 + any(std::uint64_t{1} << (1 + any(31))) % limit;
    };
    for (int history = 0; history < 10'000; ++history) {
      const rate limit{static_cast<std::uint32_t>(scaled(most)), static_cast<std::uint32_t>(scaled(most))};
      auto now = start;
      token_bucket bucket;
      exact_bucket exact{limit, now};
      for (int step = 0; step < 40; ++step) {
        const auto cost = any(4) == 0 ? scaled(2 * std::uint64_t{limit.burst()}) : any(3);
        const auto expected = exact.take(limit, cost, now);
        REQUIRE(bucket.peek(limit, cost, now).wait == expected);
        REQUIRE(bucket.take(limit, cost, now).wait == expected);
        switch (any(5)) {
          case 0:
            break;
          case 1:
            now += duration{static_cast<duration::rep>(any(std::uint64_t{1} << any(50)))};
            break;
          case 2:
            now += expected == duration::max() ? 1s : expected;
            break;
          case 3:
            now += expected > 0s && expected != duration::max() ? expected - 1ns : 1ns;
            break;
          default:
            now -= duration{static_cast<duration::rep>(any(1000))};
            break;
        }
      }
    }
  }

  TEST_CASE("a bucket takes sixteen bytes, a rate eight") {
    CHECK(sizeof(token_bucket) == 16);
    CHECK(sizeof(rate) == 8);
  }
}
