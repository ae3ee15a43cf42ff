// Where the values of the options come from: flags, the environment, a file.

#include "app/log.hpp"
#include "app/options.hpp"

#include <skein/config.hpp>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

namespace skein {
namespace {

using app::option;

/// What one source says about one option.
struct given {
  std::string source;
  std::vector<std::string> values;
};
using values_by_key = std::map<std::string, given, std::less<>>;

std::string in_quotes(std::string_view value) {
  return "'" + app::one_line(value, 100) + "'";
}

void take_over(config& into, const values_by_key& values) {
  for (const option& what : app::options()) {
    const auto found = values.find(what.key);
    if (found == values.end()) continue;
    const auto& [source, texts] = found->second;
    const std::string prefix = what.key + ", from " + source + ": ";
    const auto refuse = [&](std::string_view text) {
      throw configuration_error(prefix + in_quotes(text) + " is not allowed; allowed: " + what.allowed +
                                what.hint);
    };
    if (texts.empty()) refuse({});  // it would switch off what another source has switched on
    if (!what.repeatable && texts.size() != 1) throw configuration_error(prefix + "given more than once");
    if (what.set(into, texts)) continue;
    config scratch;
    const auto wrong =
        std::ranges::find_if(texts, [&](const std::string& text) { return !what.set(scratch, {text}); });
    refuse(wrong == texts.end() ? texts.front() : *wrong);
  }
}

/// An option that says something needs what is not there.
void require_default(const config& loaded, std::string_view key, std::string_view without) {
  const auto what = std::ranges::find(app::options(), key, &option::key);
  const auto value = what->show(loaded);
  if (value == what->show(config{})) return;
  throw configuration_error(what->key + ": " + in_quotes(value) + " is of no use without " +
                            std::string{without});
}

/// What one option asks of another.
void require_agreement(const config& loaded) {
  const auto& tls = loaded.server.tls;
  if (tls.certificate_files.size() != tls.key_files.size())
    throw configuration_error("tls-key: " + std::to_string(tls.key_files.size()) +
                              " given; allowed: as many as tls-certificate, of which there are " +
                              std::to_string(tls.certificate_files.size()));
  if (tls.certificate_files.empty()) require_default(loaded, "tls-client-ca", "a tls-certificate");
  if (!loaded.tokens.any()) {
    for (const auto key : {"jwt-issuer", "jwt-audience", "jwt-require-nbf", "jwt-one-time", "token-cookie",
                           "token-query", "token-first-message"})
      require_default(loaded, key, "keys: jwt-key, jwt-secret-file or jwks");
  }
  if (loaded.server.clients.messages.is_off()) require_default(loaded, "message-burst", "a message-rate");
  if (loaded.server.proxies.trusted.empty()) require_default(loaded, "forwarded-header", "a trusted-proxy");
}

/// Warns of what is allowed, and seldom meant.
void warn_of_doors(config& loaded) {
  const auto& trusted = loaded.server.proxies.trusted;
  for (const auto& network : trusted) {
    if (network.ends_with("/0"))
      loaded.warnings.push_back("trusted-proxy " + network +
                                ": every client is believed when it says where it comes from");
  }
  const auto& allowed = loaded.server.origin.allowed;
  if (!loaded.tokens.places.cookie.empty() &&
      std::ranges::all_of(allowed, [](const std::string& one) { return one == "*"; }))
    loaded.warnings.push_back("token-cookie: no cookie is accepted, because no allowed-origin is named");
  if (loaded.tokens.issuers.size() > 1 && loaded.tokens.user == token_user::subject)
    loaded.warnings.push_back(
        "jwt-user is sub, with several issuers: what one of them calls alice is the other's alice");
}

config checked(config loaded) {
  require_agreement(loaded);
  warn_of_doors(loaded);
  return loaded;
}

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    auto part = list.substr(0, comma);
    part.remove_prefix(std::min(part.find_first_not_of(' '), part.size()));
    part = part.substr(0, part.find_last_not_of(' ') + 1);
    parts.emplace_back(part);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return parts;
}

values_by_key read_environment(std::vector<std::string>& warnings) {
  static constexpr std::string_view prefix = "WEBSOCKET_";
  values_by_key result;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string_view text{*variable};
    if (!text.starts_with(prefix)) continue;
    const auto equals = std::min(text.find('='), text.size());
    const auto name = text.substr(0, equals);
    const auto value = text.substr(std::min(equals + 1, text.size()));
    const auto what = std::ranges::find(app::options(), name, &option::environment);
    if (what == app::options().end()) {
      warnings.push_back("the variable " + app::one_line(name, 100) + " is not an option and has no effect");
      continue;
    }
    auto values = what->repeatable ? split(value) : std::vector<std::string>{std::string{value}};
    result.insert_or_assign(what->key, given{"the variable " + std::string{name}, std::move(values)});
  }
  std::ranges::sort(warnings);
  return result;
}

values_by_key read_file(const std::string& path) {
  const std::string name = app::one_line(path, 200);
  std::ifstream file{path};
  // A directory can be opened, but not read.
  if (!file || (file.peek(), file.bad()))
    throw configuration_error("config, from the flag --config: '" + name +
                              "' cannot be read: " + std::strerror(errno));
  std::vector<CLI::ConfigItem> items;
  try {
    items = CLI::ConfigTOML{}.from_config(file);
  } catch (const std::exception& e) {
    throw configuration_error("'" + name + "' cannot be understood: " + app::one_line(e.what(), 200));
  }
  values_by_key result;
  for (auto& item : items) {
    // How CLI11 says that a section begins; a key of that name has no parents.
    if (item.name == "++" && !item.parents.empty())
      throw configuration_error("[" + app::one_line(item.parents.back(), 100) + "] in " + name +
                                ": there are no sections, every key stands at the top");
    const std::string key = item.fullname();
    const auto what = std::ranges::find(app::options(), key, &option::key);
    if (what == app::options().end())
      throw configuration_error(in_quotes(key) + " in " + name + " is not an option; --help lists them all");
    const auto [place, first] =
        result.try_emplace(what->key, given{"the key " + key + " in " + name, item.inputs});
    if (!first)
      throw configuration_error(what->key + ", from " + place->second.source + ": given more than once");
  }
  return result;
}

struct flags {
  values_by_key values;
  std::string file;
};

flags read_flags(int argc, const char* const* argv) {
  CLI::App parser;
  parser.set_help_flag();
  parser.allow_extras();
  std::map<std::string, CLI::Option*, std::less<>> declared;
  for (const option& what : app::options()) {
    const std::string flag = "--" + what.key;
    CLI::Option* added = what.type == "switch" ? parser.add_flag(flag) : parser.add_option(flag);
    declared[what.key] = added->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  const auto* help = parser.add_flag("--help");
  const auto* version = parser.add_flag("--version");
  const auto* reference = parser.add_flag("--print-options-markdown");
  const auto* file = parser.add_option("--config");
  try {
    parser.parse(argc, argv);
  } catch (const CLI::ArgumentMismatch& e) {
    const std::string_view text{e.what()};
    throw configuration_error(app::one_line(text.substr(0, text.find(':')), 200) + ": its value is missing");
  } catch (const CLI::ParseError& e) {
    throw configuration_error(app::one_line(e.what(), 200));
  }
  if (help->count() > 0) throw help_requested(app::help_text());
  if (version->count() > 0) throw help_requested("skein " SKEIN_VERSION "\n");
  if (reference->count() > 0) throw help_requested(app::reference_page());
  if (const auto extra = parser.remaining(); !extra.empty())
    throw configuration_error(in_quotes(extra.front()) + " is not an option; --help lists them all");

  flags result;
  if (file->count() > 0) result.file = file->results().back();
  for (const auto& [key, flag] : declared)
    if (flag->count() > 0) result.values.emplace(key, given{"the flag --" + key, flag->results()});
  return result;
}

}  // namespace

config config::from_environment() {
  config result;
  take_over(result, read_environment(result.warnings));
  return checked(std::move(result));
}

config config::load(int argc, const char* const* argv) {
  const auto from_flags = read_flags(argc, argv);
  config result;
  if (!from_flags.file.empty()) take_over(result, read_file(from_flags.file));
  take_over(result, read_environment(result.warnings));
  take_over(result, from_flags.values);
  return checked(std::move(result));
}

std::vector<option_description> config::options() {
  const config defaults;
  std::vector<option_description> result;
  for (const option& what : app::options())
    result.push_back({what.key, what.environment, what.type, what.show(defaults), what.allowed, what.help});
  return result;
}

}  // namespace skein
