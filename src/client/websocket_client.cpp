// One of the translation units that include Beast: its WebSocket, as a client.

#include "client/client_stream.hpp"
#include "connection/deadline_queue.hpp"
#include "wire/frame.hpp"
#include "wire/web_address.hpp"

#include <skein/websocket_client.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/websocket/stream.hpp>

#include <deque>
#include <limits>
#include <optional>
#include <stdexcept>

namespace skein {

using namespace detail;  // NOLINT: this file is the inside of the client

namespace {

namespace ws = boost::beast::websocket;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr auto token = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t most_of_a_refusal = 4096;

/// Coroutines wait for something that happens again and again.
class happening {
 public:
  explicit happening(const asio::any_io_executor& executor)
      : timer_(executor, asio::steady_timer::time_point::max()) {}
  void notify() { timer_.cancel(); }
  asio::awaitable<void> wait() {
    co_await timer_.async_wait(token);
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none)
      throw boost::system::system_error{asio::error::operation_aborted};
  }

 private:
  asio::steady_timer timer_;
};

/// The socket, what is queued for it, and how it ended. Kept by every operation under way.
class link : public std::enable_shared_from_this<link> {
 public:
  link(const asio::any_io_executor& executor, connect_options options)
      : options_(std::move(options)),
        context_(asio::ssl::context::tls_client),
        socket_(executor),
        room_(executor),
        ended_(executor) {}

  asio::awaitable<void> connect(web_address to);
  asio::awaitable<std::optional<message>> read();
  asio::awaitable<outcome> write(prepared_message what);
  asio::awaitable<void> close(close_code code, std::string text);
  void cut() noexcept;

  [[nodiscard]] bool is_open() const noexcept { return open_; }
  [[nodiscard]] const close_reason& reason() const noexcept { return reason_; }
  [[nodiscard]] const std::string& subprotocol() const noexcept { return subprotocol_; }

 private:
  using executor_type = asio::any_io_executor;
  [[nodiscard]] client_stream& bytes() { return socket_.next_layer(); }
  asio::awaitable<void> reach(const web_address& to);
  asio::awaitable<void> shake_hands(const web_address& to);
  asio::awaitable<void> upgrade(const web_address& to);
  void write_on();
  static asio::awaitable<void> pump(std::shared_ptr<link> self);
  void end(closed_by by, close_code code, std::string text);
  void end_with(error_code ec);

  const connect_options options_;
  asio::ssl::context context_;
  ws::stream<client_stream, false> socket_;
  boost::beast::flat_buffer arrived_;
  std::deque<prepared_message> queue_;
  happening room_, ended_;
  std::string subprotocol_;
  close_reason reason_;
  bool open_ = false, closing_ = false, pumping_ = false, over_ = false;
};

// --- The beginning ---

asio::awaitable<void> link::connect(web_address to) {
  const auto self = shared_from_this();
  asio::steady_timer limit{socket_.get_executor()};
  bool late = false;
  limit.expires_at(deadline_after(std::chrono::steady_clock::now(), options_.handshake_timeout));
  limit.async_wait([&late, weak = weak_from_this()](error_code ec) {
    const auto mine = weak.lock();
    if (ec || !mine) return;
    late = true;
    mine->cut();
  });
  std::exception_ptr problem;
  try {
    co_await reach(to);
    if (to.tls) co_await shake_hands(to);
    co_await upgrade(to);
  } catch (...) {
    problem = std::current_exception();
  }
  const bool in_time = limit.cancel() == 1 && !late;
  if (!problem && in_time) {
    open_ = true;
    co_return;
  }
  cut();
  if (!in_time) throw boost::system::system_error{errc::handshake_timeout};
  std::rethrow_exception(problem);
}

asio::awaitable<void> link::reach(const web_address& to) {
  tcp::resolver resolver{socket_.get_executor()};
  const auto found = co_await resolver.async_resolve(to.host, to.port, asio::use_awaitable);
  co_await asio::async_connect(bytes().socket(), found, asio::use_awaitable);
  bytes().socket().set_option(tcp::no_delay{true});
}

asio::awaitable<void> link::shake_hands(const web_address& to) {
  const auto& own = options_.tls;
  context_.set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
  if (own.ca_file.empty()) {
    context_.set_default_verify_paths();
  } else {
    context_.load_verify_file(own.ca_file);
  }
  if (!own.certificate_file.empty()) {
    context_.use_certificate_chain_file(own.certificate_file);
    context_.use_private_key_file(own.key_file, asio::ssl::context::pem);
  }
  auto& tls = bytes().begin_tls(context_);
  // The name goes out in clear, and only names do (RFC 6066 section 3).
  if (!to.literal && SSL_set_tlsext_host_name(tls.native_handle(), to.host.c_str()) != 1)
    throw std::runtime_error{"the host's name cannot be sent"};
  tls.set_verify_mode(asio::ssl::verify_peer);
  tls.set_verify_callback(asio::ssl::host_name_verification{to.host});
  co_await tls.async_handshake(asio::ssl::stream_base::client, asio::use_awaitable);
}

std::chrono::seconds retry_after(const ws::response_type& answer) {
  const auto text = answer[http::field::retry_after];
  if (text.empty() || text.size() > 6 || text.find_first_not_of("0123456789") != text.npos)
    return std::chrono::seconds{0};
  return std::chrono::seconds{std::stol(std::string{text.data(), text.size()})};
}

asio::awaitable<void> link::upgrade(const web_address& to) {
  socket_.set_option(ws::stream_base::decorator([this](ws::request_type& request) {
    request.set(http::field::user_agent, "skein");
    if (!options_.token.empty()) request.set(http::field::authorization, "Bearer " + options_.token);
    std::string offered;
    for (const auto& each : options_.subprotocols) offered += (offered.empty() ? "" : ", ") + each;
    if (!offered.empty()) request.set(http::field::sec_websocket_protocol, offered);
    for (const auto& [name, value] : options_.headers) request.insert(name, value);
  }));
  const auto idle = options_.idle_timeout;
  ws::stream_base::timeout times{ws::stream_base::none(), ws::stream_base::none(), idle.count() > 0};
  if (idle.count() > 0) times.idle_timeout = idle;
  socket_.set_option(times);
  socket_.read_message_max(options_.max_message_bytes);
  socket_.auto_fragment(false);

  ws::response_type answer;
  const auto [ec] = co_await socket_.async_handshake(answer, to.authority(), to.target, token);
  if (ec == ws::error::upgrade_declined) {
    std::string body{answer.body()};
    if (body.size() > most_of_a_refusal) body.resize(most_of_a_refusal);
    throw upgrade_refused{answer.result_int(), std::move(body), retry_after(answer)};
  }
  if (ec) throw boost::system::system_error{ec};
  const auto chosen = answer[http::field::sec_websocket_protocol];
  subprotocol_.assign(chosen.data(), chosen.size());
}

// --- Messages ---

asio::awaitable<std::optional<message>> link::read() {
  const auto self = shared_from_this();
  if (over_) co_return std::nullopt;
  const auto [ec, n] = co_await socket_.async_read(arrived_, token);
  if (ec == asio::error::operation_aborted && open_) {
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) throw boost::system::system_error{ec};
  }
  if (ec) {
    end_with(ec);
    co_return std::nullopt;
  }
  const auto data = arrived_.cdata();
  message got{socket_.got_text() ? opcode::text : opcode::binary,
              std::string{static_cast<const char*>(data.data()), data.size()}};
  arrived_.consume(data.size());
  if (arrived_.capacity() > std::size_t{64} * 1024) arrived_.shrink_to_fit();
  co_return got;
}

asio::awaitable<outcome> link::write(prepared_message what) {
  const auto self = shared_from_this();
  while (open_ && queue_.size() >= options_.max_queued_messages) co_await room_.wait();
  if (!open_) co_return outcome::closed;
  queue_.push_back(std::move(what));
  write_on();
  co_return outcome::queued;
}

void link::write_on() {
  if (std::exchange(pumping_, true)) return;
  asio::co_spawn(socket_.get_executor(), pump(shared_from_this()), asio::detached);
}

asio::awaitable<void> link::pump(std::shared_ptr<link> self) {
  while (!self->queue_.empty() && !self->over_) {
    const auto one = self->queue_.front();
    self->socket_.text(one.is_text());
    const auto payload = one.payload();
    const auto [ec, n] =
        co_await self->socket_.async_write(asio::buffer(payload.data(), payload.size()), token);
    if (ec) {
      // Who reads finds out why; nobody may be reading.
      if (!self->closing_) self->end_with(ec);
      self->queue_.clear();
      break;
    }
    self->queue_.pop_front();
    self->room_.notify();
  }
  self->pumping_ = false;
  self->room_.notify();
}

// --- The end ---

asio::awaitable<void> link::close(close_code code, std::string text) {
  const auto self = shared_from_this();
  if (code != close_code::none && !is_sendable(code))
    throw std::invalid_argument{"close: this code is not sent"};
  if (!over_ && !std::exchange(closing_, true)) {
    open_ = false;
    room_.notify();
    asio::steady_timer limit{socket_.get_executor()};
    limit.expires_at(deadline_after(std::chrono::steady_clock::now(), options_.close_timeout));
    limit.async_wait([weak = weak_from_this()](error_code ec) {
      const auto mine = weak.lock();
      if (!ec && mine) mine->cut();
    });
    while (pumping_ && !over_) co_await room_.wait();
    ws::close_reason farewell;
    farewell.code = static_cast<std::uint16_t>(code);
    const auto cut_text = cut_utf8(text, max_close_text);
    farewell.reason.assign(cut_text.data(), cut_text.size());
    co_await socket_.async_close(farewell, token);
    end(closed_by::local, code, std::move(text));
  }
  while (!over_) co_await ended_.wait();
}

void link::cut() noexcept {
  beast_close_socket(bytes());
}

void link::end(closed_by by, close_code code, std::string text) {
  open_ = false;
  if (std::exchange(over_, true)) return;
  reason_ = {by, code, std::move(text)};
  cut();
  room_.notify();
  ended_.notify();
}

void link::end_with(error_code ec) {
  open_ = false;
  if (ec == ws::error::closed) {
    const auto& said = socket_.reason();
    end(closing_ ? closed_by::local : closed_by::peer, static_cast<close_code>(said.code),
        {said.reason.data(), said.reason.size()});
  } else if (closing_) {
    end(closed_by::local, close_code::abnormal, {});
  } else if (ec == ws::error::message_too_big || ec == ws::error::buffer_overflow) {
    end(closed_by::local, close_code::message_too_big, ec.message());
  } else if (ec == ws::condition::protocol_violation) {
    end(closed_by::local, close_code::protocol_error, ec.message());
  } else {
    end(closed_by::transport, close_code::abnormal, ec.message());
  }
}

class beast_client final : public websocket_client {
 public:
  explicit beast_client(std::shared_ptr<link> to) noexcept : link_(std::move(to)) {}
  ~beast_client() override { link_->cut(); }

  asio::awaitable<std::optional<message>> read() override { return link_->read(); }
  asio::awaitable<outcome> write(prepared_message what) override { return link_->write(std::move(what)); }
  asio::awaitable<void> close(close_code code, std::string text) override {
    return link_->close(code, std::move(text));
  }
  [[nodiscard]] bool is_open() const noexcept override { return link_->is_open(); }
  [[nodiscard]] const skein::close_reason& close_reason() const noexcept override { return link_->reason(); }
  [[nodiscard]] std::string_view subprotocol() const noexcept override { return link_->subprotocol(); }

 private:
  std::shared_ptr<link> link_;
};

void check(const connect_options& options) {
  const auto require = [](bool allowed, const char* what) {
    if (!allowed) throw std::invalid_argument{what};
  };
  require(options.handshake_timeout.count() > 0, "handshake_timeout: more than zero");
  require(options.idle_timeout.count() >= 0, "idle_timeout: not negative");
  require(options.close_timeout.count() > 0, "close_timeout: more than zero");
  require(options.max_queued_messages > 0, "max_queued_messages: not zero");
  require(options.tls.certificate_file.empty() == options.tls.key_file.empty(),
          "tls: a certificate and its key, or neither");
}

}  // namespace

asio::awaitable<std::unique_ptr<websocket_client>> connect_websocket(std::string url,
                                                                     connect_options options) {
  check(options);
  auto to = parse_web_address(url, "ws", "wss");
  if (!to) throw std::invalid_argument{"a WebSocket's URL: ws://host[:port]/path or wss://host[:port]/path"};
  const auto executor = co_await asio::this_coro::executor;
  auto made = std::make_shared<link>(executor, std::move(options));
  co_await made->connect(std::move(*to));
  co_return std::make_unique<beast_client>(std::move(made));
}

}  // namespace skein
