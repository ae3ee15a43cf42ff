#include "app/file_limit.hpp"
#include "app/log.hpp"
#include "app/tokens.hpp"
#include "hub/hub.hpp"

#include <skein/container.hpp>
#include <skein/error.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/system/system_error.hpp>

#include <csignal>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

namespace skein {
namespace {

using detail::what_of;

enum exit_status { clean = 0, failed = 1, forced = 3 };

// Whether a task ended because it was cancelled.
bool is_cancellation(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const boost::system::system_error& e) {
    return e.code() == asio::error::operation_aborted;
  } catch (...) {
    return false;
  }
}

/// What a message store has to say about itself.
void describe(const message_store& store, health_report& report) {
  const auto health = store.health();
  if (!health.available) {
    report.ready = false;
    report.reasons.push_back("the message store is not available: " + health.problem);
  }
  if (!health.moved_aside.empty())
    report.reasons.push_back("the message store was damaged, began anew, and is now " + health.moved_aside);
}

struct task {
  explicit task(asio::io_context& context) : executor(asio::make_strand(context)) {}
  asio::strand<asio::io_context::executor_type> executor;
  asio::cancellation_signal signal;
};

}  // namespace

// Tasks, signals and the shutdown run on `context`, in the thread that calls `run`.
struct container::impl {
  explicit impl(skein::config given) : options(std::move(given)), sink(app::standard_error_log()) {}

  ~impl() {
    // Nothing new comes in. The manager's threads end before the tasks' context goes, which they may be about
    // to resume a task on; the manager itself goes last, because the tasks may hold a reference to it.
    server.reset();
    if (manager.use_count() == 1 || shutting_down) {
      if (auto* const own = dynamic_cast<detail::hub*>(manager.get())) own->shut_down();
    }
    {
      const std::lock_guard lock{mutex};
      accepts_tasks = false;
      tasks.clear();
    }
    signals.reset();
    hangups.reset();
    last_call.reset();
    context.reset();
  }

  void log(log_level level, std::string_view line) const {
    if (level < options.log || level == log_level::off || !sink) return;
    sink(level, app::one_line(line));
  }

  void require_unbuilt(const char* what) const {
    if (handed_out)
      throw std::logic_error(std::string{what} + " must be given before the manager is handed out");
  }

  skein::manager& build_manager();
  skein::server& build_server();
  skein::topics& build_topics();
  skein::users& build_users();
  const std::shared_ptr<token_authenticator>& build_tokens();
  json_protocol& build_protocol(protocol_options with);
  void spawn(asio::awaitable<void> body);
  void task_ended(std::list<std::shared_ptr<task>>::iterator which, const std::exception_ptr& error);
  bool start();
  int run();
  void await_signal();
  void await_hangup();
  void reload();
  void begin_shutdown();
  void drained(const std::exception_ptr& error, const drain_report& report);
  void finish_if_done();

  skein::config options;
  std::function<void(log_level, std::string_view)> sink;
  std::shared_ptr<skein::clock> time;
  std::shared_ptr<skein::manager> manager;
  std::unique_ptr<skein::server> server;
  std::shared_ptr<skein::topics> topics;
  std::shared_ptr<skein::users> users;
  std::shared_ptr<message_store> store;
  std::optional<json_protocol> protocol;
  bool handed_out = false;
  bool topics_handed_out = false;
  bool users_handed_out = false;

  std::mutex mutex;  // of accepts_tasks and tasks
  bool accepts_tasks = true;
  std::list<std::shared_ptr<task>> tasks;

  std::unique_ptr<asio::io_context> context = std::make_unique<asio::io_context>(1);
  std::unique_ptr<asio::signal_set> signals;
  std::unique_ptr<asio::signal_set> hangups;
  std::unique_ptr<asio::steady_timer> last_call;
  std::atomic<bool> stop_requested{false};
  bool running = false, shutting_down = false, is_drained = false;
  int status = clean;
};

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
  with.max_message_bytes = options.manager.limits.max_message_bytes;
  if (!with.tokens) with.tokens = build_tokens();
  return protocol.emplace(topics, users, std::move(with));
}

void container::impl::spawn(asio::awaitable<void> body) {
  const std::lock_guard lock{mutex};
  if (!accepts_tasks) return;
  auto state = std::make_shared<task>(*context);
  const auto place = tasks.insert(tasks.end(), state);
  auto ended = [this, state, place](const std::exception_ptr& error) {
    // The list belongs to the thread of `run`, not to the task's strand.
    asio::post(*context, [this, place, error] { task_ended(place, error); });
  };
  // Not from here: the task might run at once, and spawn another one while the mutex is held.
  asio::post(state->executor, [state, body = std::move(body), ended = std::move(ended)]() mutable {
    asio::co_spawn(state->executor, std::move(body),
                   asio::bind_cancellation_slot(state->signal.slot(), std::move(ended)));
  });
}

void container::impl::task_ended(std::list<std::shared_ptr<task>>::iterator which,
                                 const std::exception_ptr& error) {
  {
    const std::lock_guard lock{mutex};
    tasks.erase(which);
  }
  if (error && !(shutting_down && is_cancellation(error))) {
    log(log_level::error, "a task failed: " + what_of(error));
    status = failed;
    begin_shutdown();
  }
  finish_if_done();
}

bool container::impl::start() {
  const auto& address = options.server.address;
  const std::string host = address.find(':') == std::string::npos ? address : "[" + address + "]";
  try {
    build_server().start();
  } catch (const boost::system::system_error& e) {
    log(log_level::error,
        "cannot listen on " + host + ":" + std::to_string(options.server.port) + ": " + e.code().message());
    return false;
  } catch (const std::exception& e) {
    log(log_level::error, std::string{"the server cannot start: "} + e.what());
    return false;
  }
  std::printf("listening on %s:%u\n", host.c_str(), static_cast<unsigned>(server->port()));
  std::fflush(stdout);
  return true;
}

int container::impl::run() {
  for (const auto& line : options.warnings) log(log_level::warning, line);
  // Before the server starts: a signal that comes while it does is not lost.
  signals = std::make_unique<asio::signal_set>(*context, SIGINT, SIGTERM);
  hangups = std::make_unique<asio::signal_set>(*context, SIGHUP);
  if (!start()) {
    signals.reset();
    hangups.reset();
    return failed;
  }
  running = true;
  await_signal();
  await_hangup();
  if (stop_requested) begin_shutdown();
  context->run();
  signals.reset();
  hangups.reset();
  return status;
}

void container::impl::await_signal() {
  signals->async_wait([this](const error_code& error, int number) {
    if (error) return;
    if (shutting_down) {
      log(log_level::warning, "a second signal: ending at once");
      std::_Exit(128 + number);
    }
    log(log_level::info, number == SIGINT ? "SIGINT: shutting down" : "SIGTERM: shutting down");
    begin_shutdown();
    await_signal();
  });
}

void container::impl::await_hangup() {
  hangups->async_wait([this](const error_code& error, int) {
    if (error) return;
    reload();
    await_hangup();
  });
}

void container::impl::reload() {
  if (options.server.tls.certificate_files.empty()) {
    log(log_level::info, "SIGHUP: there are no certificates to load");
    return;
  }
  try {
    server->reload_certificates();
    log(log_level::info, "SIGHUP: the certificates have been loaded again");
  } catch (const std::exception& e) {
    log(log_level::error, std::string{"SIGHUP: the certificates stay as they were: "} + e.what());
  }
}

void container::impl::begin_shutdown() {
  if (std::exchange(shutting_down, true)) return;
  {
    const std::lock_guard lock{mutex};
    accepts_tasks = false;
    // A task is cancelled where it runs.
    for (const auto& each : tasks)
      asio::post(each->executor, [each] { each->signal.emit(asio::cancellation_type::terminal); });
  }
  server->stop();
  asio::co_spawn(
      *context, manager->drain(options.shutdown_timeout),
      [this](const std::exception_ptr& error, const drain_report& report) { drained(error, report); });
  last_call = std::make_unique<asio::steady_timer>(*context);
  last_call->expires_at(detail::deadline_after(std::chrono::steady_clock::now() + std::chrono::seconds{2},
                                               options.shutdown_timeout));
  last_call->async_wait([this](const error_code& cancelled) {
    if (cancelled) return;
    const std::lock_guard lock{mutex};
    log(log_level::error, std::to_string(tasks.size()) + " tasks did not end when they were cancelled");
    if (status == clean) status = forced;
    context->stop();
  });
}

void container::impl::drained(const std::exception_ptr& error, const drain_report& report) {
  is_drained = true;
  if (error) {
    log(log_level::error, "the shutdown failed: " + what_of(error));
    status = failed;
  } else {
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(report.elapsed).count();
    log(log_level::info, "shut down in " + std::to_string(took) + " ms: " + std::to_string(report.clean) +
                             " connections closed cleanly, " + std::to_string(report.forced) + " forced, " +
                             std::to_string(report.undelivered) + " messages undelivered");
    if (status == clean && (report.forced != 0 || report.undelivered != 0)) status = forced;
  }
  finish_if_done();
}

void container::impl::finish_if_done() {
  const std::lock_guard lock{mutex};
  if (is_drained && tasks.empty()) context->stop();
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
