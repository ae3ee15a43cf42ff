#pragma once

// permessage-deflate without context takeover: every message stands alone.

#include <zlib.h>

#include <string>
#include <string_view>

namespace skein::bench {

class deflater {
 public:
  deflater();
  ~deflater();
  deflater(const deflater&) = delete;
  deflater& operator=(const deflater&) = delete;

  /// Valid until the next call.
  std::string_view compress(std::string_view message);

 private:
  z_stream stream_{};
  std::string out_;
};

class inflater {
 public:
  inflater();
  ~inflater();
  inflater(const inflater&) = delete;
  inflater& operator=(const inflater&) = delete;

  /// The message, cut off one byte after `max_bytes`; empty when it is not valid. Valid until the next call.
  std::string_view expand(std::string_view compressed, std::size_t max_bytes);

 private:
  z_stream stream_{};
  std::string in_;
  std::string out_;
};

}  // namespace skein::bench
