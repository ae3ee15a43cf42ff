#include "wire/deflate.hpp"
#include "wire/frame_block.hpp"

#include <skein/message.hpp>

namespace skein::detail {

frame_block::frame_block(message source) : opcode_(source.type()), joined_(source.size() <= join_limit) {
  header_ = encode_header(opcode_, source.size());
  if (joined_) {
    bytes_.reserve(header_.size + source.size());
    bytes_ += header_.view();
    bytes_ += source.payload();
  } else {
    bytes_ = source.release();
  }
}

frame_block* frame_block::make(message source) {
  return new frame_block{std::move(source)};
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
