#pragma once

// What may end an HTTP session while it waits: the time, and a server that stops.

#include "http/http_stream.hpp"
#include "http/session.hpp"

#include <boost/asio/cancellation_signal.hpp>

#include <chrono>
#include <utility>

namespace skein::detail {

/// While it lives, a server that stops ends what the stream waits for.
class idle_mark {
 public:
  idle_mark() noexcept = default;
  idle_mark(idle_sessions& among, http_stream& stream, bool between_requests)
      : among_(&among), stream_(&stream), between_requests_(between_requests) {
    among.waiting.insert(&stream);
    if (between_requests) among.between_requests.push_back(&stream);
  }
  ~idle_mark() {
    if (among_ == nullptr) return;
    among_->waiting.erase(stream_);
    if (between_requests_) among_->between_requests.remove(stream_);
  }
  idle_mark(const idle_mark&) = delete;
  idle_mark& operator=(const idle_mark&) = delete;

 private:
  idle_sessions* among_ = nullptr;
  http_stream* stream_ = nullptr;
  bool between_requests_ = false;
};

/// What reading a request may take in all, and what writing an answer may: set once for each and not again,
/// whatever arrives meanwhile.
class session_deadline final : public deadline_entry {
 public:
  session_deadline(shard& where, http_stream& stream, idle_sessions& idle) noexcept
      : where_(where), stream_(stream), idle_(idle) {}
  void start(std::chrono::nanoseconds limit) {
    passed_ = false;
    stream_.allow();
    where_.set_deadline(*this, deadline_after(where_.now(), limit));
  }
  void stop() noexcept { where_.remove_deadline(*this); }
  [[nodiscard]] bool passed() const noexcept { return passed_; }
  [[nodiscard]] time_point now() const noexcept { return where_.now(); }
  /// The time of day, by the clock that the deadline is counted with.
  [[nodiscard]] std::chrono::system_clock::time_point wall() const noexcept { return where_.wall(); }
  [[nodiscard]] idle_mark idle(bool between_requests = false) { return {idle_, stream_, between_requests}; }
  [[nodiscard]] asio::cancellation_slot slot() noexcept { return signal_.slot(); }
  void on_deadline(time_point) override {
    passed_ = true;
    stream_.cancel();
    signal_.emit(asio::cancellation_type::terminal);
  }

 private:
  shard& where_;
  http_stream& stream_;
  idle_sessions& idle_;
  asio::cancellation_signal signal_;
  bool passed_ = false;
};

}  // namespace skein::detail
