#include "wire/block_pool.hpp"

#include "counting_new.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

using namespace skein::detail;

namespace {

std::size_t allocations_of(auto&& work) {
  const auto before = counting::so_far().allocations;
  work();
  return counting::so_far().allocations - before;
}

/// Runs on a thread of its own, whose pool is empty.
void on_new_thread(auto&& work) {
  std::thread{work}.join();
}

constexpr std::size_t largest = block_step * block_classes;

}  // namespace

TEST_SUITE("block pool" * doctest::skip(!counting::counts)) {
  TEST_CASE("a block that was given back serves the next of about its size, up to the largest class") {
    on_new_thread([] {
      for (const std::size_t size :
           {std::size_t{1}, block_step - 1, block_step, block_step + 1, largest - 1, largest, largest + 1}) {
        auto* const first = take_block(size);
        std::memset(first, 0x5a, size);
        give_back_block(first, size);
        const auto again = allocations_of([size] { give_back_block(take_block(size), size); });
        CHECK(again == (size <= largest ? 0 : 1));
      }
      // Not a smaller or a larger one.
      give_back_block(take_block(64), 64);
      CHECK(allocations_of([] { give_back_block(take_block(64 + block_step), 64 + block_step); }) == 1);
    });
  }

  TEST_CASE("blocks in use at the same time are different ones") {
    on_new_thread([] {
      std::set<void*> seen;
      for (int round = 0; round < 2; ++round) {
        std::vector<void*> taken;
        for (int i = 0; i < 100; ++i) taken.push_back(take_block(100));
        CHECK(std::set<void*>(taken.begin(), taken.end()).size() == taken.size());
        seen.insert(taken.begin(), taken.end());
        for (auto* const block : taken) give_back_block(block, 100);
      }
      CHECK(seen.size() == 100);
    });
  }

  TEST_CASE("a thread keeps so many bytes and not one block more") {
    constexpr std::size_t size = 256;
    constexpr auto fits = kept_bytes / size;
    for (const auto count : {fits - 1, fits, fits + 1}) {
      on_new_thread([count] {
        std::vector<void*> taken;
        for (std::size_t i = 0; i < count; ++i) taken.push_back(take_block(size));
        for (auto* const block : taken) give_back_block(block, size);
        const auto again = allocations_of([&] {
          for (auto& block : taken) block = take_block(size);
        });
        CHECK(again == (count <= fits ? 0 : 1));
        for (auto* const block : taken) give_back_block(block, size);
      });
    }
  }

  TEST_CASE("a block may be given back on another thread, and at the very end of one") {
    void* block = nullptr;
    on_new_thread([&block] { block = take_block(200); });
    on_new_thread([&block] {
      give_back_block(block, 200);
      CHECK(allocations_of([] { give_back_block(take_block(200), 200); }) == 0);
    });
    struct late {
      ~late() {
        give_back_block(mine, 200);
        give_back_block(take_block(200), 200);
      }
      void* mine = nullptr;
    };
    on_new_thread([] {
      thread_local late last;  // made before the pool's own, and so destroyed after it
      last.mine = take_block(200);
      give_back_block(take_block(48), 48);
    });
  }
}
