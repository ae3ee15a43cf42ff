#include "connection/tls_session.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>

#include <utility>

namespace skein::detail {
namespace {

class tls_transport final : public transport {
 public:
  tls_transport(std::unique_ptr<tls_session> session, std::unique_ptr<transport> below,
                const asio::any_io_executor& executor) noexcept
      : below_(std::move(below)), session_(std::move(session)), executor_(executor) {
    session_->attach(*below_);
  }
  ~tls_transport() override { close(false); }

  std::size_t read_some(std::span<char> into, error_code& ec) noexcept override {
    return session_->read_some(into, ec);
  }
  std::size_t write_some(std::span<const iovec> buffers, error_code& ec) noexcept override {
    return session_->write_some(buffers, ec);
  }

  void wait_readable(ready_handler handler) override {
    // The socket does not tell of what has been read from it already. Not within this call: a loop that
    // reads on and on would never return.
    if (open_ && session_->readable_at_once()) {
      asio::post(executor_, [handler = std::move(handler)]() mutable { handler(true); });
    } else {
      below_->wait_readable(std::move(handler));
    }
  }
  void wait_writable(ready_handler handler) override { below_->wait_writable(std::move(handler)); }

  bool peer_gone(duration quiet) const noexcept override { return below_->peer_gone(quiet); }

  void shutdown_send() noexcept override {
    session_->send_close_notify();
    if (!session_->holds_unsent()) below_->shutdown_send();
  }

  void close(bool reset) noexcept override {
    if (!std::exchange(open_, false)) return;
    if (!reset) session_->send_close_notify();
    below_->close(reset);
  }

 private:
  std::unique_ptr<transport> below_;
  std::unique_ptr<tls_session> session_;
  const asio::any_io_executor& executor_;
  bool open_ = true;
};

}  // namespace

std::unique_ptr<transport> make_tls_transport(std::unique_ptr<tls_session> session,
                                              std::unique_ptr<transport> below,
                                              const asio::any_io_executor& executor) {
  return std::make_unique<tls_transport>(std::move(session), std::move(below), executor);
}

}  // namespace skein::detail
