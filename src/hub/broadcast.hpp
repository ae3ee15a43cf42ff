#pragma once

// A broadcast that somebody awaits: one part for each shard, which counts on that shard alone; the last part
// to be complete resumes the caller.

#include "connection/host.hpp"
#include "connection/send_channel.hpp"
#include "connection/wake_slot.hpp"
#include "hub/audience.hpp"

#include <skein/delivery.hpp>
#include <skein/message.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace skein::detail {

class shard;

/// `manager::broadcast` to an audience.
[[nodiscard]] asio::awaitable<delivery_report> deliver_to_all(
    const std::vector<std::shared_ptr<shard>>& shards, std::shared_ptr<clock> time, prepared_message what,
    delivery how, audience_ref whom);
/// `manager::post_broadcast` likewise.
void post_to_all(const std::vector<std::shared_ptr<shard>>& shards, const prepared_message& what,
                 const delivery& how, const audience_ref& whom);

/// What all parts of one broadcast add up to.
class broadcast_total {
 public:
  broadcast_total(std::size_t parts, asio::any_io_executor resume_on)
      : parts_left_(parts), resume_on_(std::move(resume_on)) {}

  /// Called once by each part, on its shard.
  void add(const delivery_report& part);
  /// Before `add`, of a part that could not be delivered.
  void blame(std::exception_ptr why) noexcept;
  /// Completes when every part has been added, or at `cancel`. One caller, before any part is started.
  void on_complete(resumption<void()> waiter) { waiter_ = std::move(waiter); }
  /// Nobody wants to know any more.
  void cancel();
  /// Nothing before every part has been added. Throws what a part failed with.
  [[nodiscard]] std::optional<delivery_report> report() const;

 private:
  void resume();

  mutable std::mutex mutex_;  // taken once for each shard, not for each message
  delivery_report report_;
  std::exception_ptr failure_;  // the first
  std::size_t parts_left_;
  asio::any_io_executor resume_on_;
  resumption<void()> waiter_;
};

/// The recipients on one shard. Owns itself until it has learnt every outcome, which may be after it has
/// reported.
class broadcast_part final : public outcome_sink, private deadline_entry {
 public:
  /// Runs the delivery on this shard; the result goes to `total`.
  static void start(host& where, std::shared_ptr<broadcast_total> total, frame_block* frame,
                    const delivery& how, time_point deadline, const audience_ref& whom) noexcept;

  void count_matched() noexcept { ++report_.matched; }
  void count_queued() noexcept { ++outstanding_; }
  void count_dropped() noexcept { ++report_.dropped; }
  void count_closed(bool evicted) noexcept {
    ++report_.closed;
    if (evicted) ++report_.evicted;
  }
  void count_evicted() noexcept { ++report_.evicted; }
  void settle(outcome what, bool replaced) noexcept override;

 private:
  friend class shard;
  broadcast_part(host& where, std::shared_ptr<broadcast_total> total)
      : host_(where), total_(std::move(total)) {}
  ~broadcast_part() = default;
  void on_deadline(time_point now) override;
  void report() noexcept;
  void finish_if_done() noexcept;

  host& host_;
  std::shared_ptr<broadcast_total> total_;  // empty once reported
  delivery_report report_;
  std::size_t outstanding_ = 0;
  bool started_ = false;  // every recipient has been offered the message
};

}  // namespace skein::detail
