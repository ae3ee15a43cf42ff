// When a client may say something, as the server has told.

#include "client/pace.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using skein::time_point;
using skein::detail::pace;

namespace {

/// How much is said within a time by a client that always has something to say.
int said_within(pace& its, time_point& now, skein::duration how_long) {
  int said = 0;
  for (const auto end = now + how_long; now < end;) {
    if (its.opens(now) <= now) {
      its.said(now, 0);
      ++said;
    } else {
      now = std::min(end, its.opens(now));
    }
  }
  return said;
}

}  // namespace

TEST_SUITE("client_pace") {
  TEST_CASE("without a limit everything is said at once") {
    pace its;
    time_point now{};
    for (int i = 0; i < 1000; ++i) {
      CHECK(its.opens(now) <= now);
      its.said(now, 0);
    }
    CHECK(!its.is_slow());
  }

  TEST_CASE("never more than the server takes, and nearly all of that") {
    struct row {
      std::uint64_t per_second, burst;
    };
    for (const auto& [per_second, burst] :
         {row{10, 20}, row{10, 1}, row{1, 1}, row{1, 3}, row{1000, 100}, row{100, 2}}) {
      CAPTURE(per_second);
      CAPTURE(burst);
      pace its;
      time_point now{1h};
      its.allow(per_second, burst);
      const auto first = said_within(its, now, 1ns);
      CHECK(first >= 1);
      CHECK(first <= static_cast<int>(burst));
      const auto in_a_minute = said_within(its, now, 60s);
      CHECK(in_a_minute <= static_cast<int>(60 * per_second));
      CHECK(in_a_minute >= static_cast<int>(55 * per_second));
    }
  }

  TEST_CASE("a new connection has its burst again, and none where nothing is told") {
    pace its;
    time_point now{1h};
    its.allow(1, 20);
    const auto first = said_within(its, now, 1ns);
    CHECK(said_within(its, now, 1ns) == 0);
    its.allow(1, 20);
    CHECK(said_within(its, now, 1ns) == first);
    its.allow(0, 0);
    for (int i = 0; i < 1000; ++i) its.said(now, 0);
    CHECK(its.opens(now) <= now);
  }

  TEST_CASE("numbers that a server may make up do no harm") {
    for (const std::uint64_t per_second : {std::uint64_t{1}, ~std::uint64_t{0}}) {
      for (const std::uint64_t burst : {std::uint64_t{0}, ~std::uint64_t{0}}) {
        pace its;
        time_point now{1h};
        its.allow(per_second, burst);
        its.said(now, 0);
        CHECK(its.opens(now) <= now + 2s);
      }
    }
  }
}
