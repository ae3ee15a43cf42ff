#pragma once

// What a request must look like beyond what the parser of HTTP asks for: plain functions of its text.

#include <skein/handshake.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace skein::detail {

/// A request line may name the whole URI (RFC 9112 section 3.2.2); routes know paths. Nothing for what is
/// neither.
[[nodiscard]] std::optional<std::string> origin_form(std::string_view target);

/// Whether a Host field may say this (RFC 9110 section 7.2, RFC 3986 section 3.2.2); whose it is, is not
/// asked.
[[nodiscard]] bool is_host(std::string_view value) noexcept;

/// Whether the last coding is chunked (RFC 9112 section 6.3): else nobody knows where the content ends.
[[nodiscard]] bool ends_chunked(const request& what);

/// Whether a request that could be parsed announces content (RFC 9112 section 6).
[[nodiscard]] bool has_content(const request& what);

}  // namespace skein::detail
