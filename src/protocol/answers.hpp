#pragma once

// What the JSON protocol says to a client.

#include <skein/message.hpp>
#include <skein/message_store.hpp>
#include <skein/protocol.hpp>
#include <skein/topics.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace skein::detail {

namespace json = boost::json;

// Each carries the id of its request, if that has one.

[[nodiscard]] prepared_message answer(const json::value* id, json::object fields);
// Lists in braces stay out of await expressions, where g++ 12 does not look after them.
[[nodiscard]] prepared_message simple_answer(const json::value* id, std::string_view type,
                                             std::string_view channel = {});
[[nodiscard]] prepared_message error_answer(const json::value* id, std::string_view code,
                                            std::string_view text, std::string_view field = {},
                                            std::chrono::milliseconds retry_after = {});
[[nodiscard]] prepared_message history_answer(const json::value* id, const std::string& channel,
                                              const history_page& page, std::optional<bool> recovered);
[[nodiscard]] prepared_message presence_answer(const json::value* id, const std::string& channel,
                                               const presence_report& report);

/// The server's first words.
[[nodiscard]] prepared_message welcome_message(const connection& client, const protocol_options& options,
                                               std::optional<std::chrono::milliseconds> token_left);
[[nodiscard]] prepared_message refreshed_message(const json::value* id,
                                                 std::optional<std::chrono::milliseconds> token_left);
/// Of a subscription that the server ended.
[[nodiscard]] prepared_message subscription_ended(const std::string& channel, std::string_view code);

/// The fields of an answer about a channel.
[[nodiscard]] json::object opening(std::string_view type, std::string_view channel);
/// Adds `epoch` and `offset`, if there is a position.
void add_position(json::object& to, const topic_position& at);

}  // namespace skein::detail
