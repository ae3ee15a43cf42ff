#pragma once

// A worker is one thread's share of the load: an epoll of its own, its connections, one large read buffer.
// Everything in it runs on the thread that calls `poll`; nothing is shared with other workers, so that a run
// on several threads is several workers whose tallies are added up.

#include "client_socket.hpp"
#include "handshake.hpp"
#include "histogram.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace skein::bench {

/// What became of a worker's connections.
struct connection_tally {
  std::uint64_t opened = 0;
  std::uint64_t refused = 0;  // never became open
  std::uint64_t lost = 0;     // ended by the server or an error, after they were open
  std::string first_problem;
  histogram handshake_ns;
};

class worker {
 public:
  worker(handshake_settings settings, socket_events& events);
  ~worker();
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;

  /// Opens `count` connections, `at_once` of them in the handshake at a time, and returns when each is open
  /// or refused.
  void open(std::uint32_t count, std::uint32_t at_once);

  /// Serves what is ready, or becomes so within `longest`.
  void poll(std::chrono::milliseconds longest);

  /// Polls until `deadline_ns`, or until `done` says so.
  template <class Done>
  void poll_until(std::int64_t deadline_ns, Done done) {
    while (!done() && tick() < deadline_ns) poll(std::chrono::milliseconds{1});
  }

  /// Closes every connection, and waits a little for the server to agree.
  void close_all();

  /// Sends what was queued outside an event.
  void flush();

  [[nodiscard]] std::vector<std::unique_ptr<client_socket>>& sockets() noexcept { return sockets_; }
  [[nodiscard]] const connection_tally& tally() const noexcept { return tally_; }

  /// The time at which the bytes that are now being served were read: one look at the clock for all of them.
  [[nodiscard]] std::int64_t read_time_ns() const noexcept { return read_time_ns_; }

  /// CPU time of the calling thread, which must be the worker's.
  [[nodiscard]] static std::int64_t cpu_ns() noexcept;

  // For the sockets.
  [[nodiscard]] const handshake_settings& handshake() const noexcept { return settings_; }
  [[nodiscard]] socket_events& events() noexcept { return events_; }
  [[nodiscard]] int epoll() const noexcept { return epoll_; }
  [[nodiscard]] std::uint32_t mask() noexcept { return mask_ = mask_ * 1664525 + 1013904223; }
  [[nodiscard]] std::span<char> read_buffer(std::size_t kept);
  void need_read_buffer(std::size_t bytes) noexcept { wanted_buffer_bytes_ = bytes; }
  void flush_later(client_socket& socket) { to_flush_.push_back(&socket); }
  std::int64_t tick() noexcept;
  void opened(client_socket& socket);
  void ended(client_socket& socket, client_socket::state before, const std::string& why);

 private:
  handshake_settings settings_;
  socket_events& events_;
  int epoll_ = -1;
  std::vector<char> buffer_;
  std::size_t wanted_buffer_bytes_ = 0;
  std::vector<client_socket*> to_flush_;
  std::vector<std::unique_ptr<client_socket>> sockets_;
  std::uint32_t handshaking_ = 0;
  std::uint32_t closing_ = 0;
  std::uint32_t mask_ = 0x9e3779b9;
  std::int64_t read_time_ns_ = 0;
  connection_tally tally_;
};

}  // namespace skein::bench
