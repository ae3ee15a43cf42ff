#include "protocol/answers.hpp"
#include "protocol/conversation.hpp"

#include <skein/protocol.hpp>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace skein {

json_protocol::json_protocol(std::shared_ptr<topics> of, std::shared_ptr<users> to,
                             protocol_options options) {
  const auto require = [](bool allowed, const char* what) {
    if (!allowed) throw std::invalid_argument{what};
  };
  require(of && to, "json_protocol: topics and users are needed");
  require(options.max_depth >= 1 && options.max_depth <= 256, "max_depth: from 1 to 256");
  require(options.max_faults >= 1, "max_faults: at least 1");
  impl_ = std::make_shared<impl>(std::move(of), std::move(to), std::move(options));
}

json_protocol& json_protocol::on(std::string type, request_handler answer) {
  const bool taken = detail::conversation::answers(type) || impl_->own.contains(type);
  if (taken || type.empty() || !answer)
    throw std::invalid_argument{"json_protocol: \"" + type + "\" is taken"};
  impl_->own.emplace(std::move(type), std::move(answer));
  return *this;
}

asio::awaitable<void> json_protocol::serve(connection& client) const {
  detail::conversation with{impl_, client};
  co_await with.run();
}

skein::handler json_protocol::handler() const {
  return [self = *this](connection& client) { return self.serve(client); };
}

protocol_stats json_protocol::stats() const {
  protocol_stats all;
  all.requests = impl_->requests.load(std::memory_order_relaxed);
  all.errors = impl_->errors.load(std::memory_order_relaxed);
  all.faults = impl_->faults.load(std::memory_order_relaxed);
  all.not_allowed = impl_->denied.load(std::memory_order_relaxed);
  return all;
}

prepared_message answer_to(const boost::json::object& request, boost::json::object fields) {
  return detail::answer(request.if_contains("id"), std::move(fields));
}

}  // namespace skein
