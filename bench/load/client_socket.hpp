#pragma once

// One client connection: non-blocking connect, handshake, frames out, messages in; and, when its load wants
// it, all of that again. It lives in a worker, on whose thread all of it runs, and keeps no buffer while it
// is idle: the worker lends its own for reading.

#include "frame.hpp"
#include "stream.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace skein::bench {

class worker;
class client_socket;

/// A whole message; `payload` is valid during the call.
struct message_view {
  opcode kind{};
  bool compressed = false;
  std::string_view payload;
};

/// What a load wants to know of its connections. None of these calls may connect a socket again: that is for
/// the load's next turn.
class socket_events {
 public:
  virtual ~socket_events() = default;
  virtual void on_open(client_socket& socket) = 0;
  virtual void on_message(client_socket& socket, const message_view& message) = 0;
  /// An open connection ended, though nobody here had asked for it.
  virtual void on_lost(client_socket& socket) = 0;
  /// A connection never became open.
  virtual void on_refused(client_socket&) {}
  /// It ended after `close`; properly if its close code is not 0.
  virtual void on_closed(client_socket&) {}
};

class client_socket {
 public:
  enum class state : std::uint8_t { connecting, upgrading, open, closing, closed };

  client_socket(worker& owner, std::uint32_t index) : owner_(owner), index_(index) {}
  client_socket(const client_socket&) = delete;
  client_socket& operator=(const client_socket&) = delete;

  [[nodiscard]] std::uint32_t index() const noexcept { return index_; }
  [[nodiscard]] bool is_open() const noexcept { return state_ == state::open; }
  [[nodiscard]] bool is_closed() const noexcept { return state_ == state::closed; }
  [[nodiscard]] bool deflate() const noexcept { return deflate_; }
  [[nodiscard]] std::int64_t connect_started_ns() const noexcept { return connect_started_ns_; }

  /// When the handshake that is under way began, or the closing one; 0 when neither is.
  [[nodiscard]] std::int64_t waits_since_ns() const noexcept;

  /// The code in the server's close frame; 0 when none has come.
  [[nodiscard]] std::uint16_t close_code() const noexcept { return close_code_; }

  /// Starts connecting, for the first time or after an end; the outcome arrives as `on_open` or `on_refused`.
  void connect();

  /// Where to append frames. They leave when the worker has finished with the socket it is serving, all
  /// in one send: the caller need not flush.
  std::string& output();

  /// Sends a close frame and lets the server end the connection.
  void close();

  /// Ends the connection with RST. No event follows.
  void cut();

  /// Reads nothing more, and lets the kernel keep only so much; until `resume_reading`.
  void pause_reading(int receive_buffer_bytes);
  void resume_reading();

  /// Ends the connection without a word: it counts as one that did not end properly.
  void abandon(const std::string& why);

  // For the worker.
  void on_events(std::uint32_t events);
  void flush();

 private:
  void on_connecting();
  void on_readable();
  std::size_t read_handshake(std::string_view bytes);
  std::size_t read_frames(std::string_view bytes);
  void on_rare_frame(const frame_header& header, std::string_view payload);
  void on_close_frame(std::string_view payload);
  void watch();
  void release();
  void end(const std::string& why);

  worker& owner_;
  std::uint32_t index_;
  state state_ = state::closed;
  bool deflate_ = false;
  bool watched_ = false;  // by epoll
  bool queued_ = false;   // in the worker's list of sockets to flush
  bool awaits_writable_ = false;
  bool reading_ = true;
  bool in_message_ = false;  // between the first and the last fragment
  opcode message_kind_{};
  bool message_compressed_ = false;
  std::uint16_t close_code_ = 0;
  stream stream_;
  std::int64_t connect_started_ns_ = 0;
  std::int64_t close_started_ns_ = 0;
  std::string in_;         // the beginning of a frame or response whose rest has not arrived
  std::string out_;        // what waits to be sent
  std::string fragments_;  // the message so far
};

}  // namespace skein::bench
