#pragma once

// The manager: the shards, the limit, and what is asked of all of them together.

#include "hub/shard.hpp"

#include <skein/manager.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

namespace skein::detail {

class hub final : public manager {
 public:
  /// With threads of its own, or, given an executor, on strands over it.
  hub(manager_options options, asio::any_io_executor embedded_in);
  ~hub() override;

  // What the server needs.

  [[nodiscard]] const std::vector<std::shared_ptr<shard>>& shards() const noexcept { return shards_; }
  [[nodiscard]] const manager_options& options() const noexcept { return shared_->options; }
  [[nodiscard]] const hub_shared& shared() const noexcept { return *shared_; }
  /// A place among `max_connections`, or none.
  [[nodiscard]] admission_ticket admit() noexcept;
  [[nodiscard]] bool draining() const noexcept { return shared_->draining.load(std::memory_order_relaxed); }
  void count_refusal(refusal_reason reason) noexcept {
    refused_[static_cast<std::size_t>(reason)].fetch_add(1, std::memory_order_relaxed);
  }
  std::atomic<std::size_t> handshaking{0};

  // manager
  asio::awaitable<delivery_report> broadcast(prepared_message what, delivery how) override;
  void post_broadcast(prepared_message what, delivery how) override;
  asio::awaitable<outcome> send_to(connection_id id, prepared_message what, delivery how) override;
  asio::awaitable<bool> close(connection_id id, close_code code, std::string text) override;
  asio::awaitable<void> for_each(std::function<void(connection&)> visit) override;
  [[nodiscard]] manager_stats stats() const override;
  [[nodiscard]] health_report health() const override;
  asio::awaitable<drain_report> drain(std::chrono::nanoseconds deadline) override;

 private:
  struct drain_state;

  [[nodiscard]] shard* shard_of(connection_id id) const noexcept;
  void begin_drain(std::chrono::nanoseconds deadline);

  std::shared_ptr<hub_shared> shared_;
  std::vector<std::shared_ptr<shard>> shards_;
  std::vector<std::shared_ptr<thread_shard>> threads_;
  std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(refusal_reason::count_)> refused_{};
  std::atomic<std::uint64_t> broadcasts_{0};
  time_point started_;
  std::mutex drain_mutex_;
  std::shared_ptr<drain_state> drain_;
};

}  // namespace skein::detail
