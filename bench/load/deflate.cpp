#include "deflate.hpp"

#include <stdexcept>

namespace skein::bench {
namespace {

// A sync flush ends with these four bytes; RFC 7692 leaves them out on the wire.
constexpr std::string_view flush_tail{"\x00\x00\xff\xff", 4};
constexpr int raw_window_bits = -15;

Bytef* bytes_of(std::string_view text) {
  return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(text.data()));  // zlib only reads them
}

}  // namespace

deflater::deflater() {
  if (::deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, raw_window_bits, 8, Z_DEFAULT_STRATEGY) !=
      Z_OK)
    throw std::runtime_error{"zlib cannot compress"};
}

deflater::~deflater() {
  ::deflateEnd(&stream_);
}

std::string_view deflater::compress(std::string_view message) {
  ::deflateReset(&stream_);
  out_.resize(::deflateBound(&stream_, message.size()) + 16);
  stream_.next_in = bytes_of(message);
  stream_.avail_in = static_cast<uInt>(message.size());
  stream_.next_out = bytes_of(out_);
  stream_.avail_out = static_cast<uInt>(out_.size());
  ::deflate(&stream_, Z_SYNC_FLUSH);
  return std::string_view{out_}.substr(0, stream_.total_out - flush_tail.size());
}

inflater::inflater() {
  if (::inflateInit2(&stream_, raw_window_bits) != Z_OK) throw std::runtime_error{"zlib cannot expand"};
}

inflater::~inflater() {
  ::inflateEnd(&stream_);
}

std::string_view inflater::expand(std::string_view compressed, std::size_t max_bytes) {
  ::inflateReset(&stream_);
  in_.assign(compressed).append(flush_tail);
  out_.resize(max_bytes + 1);
  stream_.next_in = bytes_of(in_);
  stream_.avail_in = static_cast<uInt>(in_.size());
  stream_.next_out = bytes_of(out_);
  stream_.avail_out = static_cast<uInt>(out_.size());
  const int result = ::inflate(&stream_, Z_SYNC_FLUSH);
  if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) return {};
  return std::string_view{out_}.substr(0, stream_.total_out);
}

}  // namespace skein::bench
