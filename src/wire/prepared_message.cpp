#include "wire/block_pool.hpp"
#include "wire/deflate.hpp"
#include "wire/frame_block.hpp"

#include <skein/message.hpp>

#include <new>
#include <stdexcept>
#include <utility>

namespace skein::detail {

frame_block::frame_block(opcode type, std::string_view joined) noexcept : opcode_(type), joined_(true) {
  auto* const place = frame_place();
  header_size_ = write_header(place, type, joined.size(), false);
  joined.copy(place + header_size_, joined.size());
  frame_size_ = static_cast<std::uint32_t>(header_size_ + joined.size());
}

frame_block::frame_block(opcode type, std::string&& apart) noexcept : opcode_(type), joined_(false) {
  const auto& payload = *::new (static_cast<void*>(this + 1)) std::string{std::move(apart)};
  header_size_ = write_header(frame_place(), type, payload.size(), false);
  frame_size_ = header_size_;
}

frame_block* frame_block::make(opcode type, std::string_view payload) {
  if (payload.size() > join_limit) return make(type, std::string{payload});
  return ::new (take_block(block_size(true, payload.size()))) frame_block{type, payload};
}

frame_block* frame_block::make(opcode type, std::string&& payload) {
  if (payload.size() > max_payload) throw std::length_error{"a message has at most 4 GiB less 1 KiB"};
  if (payload.size() <= join_limit) return make(type, std::string_view{payload});
  return ::new (take_block(block_size(false, 0))) frame_block{type, std::move(payload)};
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
    auto frame = std::make_unique<std::string>();
    frame->reserve(header.size + body->size());
    *frame += header.view();
    *frame += *body;
    deflated_ = std::move(frame);
  });
  if (!deflated_) return plain();
  return {*deflated_, {}};
}

}  // namespace skein::detail

namespace skein {

detail::frame_block* prepared_message::make_empty(skein::opcode type) {
  return detail::frame_block::make(type, std::string_view{});
}
void prepared_message::retain() const noexcept {
  block_->retain();
}
void prepared_message::release() const noexcept {
  block_->release();
}
opcode prepared_message::type() const noexcept {
  return block_->type();
}
std::string_view prepared_message::payload() const noexcept {
  return block_ ? block_->payload() : std::string_view{};
}

message::message(skein::opcode op, std::string payload) : opcode_(op) {
  if (!payload.empty()) frame_ = prepared_message{detail::frame_block::make(op, std::move(payload))};
}

std::string message::release() {
  if (!frame_) return {};
  auto payload = frame_.block()->take_payload();
  frame_ = {};
  return payload;
}

}  // namespace skein
