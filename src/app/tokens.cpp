#include "app/tokens.hpp"

#include "app/log.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

namespace skein::app {
namespace {

constexpr std::size_t max_file_bytes = 1 << 20;

std::string read_file(const char* option, const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  std::string content;
  if (file) {
    content.resize(max_file_bytes + 1);
    file.read(content.data(), static_cast<std::streamsize>(content.size()));
    content.resize(static_cast<std::size_t>(file.gcount()));
  }
  const auto name = "'" + one_line(path, 200) + "'";
  // A directory can be opened, but not read.
  if (!file.is_open() || file.bad())
    throw configuration_error(std::string{option} + ": " + name + " cannot be read: " + std::strerror(errno));
  if (content.size() > max_file_bytes)
    throw configuration_error(std::string{option} + ": " + name + " is larger than 1 MiB");
  return content;
}

template <class Make>
auto checked(const char* option, const std::string& path, Make&& make) {
  try {
    return make();
  } catch (const jwt_key_error& error) {
    throw configuration_error(std::string{option} + ": '" + one_line(path, 200) +
                              "': " + std::string{to_string(error.fault())});
  }
}

/// What an editor or `echo` puts at the end of a file is no part of the secret.
void cut_line_end(std::string& text) {
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
}

}  // namespace

namespace {

/// `where` is empty if there are none.
bound_keys keys_of_jwks(const token_config& from) {
  if (from.jwks.empty()) return {};
  auto keys = parse_bound_keys(from.jwks);
  if (!keys) throw configuration_error("jwks: a file or a URL, and perhaps issuer=ISSUER behind it");
  return std::move(*keys);
}

/// A key for an issuer whose tokens are refused would be of no use, and a slip of the pen.
void require_known_issuer(const token_config& from, const std::string& issuer) {
  const auto& known = from.issuers;
  if (issuer.empty() || known.empty() || std::find(known.begin(), known.end(), issuer) != known.end()) return;
  throw configuration_error("a key is for issuer '" + one_line(issuer, 200) + "', which is no jwt-issuer");
}

}  // namespace

bool is_url(std::string_view text) noexcept {
  return text.find("://") != std::string_view::npos;
}

std::optional<bound_keys> parse_bound_keys(std::string_view text) {
  constexpr std::string_view word = " issuer=";
  bound_keys result;
  const auto found = text.rfind(word);
  result.where = text.substr(0, found);
  if (found != std::string_view::npos) {
    result.issuer = text.substr(found + word.size());
    if (result.issuer.empty()) return std::nullopt;
  }
  return result.where.empty() ? std::nullopt : std::optional{std::move(result)};
}

std::optional<key_file> parse_key_file(std::string_view given, bool secrets,
                                       std::optional<jwt_algorithm> otherwise) {
  const auto keys = parse_bound_keys(given);
  if (!keys) return std::nullopt;
  std::string_view text = keys->where;
  key_file result;
  result.issuer = keys->issuer;
  const auto colon = text.find(':');
  auto algorithm =
      colon == std::string_view::npos ? std::nullopt : parse_jwt_algorithm(text.substr(0, colon));
  if (algorithm) {
    text.remove_prefix(colon + 1);
  } else {
    algorithm = otherwise;
  }
  if (!algorithm || text.empty()) return std::nullopt;
  if (secrets != to_string(*algorithm).starts_with("HS")) return std::nullopt;
  result.algorithm = *algorithm;
  result.path = std::string{text};
  return result;
}

bool has_key_files(const token_config& from) {
  if (!from.secret_file.empty() || !from.key_files.empty()) return true;
  const auto set = keys_of_jwks(from);
  return !set.where.empty() && !is_url(set.where);
}

bool has_key_address(const token_config& from) {
  return is_url(keys_of_jwks(from).where);
}

std::vector<jwt_key> load_keys(const token_config& from,
                               const std::function<void(std::string_view)>& problem) {
  std::vector<jwt_key> keys;
  if (!from.secret_file.empty()) {
    constexpr auto option = "jwt-secret-file";
    const auto file = parse_key_file(from.secret_file, true, jwt_algorithm::hs256);
    if (!file) throw configuration_error("jwt-secret-file: [HS256:|HS384:|HS512:]FILE");
    auto secret = read_file(option, file->path);
    cut_line_end(secret);
    keys.push_back(checked(option, file->path, [&] {
      return jwt_key::from_secret(file->algorithm, secret).for_issuer(file->issuer);
    }));
  }
  for (const auto& text : from.key_files) {
    constexpr auto option = "jwt-key";
    const auto file = parse_key_file(text, false);
    if (!file) throw configuration_error("jwt-key: ALGORITHM:FILE");
    const auto pem = read_file(option, file->path);
    keys.push_back(checked(option, file->path,
                           [&] { return jwt_key::from_pem(file->algorithm, pem).for_issuer(file->issuer); }));
  }
  if (const auto file = keys_of_jwks(from); !file.where.empty() && !is_url(file.where)) {
    constexpr auto option = "jwks";
    const auto document = read_file(option, file.where);
    jwks_options how;
    how.issuer = file.issuer;
    auto set = checked(option, file.where, [&] { return parse_jwks(document, how); });
    for (const auto& skipped : set.skipped) {
      problem("key " + std::to_string(skipped.index) +
              " of the JWK set is not used: " + std::string{to_string(skipped.why)});
    }
    if (set.keys.empty())
      throw configuration_error("jwks: '" + one_line(file.where, 200) + "' has no key that can be used");
    std::move(set.keys.begin(), set.keys.end(), std::back_inserter(keys));
  }
  for (const auto& key : keys) require_known_issuer(from, key.issuer());
  return keys;
}

std::shared_ptr<token_authenticator> make_tokens(const token_config& from, std::shared_ptr<clock> time,
                                                 std::function<void(std::string_view)> problem) {
  token_options options;
  options.keys = load_keys(from, problem);
  if (const auto keys = keys_of_jwks(from); is_url(keys.where)) {
    require_known_issuer(from, keys.issuer);
    options.jwks.url = keys.where;
    options.jwks.format.issuer = keys.issuer;
    options.jwks.ca_file = from.jwks_ca_file;
  }
  options.jwt.issuers = from.issuers;
  options.jwt.audiences = from.audiences;
  options.jwt.clock_skew = from.clock_skew;
  options.jwt.one_time_capacity = from.one_time_capacity;
  options.jwt.require_not_before = from.require_not_before;
  options.user = from.user;
  options.grace = from.grace;
  options.places = from.places;
  options.time = std::move(time);
  options.on_problem = std::move(problem);
  return std::make_shared<token_authenticator>(std::move(options));
}

}  // namespace skein::app
