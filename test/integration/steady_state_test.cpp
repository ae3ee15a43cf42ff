// What a message costs once a connection is under way, on a real socket: the memory its shard takes, counted.

#include "test_server.hpp"
#include "unit/counting_new.hpp"

#include <doctest/doctest.h>

#include <atomic>

using namespace skein;
using namespace skein::test;

namespace {

/// What the shard allocated while `count` messages of this size were echoed, one at a time.
counting::count cost_of_echoes(std::size_t size, std::size_t count) {
  constexpr std::size_t warming_up = 200;
  counting::count before;
  counting::count after;
  std::atomic<bool> done{false};
  {
    test_server server{quiet_options(), {}, [&](skein::server& where) {
                         where.route("/counted", [&](connection& client) -> asio::awaitable<void> {
                           for (std::size_t i = 0; i < warming_up + count; ++i) {
                             if (i == warming_up) before = counting::so_far();
                             auto received = co_await client.read();
                             if (!received) co_return;
                             co_await client.write(std::move(*received));
                           }
                           after = counting::so_far();
                           done = true;
                         });
                       }};
    raw_client client{server.port()};
    REQUIRE(client.open("/counted").status == 101);
    const auto frame = text_frame(std::string(size, 'x'));
    for (std::size_t i = 0; i < warming_up + count; ++i) {
      client.send(frame);
      const auto answer = client.read_message();
      REQUIRE(answer);
      REQUIRE(answer->payload.size() == size);
    }
    client.send(close_frame());
    client.read_to_end();
  }
  REQUIRE(done);
  return {after.allocations - before.allocations, after.bytes - before.bytes};
}

}  // namespace

TEST_SUITE("steady state") {
  TEST_CASE("an echo of a small message allocates nothing, of a larger one the block it stands in" *
            doctest::skip(!counting::counts)) {
    if (test_engine() != engine::native) return;
    for (const std::size_t size : {0U, 15U, 64U, 349U, 350U}) {
      CAPTURE(size);
      CHECK(cost_of_echoes(size, 200).allocations == 0);
    }
    CHECK(cost_of_echoes(351, 1000).allocations == 1000);
    const auto larger = cost_of_echoes(4096, 1000);
    CHECK(larger.allocations == 1000);
    CHECK(larger.bytes == 1000 * (4096 + 34));
    // The payload by itself; its block, which then has only the header, is in the pool.
    const auto apart = cost_of_echoes(4097, 1000);
    CHECK(apart.allocations == 1000);
    CHECK(apart.bytes == 1000 * 4098);
  }
}
