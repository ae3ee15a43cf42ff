#pragma once

// The manager: the shards, the limit, and what is asked of all of them together.

#include "hub/shard.hpp"

#include <skein/manager.hpp>

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
  [[nodiscard]] const std::shared_ptr<hub_shared>& shared() const noexcept { return shared_; }

  /// Resets what is open and ends the hub's threads; nothing is delivered any more. Not on one of them.
  void shut_down();
  /// Whether the caller is one of the hub's threads.
  [[nodiscard]] bool running_here() const noexcept;

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
  class last_order;

  [[nodiscard]] shard* shard_of(connection_id id) const noexcept;
  void begin_drain(std::chrono::nanoseconds deadline);

  std::shared_ptr<hub_shared> shared_;
  std::vector<std::shared_ptr<shard>> shards_;
  std::vector<std::shared_ptr<thread_shard>> threads_;
  std::atomic<std::uint64_t> broadcasts_{0};
  time_point started_;
  std::mutex drain_mutex_;
  std::shared_ptr<drain_state> drain_;
  bool down_ = false;
};

}  // namespace skein::detail
