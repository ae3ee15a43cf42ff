// How a container runs: tasks, signals, and the shutdown.

#include "app/container_impl.hpp"
#include "app/statistics.hpp"
#include "app/tokens.hpp"
#include "connection/deadline_queue.hpp"
#include "hub/hub.hpp"

#include <skein/error.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>

#include <csignal>

#include <cstdio>
#include <cstdlib>

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

}  // namespace

container::impl::~impl() {
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

void container::impl::spawn(asio::awaitable<void> body) {
  const std::lock_guard lock{mutex};
  if (!accepts_tasks) return;
  auto state = std::make_shared<app::task>(*context);
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

void container::impl::task_ended(std::list<std::shared_ptr<app::task>>::iterator which,
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
    build_server();
    app::add_statistics(*server, topics, users, store, protocol ? &*protocol : nullptr);
    server->start();
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
  const bool known = options.server.tokens || options.tokens.any();
  if (known && !options.server.require_authentication) {
    log(log_level::warning,
        "require-auth is off: who brings no token is let in as well, unless a route says otherwise");
  }
  if (options.rights == topic_rights::claims && !known && options.server.tls.client_ca_file.empty()) {
    log(log_level::warning, "topic-rights is claims, but nobody has any: there are no tokens");
  }
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
  const bool certificates = !options.server.tls.certificate_files.empty();
  const bool keys = tokens_are_ours && app::has_key_files(options.tokens);
  const bool fetched_keys = tokens_are_ours && app::has_key_address(options.tokens);
  if (!certificates && !keys && !fetched_keys)
    log(log_level::info, "SIGHUP: there are neither certificates nor keys to load");
  // None depends on the others.
  if (certificates) {
    reload("the certificates", [this] { server->reload_certificates(); });
  }
  if (keys) {
    reload("the keys of tokens", [this] {
      options.server.tokens->replace_keys(
          app::load_keys(options.tokens, [this](std::string_view line) { log(log_level::warning, line); }));
    });
  }
  if (fetched_keys) {
    server->reload_keys([this](bool there) {
      if (there) {
        log(log_level::info, "SIGHUP: the JWK set has been fetched again");
      } else {
        log(log_level::error, "SIGHUP: the keys of the JWK set stay as they were: it could not be fetched");
      }
    });
  }
}

void container::impl::reload(const std::string& what, const std::function<void()>& how) {
  try {
    how();
    log(log_level::info, "SIGHUP: " + what + " have been loaded again");
  } catch (const std::exception& e) {
    log(log_level::error, "SIGHUP: " + what + " stay as they were: " + e.what());
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

}  // namespace skein
