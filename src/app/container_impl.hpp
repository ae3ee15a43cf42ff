#pragma once

// A container from the inside: what it builds (container.cpp), and how it runs and ends (container_run.cpp).

#include "app/log.hpp"

#include <skein/container.hpp>

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <list>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

namespace skein {
namespace app {

struct task {
  explicit task(asio::io_context& context) : executor(asio::make_strand(context)) {}
  asio::strand<asio::io_context::executor_type> executor;
  asio::cancellation_signal signal;
};

}  // namespace app

// Tasks, signals and the shutdown run on `context`, in the thread that calls `run`.
struct container::impl {
  explicit impl(skein::config given) : options(std::move(given)), sink(app::standard_error_log()) {}

  ~impl();

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
  void task_ended(std::list<std::shared_ptr<app::task>>::iterator which, const std::exception_ptr& error);
  bool start();
  int run();
  void await_signal();
  void await_hangup();
  void reload();
  void reload(const std::string& what, const std::function<void()>& how);
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
  bool tokens_are_ours = false;  // made from the configuration
  bool topics_handed_out = false;
  bool users_handed_out = false;

  std::mutex mutex;  // of accepts_tasks and tasks
  bool accepts_tasks = true;
  std::list<std::shared_ptr<app::task>> tasks;

  std::unique_ptr<asio::io_context> context = std::make_unique<asio::io_context>(1);
  std::unique_ptr<asio::signal_set> signals;
  std::unique_ptr<asio::signal_set> hangups;
  std::unique_ptr<asio::steady_timer> last_call;
  std::atomic<bool> stop_requested{false};
  bool running = false, shutting_down = false, is_drained = false;
  int status = 0;
};

}  // namespace skein
