#pragma once

// What may end an HTTP session while it waits: the time, others that wait for its place, and a server that
// stops.

#include "http/handshakes.hpp"
#include "http/http_stream.hpp"
#include "http/server_core.hpp"

#include <boost/asio/post.hpp>

#include <chrono>

namespace skein::detail {

/// While it lives, the session waits for its peer.
class wait_mark {
 public:
  wait_mark(handshake& whose, handshake::wait for_what) : whose_(whose) { whose_.begins_to_wait(for_what); }
  ~wait_mark() { whose_.ends_waiting(); }
  wait_mark(const wait_mark&) = delete;
  wait_mark& operator=(const wait_mark&) = delete;

 private:
  handshake& whose_;
};

/// What reading a request may take in all, and what writing an answer may: set once for each and not again,
/// whatever arrives meanwhile.
class session_deadline final : public deadline_entry {
 public:
  session_deadline(shard& where, http_stream& stream, handshake& whose) noexcept
      : where_(where), stream_(stream), whose_(whose) {}
  void start(std::chrono::nanoseconds limit) {
    passed_ = false;
    if (!whose_.must_go()) stream_.allow();
    where_.set_deadline(*this, deadline_after(where_.now(), limit));
  }
  void stop() noexcept { where_.remove_deadline(*this); }
  [[nodiscard]] bool passed() const noexcept { return passed_; }
  [[nodiscard]] time_point now() const noexcept { return where_.now(); }
  /// The time of day, by the clock that the deadline is counted with.
  [[nodiscard]] std::chrono::system_clock::time_point wall() const noexcept { return where_.wall(); }
  /// Until the mark goes, others that wait for a place, or a server that stops, may end what the stream waits
  /// for.
  [[nodiscard]] wait_mark waits(handshake::wait for_what) {
    // It may be what an accept loop waits for that has no room.
    if (handshake::yields(for_what) && whose_.among()->room.waiting())
      asio::post(where_.executor(), [among = whose_.among()] { among->room.wake(); });
    return {whose_, for_what};
  }
  [[nodiscard]] handshake& whose() noexcept { return whose_; }
  void on_deadline(time_point) override {
    passed_ = true;
    whose_.interrupt();
  }

 private:
  shard& where_;
  http_stream& stream_;
  handshake& whose_;
  bool passed_ = false;
};

}  // namespace skein::detail
