#pragma once

// Every option of the server, from one declaration: each has a key in the configuration file (TOML), a flag
// of the same name, and an environment variable. Flags win over the environment, the environment over the
// file, the file over the defaults. A value that is not allowed is refused with the option's name, the value,
// and what is allowed: nothing is silently corrected.

#include <skein/manager.hpp>
#include <skein/server.hpp>
#include <skein/topics.hpp>
#include <skein/users.hpp>

#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace skein {

/// What `load` throws; `what()` names the option, the value and what is allowed.
struct configuration_error : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// What `load` throws for `--help` and `--version`: `what()` is the text to print, the exit status 0.
struct help_requested : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class log_level : std::uint8_t { debug, info, warning, error, off };

/// Who may do what with topics, where the program does not say (`protocol_options::authorize`).
enum class topic_rights : std::uint8_t {
  rules,   ///< everybody what the topics' rules allow
  claims,  ///< each user what its claim `topics` allows (`authorize_by_claim`)
};

/// One row of the options' table.
struct option_description {
  std::string key;  ///< also the flag, without its dashes
  std::string environment;
  std::string type;  ///< "duration", "bytes", "count", "text", "switch"
  std::string default_value;
  std::string allowed;
  std::string help;
};

/// Where the container takes `server_options::tokens` from, if that is empty.
struct token_config {
  // Each of the first three may end in ` issuer=ISSUER`: then its keys are good for tokens of that `iss`
  // alone.
  std::string secret_file;  ///< `[ALGORITHM:]FILE`, HS256 if it does not say; one line end is no part
  std::vector<std::string> key_files;  ///< `ALGORITHM:FILE`, in PEM
  std::string jwks;                    ///< a URL, or a file
  std::string jwks_ca_file;            ///< empty: the system's certificates
  std::vector<std::string> issuers;
  std::vector<std::string> audiences;
  token_user user = token_user::subject;
  token_places places;
  std::chrono::seconds clock_skew{30};
  std::chrono::seconds grace{25};
  std::size_t one_time_capacity = 0;
  bool require_not_before = false;

  [[nodiscard]] bool any() const noexcept {
    return !secret_file.empty() || !key_files.empty() || !jwks.empty();
  }
};

struct config {
  server_options server;
  token_config tokens;
  std::uint32_t message_burst = 0;  ///< in the place of the burst of `server.clients.messages`; 0: that one
  manager_options manager;
  topics_options topics;
  users_options users;
  topic_rights rights = topic_rights::rules;  ///< of `container::protocol`
  /// The path of the database for durable topics and stored messages; empty: none. `skein-server` opens it; a
  /// program of your own does, and gives the store to its container.
  std::string store;
  std::chrono::nanoseconds shutdown_timeout = std::chrono::seconds{30};  ///< of the drain; not zero
  log_level log = log_level::info;
  bool bench_routes = false;  ///< adds /echo, /broadcast, /broadcast-awaited, /publish, /crowd
  bool examples = true;       ///< of skein-server: the three example modules behind /ws
  /// What is odd in what was loaded, but harmless: a `WEBSOCKET_` variable that is not an option. The
  /// container logs it.
  std::vector<std::string> warnings;

  /// From the environment alone. Throws `configuration_error`.
  [[nodiscard]] static config from_environment();
  /// From flags, the environment and the file that `--config` names. Throws `configuration_error` or
  /// `help_requested`.
  [[nodiscard]] static config load(int argc, const char* const* argv);
  /// The options' table, in the order of `--help`.
  [[nodiscard]] static std::vector<option_description> options();
};

}  // namespace skein
