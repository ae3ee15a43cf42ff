#pragma once

// Tokens as they are configured: the keys are read from their files here.

#include <skein/config.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skein::app {

/// Where keys are, and for whom they may sign; empty: for any.
struct bound_keys {
  std::string where, issuer;
};

/// Reads `WHERE` and `WHERE issuer=ISSUER`; nothing if either is empty.
[[nodiscard]] std::optional<bound_keys> parse_bound_keys(std::string_view text);

/// A key's algorithm and its file.
struct key_file {
  jwt_algorithm algorithm{};
  std::string path;
  std::string issuer;  ///< empty: any
};

/// Reads `ALGORITHM:FILE` and `ALGORITHM:FILE issuer=ISSUER`; `otherwise`, if given, is the algorithm where
/// none is named. Nothing if the algorithm is none for such keys, or the file's name is empty. `secrets`: the
/// algorithm is of HMAC.
[[nodiscard]] std::optional<key_file> parse_key_file(std::string_view text, bool secrets,
                                                     std::optional<jwt_algorithm> otherwise = std::nullopt);

[[nodiscard]] bool is_url(std::string_view text) noexcept;

/// Whether there are keys that are read from files.
[[nodiscard]] bool has_key_files(const token_config& from);
/// Whether there are keys that are fetched.
[[nodiscard]] bool has_key_address(const token_config& from);

/// The keys of the files. Throws `configuration_error` naming the option and what is wrong with its file;
/// nothing of what is in a file is in the text. `problem` is told which keys of a set are not used.
[[nodiscard]] std::vector<jwt_key> load_keys(const token_config& from,
                                             const std::function<void(std::string_view)>& problem);

/// With the keys of the files, and the address of others. Throws as `load_keys`.
[[nodiscard]] std::shared_ptr<token_authenticator> make_tokens(const token_config& from,
                                                               std::shared_ptr<clock> time,
                                                               std::function<void(std::string_view)> problem);

}  // namespace skein::app
