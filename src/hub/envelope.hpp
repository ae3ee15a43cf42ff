#pragma once

// What those who speak the JSON protocol receive: the publisher's own object with what names the publication
// added, or an envelope around anything else (docs/reference/protocol.md).

#include <skein/message.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace skein::detail {

/// What is added. Empty or 0: it is not.
struct envelope_label {
  std::string_view channel;
  std::string_view epoch;    ///< with `offset`
  std::uint64_t offset = 0;  ///< of a topic's history
  std::uint64_t stored = 0;  ///< of a user's message that waits to be acknowledged
};

/// A message as it goes out under this label. Without anything to add an object stays as it is.
[[nodiscard]] prepared_message enveloped(const prepared_message& what, const envelope_label& label);

/// Adds a JSON string that means this text.
void append_json_string(std::string& to, std::string_view text);

/// The value of a field of a JSON object, as text: of a string what it means, of a number, true or false the
/// way it is written. Empty if there is no such field, or it is of another kind, or the payload is no object.
[[nodiscard]] std::string field_of(std::string_view json, std::string_view name);

}  // namespace skein::detail
