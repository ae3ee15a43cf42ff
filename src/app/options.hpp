#pragma once

// The one declaration of every option: flags, environment variables, the configuration file, `--help` and the
// reference page are all made from this table.

#include <skein/config.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace skein::app {

/// The whole numbers that an option may have, in nanoseconds, bytes or counts.
struct range {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  bool or_zero = false;  ///< zero is allowed too, though it is below `low`

  [[nodiscard]] bool contains(std::uint64_t value) const noexcept {
    return (value >= low && value <= high) || (or_zero && value == 0);
  }
};

struct option {
  std::string key;
  std::string environment;
  std::string type;     ///< as in `option_description`
  std::string allowed;  ///< completes the sentence "allowed: …"
  std::string hint;     ///< how the value is written, for a refusal; may be empty
  std::string help;
  std::string example{};    ///< a value other than the default, where no bound gives one
  bool repeatable = false;  ///< a flag may be given again; a list in the file, with commas in the environment
  range bounds{};           ///< of durations, bytes and counts
  /// Whether the value is allowed; if so it has been set. A list replaces the one before.
  std::function<bool(config&, const std::vector<std::string>&)> set;
  std::function<std::string(const config&)> show;
};

[[nodiscard]] const std::vector<option>& options();

/// An option of which the environment's name follows from the key, and which does nothing yet.
[[nodiscard]] option make_option(std::string key, std::string type, std::string allowed, std::string help);
/// Adds those that say who a client is, and how much it may.
void add_security_options(std::vector<option>& to);

/// The text of `--help`.
[[nodiscard]] std::string help_text();
/// The page docs/reference/configuration.md.
[[nodiscard]] std::string reference_page();

}  // namespace skein::app
