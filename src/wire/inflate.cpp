#include "wire/inflate.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <new>
#include <vector>

namespace skein::detail {
namespace {

constexpr int largest_window = 15;
// Inflating goes through a buffer on the stack: what is inflated in one step. A message of that size is made
// with one allocation.
constexpr std::size_t step = 16 * 1024;
constexpr std::string_view left_out{"\x00\x00\xff\xff", 4};

/// A stream and the window it was made for.
struct pooled_stream : z_stream {
  int window_bits = largest_window;
};

struct stream_deleter {
  void operator()(pooled_stream* one) const noexcept {
    inflateEnd(one);
    delete one;
  }
};
using stream_ptr = std::unique_ptr<pooled_stream, stream_deleter>;

/// A thread's pool. It may be gone, at the thread's end, before the last context is given back.
struct stream_pool {
  stream_pool() noexcept { current = this; }
  ~stream_pool() { current = nullptr; }
  std::vector<stream_ptr> idle;
  static thread_local stream_pool* current;
};
thread_local stream_pool* stream_pool::current = nullptr;
thread_local stream_pool pool_of_thread;

stream_ptr make_stream(int window_bits) {
  auto made = std::make_unique<pooled_stream>();
  // A negative window means raw deflate. Memory for it is taken only when something is inflated.
  if (inflateInit2(made.get(), -window_bits) != Z_OK) throw std::bad_alloc{};
  made->window_bits = window_bits;
  return stream_ptr{made.release()};
}

stream_ptr borrow(int window_bits) {
  auto& idle = pool_of_thread.idle;
  if (idle.empty()) return make_stream(window_bits);
  auto one = std::move(idle.back());
  idle.pop_back();
  // To another window its memory is given back, and taken anew.
  if (one->window_bits == window_bits) {
    inflateReset(one.get());
  } else {
    inflateReset2(one.get(), -window_bits);
    one->window_bits = window_bits;
  }
  return one;
}

}  // namespace

// --- inflate_context ---

// Deflate knows windows from 9 bits on; who may only use 8 writes what fits into them.
inflate_context::inflate_context(int window_bits)
    : stream_(borrow(std::clamp(window_bits, 9, largest_window)).release()) {}

inflate_context::~inflate_context() {
  stream_ptr one{static_cast<pooled_stream*>(stream_)};
  if (!one || stream_pool::current == nullptr) return;
  auto& idle = stream_pool::current->idle;
  if (idle.size() >= max_pooled) return;
  if (idle.capacity() == 0) idle.reserve(max_pooled);
  idle.push_back(std::move(one));
}

std::size_t inflate_context::pooled() noexcept {
  return stream_pool::current == nullptr ? 0 : stream_pool::current->idle.size();
}

// --- message_inflater ---

close_code message_inflater::take(std::string_view piece, std::string& message) {
  auto& stream = context_.stream();
  while (!piece.empty()) {
    const auto size = std::min<std::size_t>(piece.size(), std::numeric_limits<uInt>::max());
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
    stream.avail_in = static_cast<uInt>(size);
    piece.remove_prefix(size);
    begun_ = true;
    const auto wrong = run(message);
    if (wrong != close_code::none) return wrong;
  }
  return close_code::none;
}

close_code message_inflater::finish(std::string& message) {
  // RFC 7692 section 7.2.2: append what the sender left out, which finishes an empty block that has begun. It
  // has not begun where the stream ended by itself (section 7.2.3.4), or where nothing was left out.
  if (begun_ && !stream_ended_ && !between_blocks()) {
    const auto wrong = take(left_out, message);
    if (wrong != close_code::none) return wrong;
    // A stream that is cut looks as if its end had not come yet.
    if (!between_blocks()) return close_code::invalid_payload;
  }
  return !text_ || utf8_.complete() ? close_code::none : close_code::invalid_payload;
}

/// Between two blocks, at a byte's boundary.
bool message_inflater::between_blocks() const noexcept {
  constexpr int at_end_of_block = 128, unused_bits = 63;
  const auto where = context_.stream().data_type;
  return (where & at_end_of_block) != 0 && (where & unused_bits) == 0;
}

/// Inflates all that there is.
close_code message_inflater::run(std::string& message) {
  auto& stream = context_.stream();
  std::array<char, step> made;  // NOLINT: not initialised
  bool more = true;
  while (more) {
    if (stream_ended_) {
      // RFC 7692 section 7.2.3.4: blocks may follow one that was marked as the last.
      inflateReset(&stream);
      stream_ended_ = false;
    }
    // One byte past the limit tells that it is passed; added last, since no byte is past the largest limit.
    const auto room = limit_ == 0 ? step : std::min(step - 1, limit_ - message.size()) + 1;
    stream.next_out = reinterpret_cast<Bytef*>(made.data());
    stream.avail_out = static_cast<uInt>(room);
    const auto status = inflate(&stream, Z_SYNC_FLUSH);
    const auto size = room - stream.avail_out;
    const auto wrong = append({made.data(), size}, message);
    if (wrong != close_code::none) return wrong;
    if (status == Z_MEM_ERROR) throw std::bad_alloc{};
    // RFC 7692 names no code. Section 7.4.1 of RFC 6455: data that is not consistent with its type.
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) return close_code::invalid_payload;
    stream_ended_ = status == Z_STREAM_END;
    more = stream.avail_in != 0 || (stream.avail_out == 0 && !stream_ended_);
  }
  return close_code::none;
}

close_code message_inflater::append(std::string_view made, std::string& message) {
  // In this order the code does not depend on how the message was divided.
  if (text_ && !utf8_.take(made)) return close_code::invalid_payload;
  if (limit_ != 0 && made.size() > limit_ - message.size()) return close_code::message_too_big;
  message.append(made);
  return close_code::none;
}

}  // namespace skein::detail
