#include "wire/deflate.hpp"

#include <zlib.h>

#include <new>

namespace skein::detail {
namespace {

class compressor {
 public:
  explicit compressor(int level) : level_(level) {
    // memLevel 8 is zlib's default; the negative window means raw deflate.
    if (deflateInit2(&stream_, level, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) throw std::bad_alloc{};
  }
  ~compressor() { deflateEnd(&stream_); }
  compressor(const compressor&) = delete;
  compressor& operator=(const compressor&) = delete;

  [[nodiscard]] int level() const noexcept { return level_; }

  std::optional<std::string> run(std::string_view payload) {
    deflateReset(&stream_);
    std::string out;
    // What does not fit into the payload's own size is not worth sending compressed.
    out.resize(payload.size() + 4);
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(payload.data()));
    stream_.avail_in = static_cast<uInt>(payload.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const auto result = ::deflate(&stream_, Z_SYNC_FLUSH);
    if (result != Z_OK || stream_.avail_in != 0 || stream_.avail_out == 0) return std::nullopt;
    const auto produced = out.size() - stream_.avail_out;
    if (produced < 4 || produced - 4 >= payload.size()) return std::nullopt;
    out.resize(produced - 4);
    out.shrink_to_fit();
    return out;
  }

 private:
  z_stream stream_{};
  int level_;
};

}  // namespace

std::optional<std::string> deflate_message(std::string_view payload, int level) {
  // 256 KiB that live as long as the thread: making one for each message would cost more than deflating it.
  thread_local std::optional<compressor> shared;
  if (!shared || shared->level() != level) shared.emplace(level);
  return shared->run(payload);
}

}  // namespace skein::detail
