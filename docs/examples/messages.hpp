#pragma once

// What the example modules share: fields of requests, JSON messages, and whose topic is whose.

#include <skein/message.hpp>
#include <skein/protocol.hpp>

#include <boost/json/object.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace skein::examples {

namespace json = boost::json;

/// A field of a request. Throws `request_error` if it is missing, of another type, or not within the limits.
[[nodiscard]] std::string text_field(const json::object& request, std::string_view name,
                                     std::size_t max_bytes = 64);
[[nodiscard]] std::int64_t number_field(const json::object& request, std::string_view name,
                                        std::int64_t least, std::int64_t most);

/// A text message, encoded once however many connections it is sent to.
[[nodiscard]] prepared_message json_message(const json::object& what);

/// The topic `orders.USER`. A user's name may hold anything and a topic's token may not: all but letters,
/// digits and hyphens are written as `_` and two hexadecimal digits.
[[nodiscard]] std::string orders_topic(std::string_view user);

}  // namespace skein::examples
