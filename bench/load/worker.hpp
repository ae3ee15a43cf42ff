#pragma once

// A worker is one thread's share of the connections: an epoll of its own, its sockets, one large read buffer.
// Everything in it runs on the thread that calls `poll`, except `wake`; nothing is shared with other workers,
// so that a run on several threads is several workers whose tallies are added up.

#include "client_socket.hpp"
#include "handshake.hpp"
#include "histogram.hpp"

#include <sys/epoll.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace skein::bench {

/// A time that never comes.
constexpr std::int64_t never_ns = std::numeric_limits<std::int64_t>::max();

/// What became of a worker's connections.
struct connection_tally {
  std::uint64_t opened = 0;
  std::uint64_t refused = 0;  // never became open
  std::uint64_t lost = 0;     // ended by the server or an error, after they were open
  std::string first_problem;
  histogram handshake_ns;

  void merge(const connection_tally& other);
};

class worker {
 public:
  /// `thread` sets it apart from other workers: it connects from loopback addresses of its own.
  worker(const handshake_settings& settings, std::uint32_t thread, socket_events& events);
  ~worker();
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;

  /// Opens `count` more connections, `at_once` of them in the handshake at a time; `keep_going` does it.
  void open(std::uint32_t count, std::uint32_t at_once);

  /// No connection is on its way to become open, or is still to be tried.
  [[nodiscard]] bool all_settled() const noexcept { return to_open_ == 0 && handshaking_ == 0; }

  /// Gives up opening what has not been tried yet.
  void stop_opening() noexcept { to_open_ = 0; }

  /// Starts connections that are due, ends those whose time is over; returns when it wants to be called
  /// again.
  std::int64_t keep_going(std::int64_t now);

  /// Serves what is ready, or becomes so before `until_ns`.
  void poll(std::int64_t until_ns);

  /// Ends a `poll` that waits; from any thread.
  void wake() noexcept;

  /// Starts the closing handshake of every open connection.
  void close_all();
  [[nodiscard]] bool all_closed() const noexcept { return closing_ == 0; }

  /// Sends what was queued outside an event.
  void flush();

  [[nodiscard]] std::vector<std::unique_ptr<client_socket>>& sockets() noexcept { return sockets_; }
  [[nodiscard]] const std::vector<std::unique_ptr<client_socket>>& sockets() const noexcept {
    return sockets_;
  }
  [[nodiscard]] const connection_tally& tally() const noexcept { return tally_; }

  /// The time at which the bytes that are now being served were read: one look at the clock for all of them.
  [[nodiscard]] std::int64_t read_time_ns() const noexcept { return read_time_ns_; }

  // For the sockets.
  [[nodiscard]] const handshake_settings& handshake() const noexcept { return settings_; }
  [[nodiscard]] socket_events& events() noexcept { return events_; }
  [[nodiscard]] int epoll() const noexcept { return epoll_; }
  /// Counts a connection that starts now, and says which way it takes.
  [[nodiscard]] route start_connecting() noexcept;
  [[nodiscard]] std::uint32_t mask() noexcept { return mask_ = mask_ * 1664525 + 1013904223; }
  [[nodiscard]] std::span<char> read_buffer(std::size_t kept);
  void need_read_buffer(std::size_t bytes) noexcept { wanted_buffer_bytes_ = bytes; }
  void flush_later(client_socket& socket) { to_flush_.push_back(&socket); }
  std::int64_t tick() noexcept;
  void opened(client_socket& socket);
  void ended(client_socket& socket, client_socket::state before, const std::string& why);
  void forgot(client_socket::state before) noexcept;
  void started_closing() noexcept { ++closing_; }

 private:
  void note_problem(const std::string& why);
  void abandon_overdue(std::int64_t now);
  [[nodiscard]] int wait_for_events(std::span<epoll_event> ready, std::int64_t longest_ns) noexcept;

  const handshake_settings& settings_;
  socket_events& events_;
  std::uint32_t thread_;
  int epoll_ = -1;
  int wake_ = -1;
  bool waits_exactly_ = true;  // to the microsecond rather than the millisecond
  std::vector<char> buffer_;
  std::size_t wanted_buffer_bytes_ = 0;
  std::vector<client_socket*> to_flush_;
  std::vector<std::unique_ptr<client_socket>> sockets_;
  std::uint32_t to_open_ = 0;
  std::uint32_t at_once_ = 0;
  std::uint32_t handshaking_ = 0;
  std::uint32_t closing_ = 0;
  std::uint64_t connects_ = 0;
  std::uint32_t mask_ = 0x9e3779b9;
  std::int64_t read_time_ns_ = 0;
  std::int64_t next_patrol_ns_ = 0;
  connection_tally tally_;
};

}  // namespace skein::bench
