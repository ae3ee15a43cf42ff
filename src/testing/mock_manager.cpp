#include <skein/testing.hpp>

#include <utility>

namespace skein::testing {

struct mock_manager::impl {
  delivery_report report;
  std::optional<outcome> answer;
  std::vector<sent> record;
  std::vector<connection_id> closed;
  std::uint64_t broadcasts = 0;

  void take(const prepared_message& what, delivery how, std::optional<connection_id> to) {
    if (!what) throw std::invalid_argument("there is no message to send");
    if (!to && how.policy() == overflow::wait)
      throw std::invalid_argument("a broadcast cannot wait for room");
    if (!to) ++broadcasts;
    record.push_back({message{what.type(), std::string{what.payload()}}, std::move(how), to});
  }
};

mock_manager::mock_manager() : impl_(std::make_unique<impl>()) {}
mock_manager::~mock_manager() = default;

mock_manager& mock_manager::will_report(delivery_report report) {
  impl_->report = report;
  return *this;
}

mock_manager& mock_manager::will_answer(outcome what) {
  impl_->answer = what;
  return *this;
}

const std::vector<mock_manager::sent>& mock_manager::record() const noexcept {
  return impl_->record;
}
const std::vector<connection_id>& mock_manager::closed() const noexcept {
  return impl_->closed;
}

asio::awaitable<delivery_report> mock_manager::broadcast(prepared_message what, delivery how) {
  impl_->take(what, std::move(how), std::nullopt);
  co_return impl_->report;
}

void mock_manager::post_broadcast(prepared_message what, delivery how) {
  impl_->take(what, std::move(how), std::nullopt);
}

asio::awaitable<outcome> mock_manager::send_to(connection_id id, prepared_message what, delivery how) {
  const auto done = how.waits_until_written() ? outcome::written : outcome::queued;
  impl_->take(what, std::move(how), id);
  co_return impl_->answer.value_or(done);
}

asio::awaitable<bool> mock_manager::close(connection_id id, close_code, std::string) {
  impl_->closed.push_back(id);
  co_return true;
}

asio::awaitable<void> mock_manager::for_each(std::function<void(connection&)>) {
  co_return;
}

manager_stats mock_manager::stats() const {
  manager_stats counted;
  counted.broadcasts = impl_->broadcasts;
  return counted;
}

health_report mock_manager::health() const {
  return {};
}

asio::awaitable<drain_report> mock_manager::drain(std::chrono::nanoseconds) {
  co_return drain_report{};
}

}  // namespace skein::testing
