#include "wire/block_pool.hpp"
#include "wire/deflate.hpp"
#include "wire/frame_block.hpp"

#include <skein/message.hpp>

#include <cstring>
#include <new>

namespace skein::detail {

frame_block::frame_block(message source, bool joined) : opcode_(source.type()), joined_(joined) {
  auto* const place = reinterpret_cast<char*>(this + 1);
  header_size_ = write_header(place, opcode_, source.size(), false);
  if (joined) {
    std::memcpy(place + header_size_, source.payload().data(), source.size());
    frame_size_ = static_cast<std::uint32_t>(header_size_ + source.size());
  } else {
    payload_ = source.release();
    frame_size_ = header_size_;
  }
}

frame_block* frame_block::make(message source) {
  const bool joined = source.size() <= join_limit;
  void* const place = take_block(block_size(joined, source.size()));
  return ::new (place) frame_block{std::move(source), joined};  // nothing in it throws
}

void frame_block::destroy() noexcept {
  const auto size = block_size(joined_, joined_ ? frame_size_ - header_size_ : 0);
  this->~frame_block();
  give_back_block(this, size);
}

frame_view frame_block::compressed(int level) {
  std::call_once(deflate_once_, [this, level] {
    auto body = deflate_message(payload(), level);
    if (!body) return;
    const auto header = encode_header(opcode_, body->size(), true);
    deflated_.reserve(header.size + body->size());
    deflated_ += header.view();
    deflated_ += *body;
  });
  if (deflated_.empty()) return plain();
  return {deflated_, {}};
}

}  // namespace skein::detail

namespace skein {

prepared_message::prepared_message(message source) : block_(detail::frame_block::make(std::move(source))) {}
prepared_message::prepared_message(const prepared_message& other) noexcept : block_(other.block_) {
  if (block_) block_->retain();
}
prepared_message::~prepared_message() {
  if (block_) block_->release();
}
opcode prepared_message::type() const noexcept {
  return block_->type();
}
std::string_view prepared_message::payload() const noexcept {
  return block_ ? block_->payload() : std::string_view{};
}

}  // namespace skein
