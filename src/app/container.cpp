#include "app/container_impl.hpp"
#include "app/file_limit.hpp"
#include "app/tokens.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <thread>

namespace skein {
namespace {

/// What a message store has to say about itself.
void describe(const message_store& store, health_report& report) {
  const auto health = store.health();
  if (!health.available) {
    report.ready = false;
    report.reasons.push_back("the message store is not available: " + health.problem);
  }
  if (!health.moved_aside.empty())
    report.reasons.push_back(
        "the message store was damaged and began anew; the log says where the old one is");
}

}  // namespace

skein::manager& container::impl::build_manager() {
  handed_out = true;
  if (manager) return *manager;
  auto settings = options.manager;
  const auto room = app::connections_that_fit(
      settings.max_connections,
      settings.shards == 0 ? std::max(1U, std::thread::hardware_concurrency()) : settings.shards,
      options.server.max_handshakes);
  if (room < settings.max_connections) {
    log(log_level::warning, "max-connections is " + std::to_string(settings.max_connections) +
                                ", but the limit of open files leaves room for " + std::to_string(room) +
                                " connections; that is the limit now");
    settings.max_connections = room;
  }
  if (time) settings.time = time;
  // The manager may outlive this container, in the hands of a business module.
  if (!settings.on_problem)
    settings.on_problem = [level = options.log, to = sink](std::string_view line) {
      if (level <= log_level::warning && to) to(log_level::warning, app::one_line(line));
    };
  manager = make_manager(std::move(settings));
  return *manager;
}

const std::shared_ptr<token_authenticator>& container::impl::build_tokens() {
  auto& tokens = options.server.tokens;
  if (!tokens && options.tokens.any()) {
    tokens_are_ours = true;
    tokens = app::make_tokens(options.tokens, time, [level = options.log, to = sink](std::string_view line) {
      if (level <= log_level::warning && to) to(log_level::warning, app::one_line(line));
    });
  }
  return tokens;
}

skein::server& container::impl::build_server() {
  if (!server) {
    build_manager();
    auto settings = options.server;
    auto& messages = settings.clients.messages;
    if (options.message_burst != 0) messages = rate{messages.per_second(), options.message_burst};
    settings.tokens = build_tokens();
    if (!settings.on_refusal) {
      settings.on_refusal = [level = options.log, to = sink](std::string_view line) {
        if (level <= log_level::info && to) to(log_level::info, app::one_line(line));
      };
    }
    server = std::make_unique<skein::server>(manager, std::move(settings));
    if (store) server->add_health_check([from = store](health_report& report) { describe(*from, report); });
  }
  return *server;
}

skein::topics& container::impl::build_topics() {
  topics_handed_out = true;
  if (!topics) {
    build_manager();
    auto settings = options.topics;
    if (store) settings.durable_store = store;
    topics = make_topics(manager, std::move(settings));
  }
  return *topics;
}

skein::users& container::impl::build_users() {
  users_handed_out = true;
  if (!users) {
    build_manager();
    auto settings = options.users;
    if (store) settings.store = store;
    users = make_users(manager, std::move(settings));
  }
  return *users;
}

json_protocol& container::impl::build_protocol(protocol_options with) {
  build_topics();
  build_users();
  with.ping_interval = options.manager.limits.ping_interval;
  with.max_subscriptions = options.topics.max_subscriptions;
  with.max_message_bytes = options.manager.limits.max_message_bytes;
  if (!with.tokens) with.tokens = build_tokens();
  if (!with.authorize && options.rights == topic_rights::claims) with.authorize = authorize_by_claim();
  return protocol.emplace(topics, users, std::move(with));
}

container::container(config options) : impl_(std::make_unique<impl>(std::move(options))) {}
container::~container() = default;

container& container::use(std::shared_ptr<skein::manager> part) {
  impl_->require_unbuilt("a manager");
  impl_->manager = std::move(part);
  return *this;
}

container& container::use(std::shared_ptr<clock> part) {
  impl_->require_unbuilt("a clock");
  impl_->time = std::move(part);
  return *this;
}

container& container::use(std::shared_ptr<skein::topics> part) {
  if (impl_->topics_handed_out) throw std::logic_error("topics must be given before they are handed out");
  impl_->topics = std::move(part);
  return *this;
}

container& container::use(std::shared_ptr<skein::users> part) {
  if (impl_->users_handed_out) throw std::logic_error("users must be given before they are handed out");
  impl_->users = std::move(part);
  return *this;
}

container& container::use(std::shared_ptr<message_store> part) {
  if (impl_->topics_handed_out || impl_->users_handed_out || impl_->server)
    throw std::logic_error("a store must be given before topics, users and the server are handed out");
  impl_->store = std::move(part);
  return *this;
}

container& container::use_log(std::function<void(log_level, std::string_view)> sink) {
  impl_->require_unbuilt("a log");
  impl_->sink = std::move(sink);
  return *this;
}

const skein::config& container::options() const noexcept {
  return impl_->options;
}
skein::manager& container::manager() {
  return impl_->build_manager();
}
skein::server& container::server() {
  return impl_->build_server();
}
skein::topics& container::topics() {
  return impl_->build_topics();
}
skein::users& container::users() {
  return impl_->build_users();
}
json_protocol& container::protocol() {
  return impl_->protocol ? *impl_->protocol : impl_->build_protocol({});
}
json_protocol& container::protocol(protocol_options options) {
  if (impl_->protocol) throw std::logic_error("the protocol's options must be given before it is handed out");
  return impl_->build_protocol(std::move(options));
}
void container::log(log_level level, std::string_view line) const {
  impl_->log(level, line);
}
void container::spawn(asio::awaitable<void> task) {
  impl_->spawn(std::move(task));
}
int container::run() {
  return impl_->run();
}

void container::stop() {
  impl_->stop_requested = true;
  asio::post(*impl_->context, [state = impl_.get()] {
    if (state->running) state->begin_shutdown();
  });
}

}  // namespace skein
