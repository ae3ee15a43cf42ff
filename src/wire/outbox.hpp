#pragma once

// The next layer beneath Beast's websocket stream: memory in place of a socket.
//
// What Beast wants to read it is given when the connection has bytes; what Beast wants to write is collected
// and handed to the connection, whose write loop is the only writer. Each operation is kept until `give` or
// `complete_write` resumes it from outside, never from within its own initiation. The operations' memory is
// allocated once and used again, so that an idle engine holds one block and a busy one allocates nothing.
//
// Not thread-safe; everything happens inside `protocol_engine::feed`.

#include <boost/asio/async_result.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skein::detail {

/// One suspended operation at a time. Its memory is kept for the next one until `release`.
class operation_slot {
 public:
  /// Resumed with input bytes; returns how many it took.
  struct operation {
    virtual std::size_t resume(std::string_view input, boost::system::error_code ec) = 0;
    virtual void destroy() noexcept = 0;

   protected:
    ~operation() = default;
  };

  operation_slot() = default;
  operation_slot(const operation_slot&) = delete;
  operation_slot& operator=(const operation_slot&) = delete;
  ~operation_slot() {
    if (operation_) operation_->destroy();
    ::operator delete(memory_);
  }

  /// Gives memory back that no operation needs now.
  void release() noexcept {
    if (operation_) return;
    ::operator delete(memory_);
    memory_ = nullptr;
    size_ = 0;
  }

  [[nodiscard]] bool occupied() const noexcept { return operation_ != nullptr; }

  template <class Function>  // std::size_t(std::string_view, error_code)
  void store(Function function) {
    struct model final : operation {
      model(operation_slot& slot, Function f) : owner(slot), function(std::move(f)) {}
      std::size_t resume(std::string_view input, boost::system::error_code ec) override {
        // The slot is free before the function runs, because it will want to store the next operation.
        auto moved = std::move(function);
        destroy();
        return moved(input, ec);
      }
      void destroy() noexcept override {
        owner.operation_ = nullptr;
        this->~model();
      }
      operation_slot& owner;
      Function function;
    };
    static_assert(alignof(model) <= alignof(std::max_align_t));
    if (size_ < sizeof(model)) {
      ::operator delete(memory_);
      memory_ = nullptr;
      memory_ = ::operator new(sizeof(model));
      size_ = sizeof(model);
    }
    operation_ = ::new (memory_) model{*this, std::move(function)};
  }

  std::size_t resume(std::string_view input, boost::system::error_code ec = {}) {
    return operation_->resume(input, ec);
  }

 private:
  operation* operation_ = nullptr;
  void* memory_ = nullptr;
  std::size_t size_ = 0;
};

/// What Beast posts, until the engine runs it. In the way that it is fed here Beast never posts (it would
/// find a second frame in its buffer, or a busy lock); should it do so all the same, nothing is lost.
class posted_functions {
 public:
  template <class Function>
  void push(Function function) {
    functions_.push_back(std::make_unique<model<Function>>(std::move(function)));
  }
  [[nodiscard]] bool empty() const noexcept { return functions_.empty(); }
  void run() {
    for (auto& one : std::exchange(functions_, {})) one->call();
  }

 private:
  struct erased {
    virtual ~erased() = default;
    virtual void call() = 0;
  };
  template <class Function>
  struct model final : erased {
    explicit model(Function f) : function(std::move(f)) {}
    void call() override { std::move(function)(); }
    Function function;
  };
  std::vector<std::unique_ptr<erased>> functions_;
};

/// The executor of the stream: one word, and no work is counted. Its context only holds Beast's services.
class outbox_executor {
 public:
  explicit outbox_executor(posted_functions& posted) noexcept : posted_(&posted) {}

  template <class Function>
  void execute(Function function) const {
    posted_->push(std::move(function));
  }
  [[nodiscard]] boost::asio::execution_context& query(boost::asio::execution::context_t) const noexcept {
    static boost::asio::io_context services{1};  // never run
    return services;
  }
  static constexpr boost::asio::execution::blocking_t query(boost::asio::execution::blocking_t) noexcept {
    return boost::asio::execution::blocking.never;
  }
  [[nodiscard]] outbox_executor require(boost::asio::execution::blocking_t::never_t) const noexcept {
    return *this;
  }

  friend bool operator==(const outbox_executor& a, const outbox_executor& b) noexcept {
    return a.posted_ == b.posted_;
  }
  friend bool operator!=(const outbox_executor& a, const outbox_executor& b) noexcept { return !(a == b); }

 private:
  posted_functions* posted_;
};

class outbox {
 public:
  using executor_type = outbox_executor;

  explicit outbox(posted_functions& posted) : executor_(posted) {}
  [[nodiscard]] executor_type get_executor() const noexcept { return executor_; }

  // What the engine does.

  [[nodiscard]] bool wants_input() const noexcept { return reading_.occupied(); }
  /// Gives input to the waiting read, which takes some of it.
  std::size_t give(std::string_view input) { return reading_.resume(input); }
  [[nodiscard]] bool has_output() const noexcept { return !written_.empty(); }
  [[nodiscard]] std::string_view output() const noexcept { return written_; }
  void clear_output() noexcept { written_.clear(); }
  [[nodiscard]] bool wants_completion() const noexcept { return writing_.occupied(); }
  /// Gives memory back that an idle engine does not need.
  void release() noexcept {
    reading_.release();
    writing_.release();
    if (written_.empty()) written_ = std::string{};
  }
  /// Completes the waiting write or teardown.
  void complete_write() { writing_.resume({}); }

  // What Beast asks for.

  template <class MutableBuffers, class Token>
  auto async_read_some(const MutableBuffers& buffers, Token&& token) {
    return boost::asio::async_initiate<Token, void(boost::system::error_code, std::size_t)>(
        [this](auto handler, const MutableBuffers& target) {
          reading_.store([handler = std::move(handler), target](std::string_view input,
                                                                boost::system::error_code ec) mutable {
            const auto n = boost::asio::buffer_copy(target, boost::asio::buffer(input.data(), input.size()));
            std::move(handler)(ec, n);
            return n;
          });
        },
        token, buffers);
  }

  template <class ConstBuffers, class Token>
  auto async_write_some(const ConstBuffers& buffers, Token&& token) {
    return boost::asio::async_initiate<Token, void(boost::system::error_code, std::size_t)>(
        [this](auto handler, const ConstBuffers& source) {
          const auto n = collect(source);
          writing_.store(
              [handler = std::move(handler), n](std::string_view, boost::system::error_code ec) mutable {
                std::move(handler)(ec, n);
                return n;
              });
        },
        token, buffers);
  }

  template <class Handler>
  void store_teardown(Handler handler) {
    writing_.store([handler = std::move(handler)](std::string_view, boost::system::error_code ec) mutable {
      std::move(handler)(ec);
      return std::size_t{0};
    });
  }

  // The opening handshake is answered synchronously.

  template <class ConstBuffers>
  std::size_t write_some(const ConstBuffers& buffers, boost::system::error_code& ec) {
    ec = {};
    return collect(buffers);
  }
  template <class ConstBuffers>
  std::size_t write_some(const ConstBuffers& buffers) {
    return collect(buffers);
  }
  template <class MutableBuffers>
  std::size_t read_some(const MutableBuffers&, boost::system::error_code& ec) {
    ec = boost::asio::error::would_block;
    return 0;
  }
  template <class MutableBuffers>
  std::size_t read_some(const MutableBuffers& buffers) {
    boost::system::error_code ec;
    const auto n = read_some(buffers, ec);
    if (ec) throw boost::system::system_error{ec};
    return n;
  }

 private:
  template <class ConstBuffers>
  std::size_t collect(const ConstBuffers& buffers) {
    const auto n = boost::asio::buffer_size(buffers);
    const auto old = written_.size();
    written_.resize(old + n);
    boost::asio::buffer_copy(boost::asio::buffer(written_.data() + old, n), buffers);
    return n;
  }

  executor_type executor_;
  operation_slot reading_;
  operation_slot writing_;
  std::string written_;
};

}  // namespace skein::detail
