#pragma once

// What the example modules share: JSON in, JSON out, and the one way to refuse a request.

#include <skein/message.hpp>

#include <boost/json/object.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace skein::examples {

namespace json = boost::json;

/// Thrown by whoever cannot do what a client asked; the gateway answers with an error message.
struct bad_request : std::runtime_error {
  bad_request(std::string_view error_code, const std::string& text)
      : std::runtime_error(text), code(error_code) {}
  std::string code;
};

/// Parses a request: a JSON object of limited depth. Throws `bad_request`.
[[nodiscard]] json::object parse_request(const message& what);

/// A field of a request. Throws `bad_request` if it is missing, of another type, or not within the limits.
[[nodiscard]] std::string text_field(const json::object& request, std::string_view name,
                                     std::size_t max_bytes = 64);
[[nodiscard]] std::int64_t number_field(const json::object& request, std::string_view name,
                                        std::int64_t least, std::int64_t most);

/// A text message, encoded once however many connections it is sent to.
[[nodiscard]] prepared_message json_message(const json::object& what);

}  // namespace skein::examples
