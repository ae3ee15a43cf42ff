#pragma once

// The client's half of permessage-deflate (RFC 7692), on zlib alone, with every setting that a peer may have
// chosen.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace skein::test {

struct deflate_form {
  int level = 6;         ///< 0 to 9
  int strategy = 0;      ///< zlib's: default, filtered, Huffman only, RLE, fixed
  int window_bits = 15;  ///< 9 to 15
  int memory = 8;        ///< 1 to 9
  bool full_flush = false;
  std::size_t block = 0;  ///< flush after so many bytes too; 0: only at the end
};

/// A message as it goes into frames: deflated, and without the last 00 00 ff ff.
[[nodiscard]] std::string deflate_payload(std::string_view payload, const deflate_form& form = {});

/// The message again; nothing if it does not inflate within a window of 2^`window_bits` bytes, or not
/// cleanly.
[[nodiscard]] std::optional<std::string> inflate_payload(std::string_view payload, int window_bits = 15);

/// What the server answered to an offer.
struct deflate_terms {
  bool accepted = false;
  bool well_formed = true;  ///< no parameter twice, none unknown, every value one that may be there
  bool server_no_context_takeover = false;
  bool client_no_context_takeover = false;
  std::optional<int> server_bits{};
  std::optional<int> client_bits{};
};

/// Reads the Sec-WebSocket-Extensions header of an answer.
[[nodiscard]] deflate_terms read_terms(std::string_view header);

}  // namespace skein::test
