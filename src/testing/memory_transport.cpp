#include "testing/memory_transport.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <cstring>

namespace skein::testing::detail {
namespace {

using skein::detail::transport;

void complete(const asio::any_io_executor& executor, transport::ready_handler& slot, bool ready) {
  if (!slot) return;
  asio::post(executor, [handler = std::move(slot), ready]() mutable { handler(ready); });
}

class memory_transport final : public skein::detail::transport {
 public:
  explicit memory_transport(std::shared_ptr<memory_pipe> pipe) : pipe_(std::move(pipe)) {}
  ~memory_transport() override { close(false); }

  std::size_t read_some(std::span<char> into, error_code& ec) noexcept override {
    auto& source = pipe_->to_server;
    const auto n = std::min(into.size(), source.size());
    if (n > 0) {
      std::memcpy(into.data(), source.data(), n);
      source.erase(0, n);
      ec = {};
    } else if (pipe_->peer_gone) {
      ec = asio::error::eof;
    } else {
      ec = asio::error::would_block;
    }
    return n;
  }

  std::size_t write_some(std::span<const iovec> buffers, error_code& ec) noexcept override {
    ec = {};
    if (pipe_->peer_gone) {
      ec = asio::error::broken_pipe;
      return 0;
    }
    std::size_t written = 0;
    for (const auto& buffer : buffers) {
      const auto room = pipe_->capacity - std::min(pipe_->capacity, pipe_->to_peer.size());
      const auto n = std::min(room, buffer.iov_len);
      try {
        pipe_->to_peer.append(static_cast<const char*>(buffer.iov_base), n);
      } catch (...) {
        ec = asio::error::no_memory;
        return 0;
      }
      written += n;
      if (n < buffer.iov_len) break;
    }
    if (written == 0 && !buffers.empty()) ec = asio::error::would_block;
    return written;
  }

  void wait_readable(ready_handler handler) override {
    pipe_->readable = std::move(handler);
    pipe_->notify();
  }
  void wait_writable(ready_handler handler) override {
    pipe_->writable = std::move(handler);
    pipe_->notify();
  }
  bool peer_gone(skein::duration) const noexcept override { return pipe_->peer_gone || pipe_->vanished; }
  void shutdown_send() noexcept override { pipe_->server_shut = true; }
  void close(bool) noexcept override {
    pipe_->server_closed = true;
    pipe_->notify();
  }

 private:
  std::shared_ptr<memory_pipe> pipe_;
};

}  // namespace

void memory_pipe::notify() {
  if (server_closed) {
    complete(executor, readable, false);
    complete(executor, writable, false);
    return;
  }
  if (!to_server.empty() || peer_gone) complete(executor, readable, true);
  if (to_peer.size() < capacity || peer_gone) complete(executor, writable, true);
}

std::unique_ptr<skein::detail::transport> make_memory_transport(std::shared_ptr<memory_pipe> pipe) {
  return std::make_unique<memory_transport>(std::move(pipe));
}

}  // namespace skein::testing::detail
