#pragma once

// Those who do nothing wrong, and must not notice what is done to others.

#include "http.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace skein::test {

/// 100 clients of a route that echoes, who say something one after the other for as long as this lives.
class crowd {
 public:
  using connector = std::function<std::unique_ptr<raw_client>()>;

  explicit crowd(std::uint16_t port, std::string_view path = "/crowd")
      : crowd([port] { return std::make_unique<raw_client>(port); }, path) {}
  explicit crowd(const connector& connect, std::string_view path = "/crowd") {
    for (std::size_t i = 0; i < size; ++i) {
      members_.push_back(connect());
      REQUIRE(members_.back()->open(path).status == 101);
    }
    thread_ = std::thread{[this] { talk(); }};
  }
  crowd(const crowd&) = delete;
  crowd& operator=(const crowd&) = delete;
  ~crowd() {
    over_ = true;
    thread_.join();
  }
  /// Whether every one of them has been answered since they were asked, and always before.
  [[nodiscard]] bool is_well() {
    const auto rounds = rounds_.load();
    return eventually([&] { return harmed_ || rounds_ >= rounds + 2; }) && !harmed_;
  }

  static constexpr std::size_t size = 100;

 private:
  void talk() {
    while (!over_ && !harmed_) {
      for (const auto& each : members_) {
        if (!is_open(*each)) harmed_ = true;
      }
      ++rounds_;
    }
  }

  std::vector<std::unique_ptr<raw_client>> members_;
  std::atomic<bool> over_{false}, harmed_{false};
  std::atomic<int> rounds_{0};
  std::thread thread_;
};

}  // namespace skein::test
