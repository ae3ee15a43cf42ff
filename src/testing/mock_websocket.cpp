#include <skein/testing.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <utility>

namespace skein::testing {
namespace {

enum class ending { peer_closes, throws, waits };

// Shared with a `read` that waits, which may outlive the mock.
struct script {
  asio::any_io_executor executor;
  connection_id id = 1;
  std::string route = "/";
  skein::request request;
  skein::identity user;
  std::any attributes;

  std::deque<message> to_read;
  ending then = ending::peer_closes;
  skein::close_reason peers_reason{closed_by::peer, close_code::normal, {}};
  std::exception_ptr error;
  std::optional<std::size_t> writes_that_succeed;  // from here on; nothing: all
  outcome failure = outcome::closed;

  std::vector<message> written;
  std::vector<delivery> deliveries;
  std::optional<close_code> closed_with;  // by the handler
  skein::close_reason reason;
  connection_stats stats;
  asio::steady_timer* waiting_read = nullptr;

  [[nodiscard]] bool is_open() const noexcept { return reason.by == closed_by::nobody; }

  void wake() const {
    if (waiting_read != nullptr) waiting_read->cancel();
  }

  void end(skein::close_reason how) {
    if (is_open()) reason = std::move(how);
    wake();
  }

  outcome take(const prepared_message& what, delivery how) {
    if (!what) throw std::invalid_argument("there is no message to send");
    if (!is_open()) return outcome::closed;
    if (writes_that_succeed) {
      if (*writes_that_succeed == 0) return failure;
      --*writes_that_succeed;
    }
    const auto done = how.waits_until_written() ? outcome::written : outcome::queued;
    written.emplace_back(what.type(), std::string{what.payload()});
    deliveries.push_back(std::move(how));
    ++stats.messages_out;
    stats.bytes_out += what.size();
    return done;
  }

  void close(close_code code, std::string text) {
    if (!is_open()) return;
    closed_with = code;
    end({closed_by::local, code, std::move(text)});
  }
};

// The place of a `read` that waits. Leaves it when the coroutine goes on, or is destroyed.
class waiting_place {
 public:
  waiting_place(std::shared_ptr<script> of, asio::steady_timer& change) : of_(std::move(of)) {
    if (of_->waiting_read != nullptr) throw std::logic_error("two coroutines read the same websocket");
    of_->waiting_read = &change;
  }
  waiting_place(const waiting_place&) = delete;
  waiting_place& operator=(const waiting_place&) = delete;
  ~waiting_place() { of_->waiting_read = nullptr; }

 private:
  std::shared_ptr<script> of_;
};

// Completes when something has woken the script.
asio::awaitable<void> wait_for_a_change(std::shared_ptr<script> of) {
  asio::steady_timer change{co_await asio::this_coro::executor, asio::steady_timer::time_point::max()};
  const waiting_place place{of, change};
  co_await change.async_wait(asio::as_tuple(asio::use_awaitable));
  const auto cancelled = co_await asio::this_coro::cancellation_state;
  if (cancelled.cancelled() != asio::cancellation_type::none) {
    throw boost::system::system_error{asio::error::operation_aborted};
  }
}

asio::awaitable<std::optional<message>> read_from(std::shared_ptr<script> of) {
  for (;;) {
    if (of->closed_with) co_return std::nullopt;
    if (!of->to_read.empty()) {
      auto next = std::move(of->to_read.front());
      of->to_read.pop_front();
      ++of->stats.messages_in;
      of->stats.bytes_in += next.size();
      co_return next;
    }
    if (of->is_open() && of->then == ending::throws) std::rethrow_exception(of->error);
    if (of->is_open() && of->then == ending::peer_closes) of->end(of->peers_reason);
    if (!of->is_open()) co_return std::nullopt;
    co_await wait_for_a_change(of);
  }
}

}  // namespace

struct mock_websocket::impl : script {};

mock_websocket::mock_websocket(asio::any_io_executor executor) : impl_(std::make_shared<impl>()) {
  impl_->executor = std::move(executor);
}

mock_websocket::~mock_websocket() {
  impl_->end({closed_by::transport, close_code::abnormal, {}});
}

mock_websocket& mock_websocket::will_read(message what) {
  impl_->to_read.push_back(std::move(what));
  return *this;
}

mock_websocket& mock_websocket::then_peer_closes(close_code code, std::string text) {
  impl_->then = ending::peer_closes;
  impl_->peers_reason = {closed_by::peer, code, std::move(text)};
  return *this;
}

mock_websocket& mock_websocket::then_read_throws(std::exception_ptr error) {
  impl_->then = ending::throws;
  impl_->error = std::move(error);
  return *this;
}

mock_websocket& mock_websocket::then_read_waits() {
  impl_->then = ending::waits;
  return *this;
}

mock_websocket& mock_websocket::will_fail_writes(std::size_t after, outcome with) {
  impl_->writes_that_succeed = after;
  impl_->failure = with;
  return *this;
}

mock_websocket& mock_websocket::with_request(skein::request what) {
  impl_->request = std::move(what);
  return *this;
}

mock_websocket& mock_websocket::with_user(skein::identity who) {
  impl_->user = std::move(who);
  return *this;
}

mock_websocket& mock_websocket::with_id(connection_id id) {
  impl_->id = id;
  return *this;
}

mock_websocket& mock_websocket::with_route(std::string path) {
  impl_->route = std::move(path);
  return *this;
}

void mock_websocket::peer_sends(message what) {
  if (!impl_->is_open()) return;
  impl_->to_read.push_back(std::move(what));
  impl_->wake();
}

void mock_websocket::peer_closes(close_code code, std::string text) {
  impl_->end({closed_by::peer, code, std::move(text)});
}

std::size_t mock_websocket::reads() const noexcept {
  return impl_->stats.messages_in;
}
std::size_t mock_websocket::writes() const noexcept {
  return impl_->written.size();
}
const std::vector<message>& mock_websocket::written() const noexcept {
  return impl_->written;
}

const message& mock_websocket::last_written() const {
  if (impl_->written.empty()) throw std::out_of_range("nothing was written");
  return impl_->written.back();
}

const std::vector<delivery>& mock_websocket::deliveries() const noexcept {
  return impl_->deliveries;
}
bool mock_websocket::was_closed() const noexcept {
  return impl_->closed_with.has_value();
}
close_code mock_websocket::closed_with() const noexcept {
  return impl_->closed_with.value_or(close_code::none);
}

asio::awaitable<std::optional<message>> mock_websocket::read() {
  return read_from(impl_);
}

asio::awaitable<outcome> mock_websocket::write(prepared_message what) {
  const auto how = delivery().wait();
  co_return impl_->take(what, how);
}

asio::awaitable<void> mock_websocket::close(close_code code, std::string text) {
  impl_->close(code, std::move(text));
  co_return;
}

bool mock_websocket::is_open() const noexcept {
  return impl_->is_open();
}
const skein::close_reason& mock_websocket::close_reason() const noexcept {
  return impl_->reason;
}
connection_id mock_websocket::id() const noexcept {
  return impl_->id;
}
std::string_view mock_websocket::route() const noexcept {
  return impl_->route;
}
const skein::request& mock_websocket::request() const noexcept {
  return impl_->request;
}
const skein::identity& mock_websocket::user() const noexcept {
  return impl_->user;
}
bool mock_websocket::renew(skein::identity who) {
  if (!impl_->is_open() || who.user.empty() || who.user != impl_->user.user) return false;
  impl_->user = std::move(who);
  return true;
}
std::string_view mock_websocket::subprotocol() const noexcept {
  return {};
}
asio::any_io_executor mock_websocket::executor() const {
  return impl_->executor;
}
connection_stats mock_websocket::stats() const {
  return impl_->stats;
}

asio::awaitable<outcome> mock_websocket::send(prepared_message what, delivery how) {
  co_return impl_->take(what, std::move(how));
}

void mock_websocket::post_send(prepared_message what, delivery how) {
  impl_->take(what, std::move(how));
}

void mock_websocket::post_close(close_code code, std::string text) {
  impl_->close(code, std::move(text));
}

std::any& mock_websocket::attributes() noexcept {
  return impl_->attributes;
}
const std::any& mock_websocket::attributes() const noexcept {
  return impl_->attributes;
}

}  // namespace skein::testing
