// One of the translation units that include Beast: its WebSocket, as a client.

#include "client/client_stream.hpp"
#include "client/happening.hpp"
#include "connection/deadline_queue.hpp"
#include "wire/frame.hpp"
#include "wire/web_address.hpp"

#include <skein/websocket_client.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
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
// What is read ahead of who takes it; then the server has to wait. As in a server's connections.
constexpr std::size_t most_unread_messages = 64;
constexpr std::size_t most_unread_bytes = std::size_t{256} * 1024;
constexpr std::size_t read_at_once = std::size_t{64} * 1024;

/// The socket, what has come and what is queued for it, and how it ended. Kept by every operation under way.
class link : public std::enable_shared_from_this<link> {
 public:
  link(const asio::any_io_executor& executor, connect_options options)
      : options_(std::move(options)),
        time_(options_.time ? options_.time : steady_clock()),
        context_(asio::ssl::context::tls_client),
        socket_(executor),
        arrived_(executor),
        taken_(executor),
        room_(executor),
        ended_(executor) {}

  asio::awaitable<void> connect(web_address to);
  asio::awaitable<std::optional<message>> read();
  asio::awaitable<outcome> write(prepared_message what);
  asio::awaitable<void> close(close_code code, std::string text);
  /// Nobody reads or writes any more.
  void abandon() noexcept;

  [[nodiscard]] bool is_open() const noexcept { return open_; }
  [[nodiscard]] const close_reason& reason() const noexcept { return reason_; }
  [[nodiscard]] const std::string& subprotocol() const noexcept { return subprotocol_; }

 private:
  using executor_type = asio::any_io_executor;
  [[nodiscard]] client_stream& bytes() { return socket_.next_layer(); }
  asio::awaitable<void> reach(const web_address& to);
  asio::awaitable<void> shake_hands(const web_address& to);
  asio::awaitable<void> upgrade(const web_address& to);
  void begin();
  static asio::awaitable<void> read_all(std::shared_ptr<link> self);
  asio::awaitable<error_code> read_message();
  [[nodiscard]] bool inbox_full() const noexcept {
    return inbox_.size() >= most_unread_messages || unread_bytes_ >= most_unread_bytes;
  }
  void look_after();
  void write_on();
  static asio::awaitable<void> write_all(std::shared_ptr<link> self);
  static asio::awaitable<void> say_goodbye(std::shared_ptr<link> self);
  void cut() noexcept;
  void end(closed_by by, close_code code, std::string text);
  void end_with(error_code ec);
  void end_with(const std::exception& error);

  const connect_options options_;
  const std::shared_ptr<clock> time_;
  asio::ssl::context context_;
  ws::stream<client_stream, false> socket_;
  boost::beast::flat_buffer buffer_;
  std::deque<message> inbox_;
  std::size_t unread_bytes_ = 0;
  std::deque<prepared_message> queue_;
  happening arrived_, taken_, room_, ended_;
  time_point heard_{}, asked_{};  // when the server was heard of last, and pinged
  std::unique_ptr<alarm> heartbeat_;
  std::string subprotocol_;
  close_reason reason_;
  bool late_ = false;  // the handshake's time has passed
  bool open_ = false, closing_ = false, over_ = false;
  bool writing_ = false, pinging_ = false, paused_ = false;
};

// --- The beginning ---

asio::awaitable<void> link::connect(web_address to) {
  const auto self = shared_from_this();
  const auto limit = time_->make_alarm(socket_.get_executor(), [this] {
    late_ = true;
    cut();
    arrived_.notify();
  });
  limit->set(deadline_after(time_->now(), options_.handshake_timeout));
  std::exception_ptr problem;
  try {
    co_await reach(to);
    if (to.tls) co_await shake_hands(to);
    co_await upgrade(to);
  } catch (...) {
    problem = std::current_exception();
  }
  limit->cancel();
  if (!problem && !late_) {
    begin();
    co_return;
  }
  cut();
  if (late_) throw boost::system::system_error{errc::handshake_timeout};
  std::rethrow_exception(problem);
}

// A name's lookup cannot be broken off: when the time has passed, or the caller gives up, it is left to
// itself.
struct lookup {
  explicit lookup(const asio::any_io_executor& executor) : resolver(executor) {}
  tcp::resolver resolver;
  tcp::resolver::results_type found{};
  error_code ec{};
  bool over = false;
};

asio::awaitable<void> link::reach(const web_address& to) {
  const auto asked = std::make_shared<lookup>(socket_.get_executor());
  asked->resolver.async_resolve(
      to.host, to.port, [asked, self = shared_from_this()](error_code ec, tcp::resolver::results_type found) {
        asked->found = std::move(found);
        asked->ec = ec;
        asked->over = true;
        self->arrived_.notify();
      });
  while (!asked->over && !late_) co_await arrived_.wait();
  if (late_) throw boost::system::system_error{errc::handshake_timeout};
  if (asked->ec) throw boost::system::system_error{asked->ec};
  co_await asio::async_connect(bytes().socket(), asked->found, asio::use_awaitable);
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
  // The limits of time are the link's own: Beast's run even while nobody reads.
  socket_.set_option(ws::stream_base::timeout{ws::stream_base::none(), ws::stream_base::none(), false});
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

void link::begin() {
  open_ = true;
  heard_ = time_->now();
  if (options_.idle_timeout.count() > 0) {
    socket_.control_callback([this](ws::frame_type, boost::beast::string_view) { heard_ = time_->now(); });
    heartbeat_ = time_->make_alarm(socket_.get_executor(), [this] { look_after(); });
    heartbeat_->set(deadline_after(heard_, options_.idle_timeout / 2));
  }
  asio::co_spawn(socket_.get_executor(), read_all(shared_from_this()), asio::detached);
}

// Whether anybody reads or not: pings are answered, and a wait for a message can be given up.
asio::awaitable<void> link::read_all(std::shared_ptr<link> self) {
  try {
    while (!self->over_) {
      while (self->open_ && self->inbox_full()) {
        self->paused_ = true;
        co_await self->taken_.wait();
      }
      self->paused_ = false;
      self->heard_ = self->time_->now();
      const auto ec = co_await self->read_message();
      if (ec) self->end_with(ec);
    }
  } catch (const std::exception& error) {  // there is no memory for a message
    self->end_with(error);
  }
}

asio::awaitable<error_code> link::read_message() {
  do {
    const auto [ec, n] = co_await socket_.async_read_some(buffer_, read_at_once, token);
    if (ec) co_return ec;
    heard_ = time_->now();
  } while (!socket_.is_message_done());
  const auto data = buffer_.cdata();
  if (open_) {  // RFC 6455 section 1.4: what comes behind our close frame may be discarded
    inbox_.emplace_back(socket_.got_text() ? opcode::text : opcode::binary,
                        std::string{static_cast<const char*>(data.data()), data.size()});
    unread_bytes_ += data.size();
    arrived_.notify();
  }
  buffer_.consume(data.size());
  if (buffer_.capacity() > read_at_once) buffer_.shrink_to_fit();
  co_return error_code{};
}

asio::awaitable<std::optional<message>> link::read() {
  const auto self = shared_from_this();
  while (inbox_.empty()) {
    if (over_) co_return std::nullopt;
    co_await arrived_.wait();
  }
  std::optional<message> next{std::move(inbox_.front())};
  inbox_.pop_front();
  unread_bytes_ -= next->size();
  if (paused_ && !inbox_full()) taken_.notify();
  co_return next;
}

// Half of the time that the server may be silent has passed since it was heard of, or asked. It is not dead
// before it was asked, however late this comes: its answer may be there, and nobody had the time to read it.
void link::look_after() {
  if (over_ || closing_) return;
  const auto now = time_->now();
  if (paused_) heard_ = now;  // what it says is not read
  const auto half = options_.idle_timeout / 2;
  if (asked_ > heard_) {
    end(closed_by::transport, close_code::abnormal, "the server was not heard of in time");
    return;
  }
  if (now - heard_ < half) {
    heartbeat_->set(deadline_after(heard_, half));
    return;
  }
  asked_ = now;
  heartbeat_->set(deadline_after(now, options_.idle_timeout - half));
  if (std::exchange(pinging_, true)) return;
  socket_.async_ping({}, [self = shared_from_this()](error_code) { self->pinging_ = false; });
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
  if (std::exchange(writing_, true)) return;
  asio::co_spawn(socket_.get_executor(), write_all(shared_from_this()), asio::detached);
}

asio::awaitable<void> link::write_all(std::shared_ptr<link> self) {
  try {
    while (!self->queue_.empty() && !self->over_) {
      const auto one = self->queue_.front();
      self->socket_.text(one.is_text());
      const auto payload = one.payload();
      const auto [ec, n] =
          co_await self->socket_.async_write(asio::buffer(payload.data(), payload.size()), token);
      if (ec) {
        self->end_with(ec);
        self->queue_.clear();
        break;
      }
      self->queue_.pop_front();
      self->room_.notify();
    }
  } catch (const std::exception& error) {
    self->end_with(error);
  }
  self->writing_ = false;
  self->room_.notify();
}

// --- The end ---

asio::awaitable<void> link::close(close_code code, std::string text) {
  const auto self = shared_from_this();
  if (code != close_code::none && !is_sendable(code))
    throw std::invalid_argument{"close: this code is not sent"};
  if (!over_ && !std::exchange(closing_, true)) {
    open_ = false;
    reason_ = {closed_by::local, code, std::string{cut_utf8(text, max_close_text)}};
    room_.notify();
    taken_.notify();
    asio::co_spawn(socket_.get_executor(), say_goodbye(self), asio::detached);
  }
  while (!over_) co_await ended_.wait();
}

// Goes on even if nobody waits for it any more.
asio::awaitable<void> link::say_goodbye(std::shared_ptr<link> self) {
  const auto limit = self->time_->make_alarm(self->socket_.get_executor(), [self] { self->cut(); });
  limit->set(deadline_after(self->time_->now(), self->options_.close_timeout));
  while (self->writing_ && !self->over_) co_await self->room_.wait();
  const auto& [by, code, text] = self->reason_;
  ws::close_reason farewell;
  farewell.code = static_cast<std::uint16_t>(code);
  farewell.reason.assign(text.data(), text.size());
  co_await self->socket_.async_close(farewell, token);
  self->end(by, code, {});
}

void link::cut() noexcept {
  beast_close_socket(bytes());
}

void link::end(closed_by by, close_code code, std::string text) {
  open_ = false;
  if (std::exchange(over_, true)) return;
  if (!closing_) reason_ = {by, code, std::move(text)};
  if (heartbeat_) heartbeat_->cancel();
  cut();
  for (auto* const who : {&arrived_, &taken_, &room_, &ended_}) who->notify();
}

void link::end_with(error_code ec) {
  if (ec == ws::error::closed) {
    const auto& said = socket_.reason();
    end(closed_by::peer, static_cast<close_code>(said.code), {said.reason.data(), said.reason.size()});
  } else if (ec == ws::error::message_too_big || ec == ws::error::buffer_overflow) {
    end(closed_by::local, close_code::message_too_big, ec.message());
  } else if (ec == ws::condition::protocol_violation) {
    end(closed_by::local, close_code::protocol_error, ec.message());
  } else {
    end(closed_by::transport, close_code::abnormal, ec.message());
  }
}

void link::end_with(const std::exception& error) {
  end(closed_by::local, close_code::abnormal, error.what());
}

void link::abandon() noexcept {
  end(closed_by::local, close_code::abnormal, {});
}

class beast_client final : public websocket_client {
 public:
  explicit beast_client(std::shared_ptr<link> to) noexcept : link_(std::move(to)) {}
  ~beast_client() override { link_->abandon(); }

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
