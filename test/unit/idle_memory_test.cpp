// What a connection gives back as soon as it has nothing to read or write: to the thread's pool, where the
// next one finds it.

#include "connection/inbox.hpp"
#include "connection/send_channel.hpp"
#include "counting_new.hpp"
#include "wire/block_pool.hpp"

#include <doctest/doctest.h>

#include <new>
#include <string>
#include <thread>
#include <vector>

using namespace skein;
using namespace skein::detail;

namespace {

/// Runs on a thread of its own, whose pool is empty.
void on_new_thread(auto&& work) {
  std::thread{work}.join();
}

/// Whether the pool has a block of this size.
bool pool_has(std::size_t size) {
  const auto before = counting::so_far().allocations;
  auto* const block = take_block(size);
  const bool had = counting::so_far().allocations == before;
  if (had) {
    give_back_block(block, size);
  } else {
    ::operator delete(block);  // asking must not put one there
  }
  return had;
}

constexpr channel_limits wide{1'000, 1'000'000};
constexpr std::size_t first_ring = 4 * sizeof(send_channel::item);

void push(send_channel& channel, std::size_t count) {
  const prepared_message what{message::text(std::string(200, 'x'))};  // its block is of another size
  for (std::size_t i = 0; i < count; ++i) {
    send_channel::item item;
    item.frame = frame_ref{what.block()};
    item.wire_size = 3;
    REQUIRE(channel.push(item) == send_channel::admission::queued);
  }
}

}  // namespace

TEST_SUITE("idle memory" * doctest::skip(!counting::counts)) {
  TEST_CASE("a send channel at rest keeps no places, unless it had many messages at once") {
    for (const std::size_t count : {1U, 4U, 5U}) {
      CAPTURE(count);
      on_new_thread([count] {
        send_channel channel{wide};
        push(channel, count);
        channel.rest();  // not empty: nothing happens
        CHECK(channel.size() == count);
        std::size_t written = 0;
        channel.consume(3 * count, [&written](send_channel::item&) { ++written; });
        CHECK(written == count);
        // Up to four messages the first places were enough; past that the larger ones are kept.
        if (count <= 4) CHECK(!pool_has(first_ring));
        channel.rest();
        CHECK(pool_has(first_ring));
        CHECK(!pool_has(2 * first_ring));
        channel.shrink();
        CHECK(pool_has(2 * first_ring) == (count > 4));
        push(channel, 1);
        CHECK(channel.size() == 1);
      });
    }
  }

  TEST_CASE("a channel that goes with messages in it lets go of them") {
    const prepared_message what{message::text("x")};
    {
      send_channel channel{wide};
      push(channel, 9);
    }
    send_channel never_used{wide};
    never_used.rest();
    never_used.shrink();
    CHECK(never_used.empty());
  }

  TEST_CASE("an inbox from which everything was read keeps nothing, unless it held many at once") {
    connection_limits limits;
    for (const std::size_t count : {2U, 5U, 6U}) {
      CAPTURE(count);
      on_new_thread([&limits, count] {
        inbox box;
        const auto long_one = message::text(std::string(200, 'x'));  // takes a block of another size
        for (std::size_t i = 0; i < count; ++i) box.push(message{long_one});
        CHECK(!box.full(limits));
        const auto places = (count == 6 ? 10U : 5U) * sizeof(frame_block*);
        CHECK(!pool_has(places));
        for (std::size_t i = 0; i < count; ++i) CHECK(box.pop() == long_one);
        CHECK(!box.pop());
        CHECK(box.empty());
        CHECK(pool_has(places) == (count <= 5));
        box.shrink();
        CHECK(pool_has(places));
      });
    }
  }
}
