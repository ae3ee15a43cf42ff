#include "app/tokens.hpp"

#include "app/log.hpp"

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

bool is_url(std::string_view text) noexcept {
  return text.find("://") != std::string_view::npos;
}

std::optional<key_file> parse_key_file(std::string_view text, bool secrets,
                                       std::optional<jwt_algorithm> otherwise) {
  key_file result;
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

std::vector<jwt_key> load_keys(const token_config& from,
                               const std::function<void(std::string_view)>& problem) {
  std::vector<jwt_key> keys;
  if (!from.secret_file.empty()) {
    constexpr auto option = "jwt-secret-file";
    const auto file = parse_key_file(from.secret_file, true, jwt_algorithm::hs256);
    if (!file) throw configuration_error("jwt-secret-file: [HS256:|HS384:|HS512:]FILE");
    auto secret = read_file(option, file->path);
    cut_line_end(secret);
    keys.push_back(checked(option, file->path, [&] { return jwt_key::from_secret(file->algorithm, secret); }));
  }
  for (const auto& text : from.key_files) {
    constexpr auto option = "jwt-key";
    const auto file = parse_key_file(text, false);
    if (!file) throw configuration_error("jwt-key: ALGORITHM:FILE");
    const auto pem = read_file(option, file->path);
    keys.push_back(checked(option, file->path, [&] { return jwt_key::from_pem(file->algorithm, pem); }));
  }
  if (!from.jwks.empty() && !is_url(from.jwks)) {
    constexpr auto option = "jwks";
    const auto document = read_file(option, from.jwks);
    auto set = checked(option, from.jwks, [&] { return parse_jwks(document); });
    for (const auto& skipped : set.skipped) {
      problem("key " + std::to_string(skipped.index) +
              " of the JWK set is not used: " + std::string{to_string(skipped.why)});
    }
    if (set.keys.empty())
      throw configuration_error("jwks: '" + one_line(from.jwks, 200) + "' has no key that can be used");
    std::move(set.keys.begin(), set.keys.end(), std::back_inserter(keys));
  }
  return keys;
}

std::shared_ptr<token_authenticator> make_tokens(const token_config& from, std::shared_ptr<clock> time,
                                                 std::function<void(std::string_view)> problem) {
  token_options options;
  options.keys = load_keys(from, problem);
  if (is_url(from.jwks)) {
    options.jwks.url = from.jwks;
    options.jwks.ca_file = from.jwks_ca_file;
  }
  options.jwt.issuers = from.issuers;
  options.jwt.audiences = from.audiences;
  options.places = from.places;
  options.time = std::move(time);
  options.on_problem = std::move(problem);
  return std::make_shared<token_authenticator>(std::move(options));
}

}  // namespace skein::app
