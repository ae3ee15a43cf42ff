#pragma once

// One shard: an executor, the connections that live on it, and the end of each turn, at which they write.

#include "connection/connection_impl.hpp"
#include "connection/host.hpp"
#include "hub/audience.hpp"
#include "hub/catch_up.hpp"
#include "hub/follower_index.hpp"
#include "hub/presence.hpp"
#include "hub/turnstile.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace skein::detail {

class broadcast_part;

/// What the shards of one hub share, and the HTTP sessions on them: either may outlive the hub.
struct hub_shared {
  manager_options options;
  std::shared_ptr<clock> time;
  unsigned shard_count = 1;
  std::atomic<std::size_t> taken{0};  // admissions
  std::atomic<std::size_t> alive{0};  // connections with a coroutine that has not ended
  std::atomic<std::size_t> handshaking{0};
  std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(refusal_reason::count_)> refused{};
  struct {
    std::atomic<std::uint64_t> handshakes{0}, resumed{0}, failed{0}, timed_out{0}, reloads{0},
        failed_reloads{0};
  } tls;
  std::atomic<bool> draining{false};
  std::atomic<bool> has_topics{false};
  std::atomic<std::uint64_t> topics_made{0};
  std::atomic<bool> envelope_wanted{false};  // somebody has spoken the JSON protocol
  std::atomic<bool> stopped{false};          // the shards' threads have ended
  std::function<void()> on_all_joined;  // while draining, when `alive` has come to zero; any shard's thread

  /// A place among `max_connections`, or none.
  [[nodiscard]] admission_ticket admit() noexcept;
  void count_refusal(refusal_reason reason, std::size_t times = 1) noexcept {
    refused[static_cast<std::size_t>(reason)].fetch_add(times, std::memory_order_relaxed);
  }

  void problem(std::string_view line) const noexcept;
};

class shard : public host, public std::enable_shared_from_this<shard> {
 public:
  shard(asio::any_io_executor executor, std::shared_ptr<hub_shared> shared, unsigned index);
  /// To be called once, on the executor.
  void begin();

  [[nodiscard]] unsigned index() const noexcept { return index_; }
  [[nodiscard]] hub_shared& shared() const noexcept { return *shared_; }

  // All of these on the executor.

  /// Registers a connection and starts its coroutines.
  std::shared_ptr<connection_impl> open(std::string_view route, connection_parts parts);
  [[nodiscard]] connection_impl* find(connection_id id) const noexcept;
  /// Offers a message to every open connection that matches, of `whom` if that is anybody; `part`, if any,
  /// learns what becomes of it.
  void deliver(frame_block* frame, const delivery& how, broadcast_part* part, const audience* whom);

  /// Holds back what comes for a connection as a follower of a topic, or as a user, until `go_live`.
  std::shared_ptr<catch_up> begin_catch_up(connection_impl& who, audience::kind what, std::string name);
  /// Lets go of what is held, and of what was kept to recognise repeats, if there is anything.
  void end_catch_up(connection_impl& who, audience::kind what, std::string_view name) noexcept;
  /// Sends what was held and is newer than `last`, and holds nothing any more.
  void go_live(connection_impl& who, const std::shared_ptr<catch_up>& state);
  /// Whether what this connection gets as a follower of this topic, or as this user, is being held back.
  [[nodiscard]] bool is_catching_up(const connection_impl& who, audience::kind what,
                                    std::string_view name) const noexcept;
  /// What is numbered is delivered in the order of its numbers.
  turnstile order;
  /// Who is on which topic.
  presence_desk presence{*this};

  /// Who follows which topics. After a change: `count_followers`.
  follower_index followers{follower_index::names::patterns};
  /// Which connections are whose.
  follower_index users{follower_index::names::plain};
  void count_followers() noexcept;
  /// Topics are numbered in the order in which they were made: those of the manager's earlier ones are
  /// forgotten. False if these are earlier ones themselves.
  bool serve_topics(std::uint64_t number) noexcept;
  struct {
    counter subscriptions, subscribers, topics, refused;
  } topic_counts;  // read by any thread
  /// Returns the first exception.
  std::exception_ptr for_each(const std::function<void(connection&)>& visit);
  /// Closes every connection with 1001, at a pace.
  void start_drain();
  /// Resets every connection.
  void force_all();
  /// Cancels the handlers of connections that have ended.
  void cancel_handlers();

  /// When this shard last ran; any thread.
  [[nodiscard]] time_point last_beat() const noexcept {
    return time_point{duration{beat_.load(std::memory_order_relaxed)}};
  }

  // host
  void mark(connection_impl& who) override;
  void on_admitted(connection_impl& who) override;
  void on_ended(connection_impl& who) override;
  void on_joined(connection_impl& who) noexcept override;
  void problem(std::string_view line) noexcept override { shared_->problem(line); }

  /// Ends every connection without the executor, whose context does not run any more. `announce`: with its
  /// closed event.
  void let_go(bool announce) noexcept;

 private:
  struct slot {
    connection_impl* who = nullptr;
    std::uint32_t generation = 0;
    bool ended = false;  // but its handler has not
    [[nodiscard]] connection_impl* registered() const noexcept { return ended ? nullptr : who; }
  };
  [[nodiscard]] std::size_t place_of(const connection_impl& who) const noexcept;
  struct pulse final : deadline_entry {
    explicit pulse(shard& s) : owner(s) {}
    void on_deadline(time_point now) override;
    shard& owner;
  };
  struct drainer final : deadline_entry {
    explicit drainer(shard& s) : owner(s) {}
    void on_deadline(time_point now) override;
    shard& owner;
    time_point begun{};
    std::size_t next = 0;
    std::size_t closed = 0;
  };

  [[nodiscard]] bool accepts(connection_impl& to, const delivery& how, const std::string* route);
  void offer_to(connection_impl& to, frame_block* frame, overflow policy, const std::string* key,
                broadcast_part* part);
  void deliver_to_audience(frame_block* frame, const delivery& how, const std::string* route,
                           broadcast_part* part, const audience& whom);
  [[nodiscard]] bool passes(const topic_filter& filter, const connection_impl& to, std::string_view topic);
  /// Whether the message was taken care of.
  bool hold_back(connection_impl& to, frame_block* frame, const delivery& how, broadcast_part* part,
                 const audience& whom);
  void let_go_of_held(connection_impl& who) noexcept;
  void forget(connection_impl& who, const catch_up& state) noexcept;
  using catch_ups = std::unordered_multimap<const connection_impl*, std::shared_ptr<catch_up>>;
  /// The end of `catching_up_` if there is none.
  [[nodiscard]] catch_ups::const_iterator locate(const connection_impl& who, audience::kind what,
                                                 std::string_view name) const noexcept;
  void tell_opened(connection_impl& who);
  void end_turn();
  void post_end_turn();

  std::shared_ptr<hub_shared> shared_;
  unsigned index_;
  std::vector<slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::set<std::string, std::less<>> routes_;
  std::vector<connection_impl*> marked_;
  std::vector<connection_impl*> flushing_;
  std::vector<connection_impl*> found_;  // empty but for its memory
  catch_ups catching_up_;                // one at most for each topic, and user, of a connection
  std::uint64_t marks_ = 0;              // ever made
  std::uint64_t marks_seen_ = 0;         // at the last look
  unsigned looks_ = 0;
  std::uint64_t topics_number_ = 0;  // whose `followers` these are
  bool turn_posted_ = false;
  std::atomic<duration::rep> beat_{0};
  pulse pulse_{*this};
  drainer drainer_{*this};
};

/// The shard that puts what belongs to this name in order.
[[nodiscard]] inline const std::shared_ptr<shard>& owner_of(const std::vector<std::shared_ptr<shard>>& shards,
                                                            std::string_view name) noexcept {
  return shards[std::hash<std::string_view>{}(name) % shards.size()];
}

/// A connection of a hub, and its shard.
struct own_connection {
  std::shared_ptr<shard> where;
  std::shared_ptr<connection_impl> who;
};

/// Throws `std::invalid_argument` if it is not one of this hub's.
[[nodiscard]] own_connection own(connection& who, const hub_shared& of);

/// A shard with a thread and a context of its own.
class thread_shard final : public shard {
 public:
  static std::shared_ptr<thread_shard> make(std::shared_ptr<hub_shared> shared, unsigned index);
  ~thread_shard() override;
  void start();
  [[nodiscard]] bool running_here() const noexcept override;

  // The end, each step for all shards before the next: what one destroys may reach for another.

  void halt();      ///< stops the thread; nobody else uses the executor any more
  void run_rest();  ///< runs what is ready, within bounds, in the caller's thread; then `let_go`
  void discard();   ///< destroys what still waits on the context
  void release();   ///< destroys the context

  struct context_holder;
  thread_shard(std::unique_ptr<context_holder> holder, std::shared_ptr<hub_shared> shared, unsigned index);

 private:
  std::unique_ptr<context_holder> holder_;
};

/// A shard that is a strand on somebody's executor.
class strand_shard final : public shard {
 public:
  strand_shard(asio::strand<asio::any_io_executor> strand, std::shared_ptr<hub_shared> shared, unsigned index)
      : shard(strand, std::move(shared), index), strand_(std::move(strand)) {}
  [[nodiscard]] bool running_here() const noexcept override { return strand_.running_in_this_thread(); }

 private:
  asio::strand<asio::any_io_executor> strand_;
};

}  // namespace skein::detail
