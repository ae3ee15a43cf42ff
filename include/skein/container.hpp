#pragma once

// The composition root: builds, owns and hands out the parts. Any part can be replaced before it is first
// asked for. A part is built when it is first asked for: ask before `run`, on the thread that will call it;
// what was handed out may be used as its own header says.

#include <skein/config.hpp>
#include <skein/manager.hpp>
#include <skein/message_store.hpp>
#include <skein/protocol.hpp>
#include <skein/server.hpp>
#include <skein/topics.hpp>
#include <skein/users.hpp>

#include <functional>
#include <memory>

namespace skein {

class container {
 public:
  explicit container(config options = {});
  ~container();
  container(const container&) = delete;
  container& operator=(const container&) = delete;

  /// Use this manager, for example a `testing::mock_manager`, or one embedded in a context of your own. The
  /// server needs one from `make_manager`. Throws `std::logic_error` once the manager has been handed out.
  container& use(std::shared_ptr<manager> part);
  /// Use these topics, or users, for example mocks. Throws `std::logic_error` once they have been handed out.
  container& use(std::shared_ptr<skein::topics> part);
  container& use(std::shared_ptr<skein::users> part);
  /// Keep stored messages and the histories of durable topics in here; `/readyz` tells how the store is.
  /// Throws `std::logic_error` once topics, users or the server have been handed out.
  container& use(std::shared_ptr<message_store> part);
  /// Use this clock. Throws `std::logic_error` once the manager has been handed out.
  container& use(std::shared_ptr<clock> part);
  /// Use this in place of the log on standard error. Throws `std::logic_error` once the manager has been
  /// handed out.
  container& use_log(std::function<void(log_level, std::string_view)> sink);

  [[nodiscard]] const skein::config& options() const noexcept;
  [[nodiscard]] skein::manager& manager();
  [[nodiscard]] skein::server& server();
  [[nodiscard]] skein::topics& topics();
  [[nodiscard]] skein::users& users();
  /// The JSON protocol over these topics and users; a route that runs it serves it: `protocol().handler()`.
  [[nodiscard]] json_protocol& protocol();
  /// As above; the options say nothing that the configuration does. Throws `std::logic_error` if it was
  /// handed out before.
  json_protocol& protocol(protocol_options options);
  void log(log_level level, std::string_view line) const;

  /// Spawns a coroutine of a business module on an executor of its own; its end is observed: an exception is
  /// logged and makes `run` stop and return 1. It is cancelled when the shutdown begins.
  void spawn(asio::awaitable<void> task);

  /// Starts the server, prints `listening on ADDRESS:PORT` to standard output, and runs until SIGINT, SIGTERM
  /// or `stop`; then drains. Returns the process's exit status: 0 after a clean shutdown, 3 if a connection
  /// had to be forced or a message was left undelivered, 1 if the server could not start or a task failed. A
  /// second signal ends at once. SIGHUP loads the server's certificates again, and the keys of tokens that
  /// are configured in files; what is wrong with any of them is logged, and then they stay as they were.
  int run();

  /// Ends `run`. Legal from any thread and before `run`.
  void stop();

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace skein
